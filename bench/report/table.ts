/** The results on the terminal. */
import Table from "cli-table3";
import type { Results, ScenarioInfo } from "../harness/results.js";
import { cellsOf } from "./cells.js";
import { groupsOf, type Group } from "./groups.js";
import { pivotsOf, type Pivot } from "./pivot.js";

export function renderTables(results: Results): string {
  return results.scenarios.map((scenario) => renderScenario(results, scenario)).join("\n");
}

function renderScenario(results: Results, scenario: ScenarioInfo): string {
  const { letter, title, how, error, name } = scenario;
  const head = `\n(${letter}) ${title}\n${wrapped(how, "    ")}\n`;
  if (error !== undefined) return `${head}    NOT MEASURED: ${error}\n`;
  const rows = results.rows.filter((row) => row.scenario === name);
  const pivots = pivotsOf(rows);
  if (pivots) return head + pivots.map(renderCells).join("");
  const groups = groupsOf(rows);
  return head + groups.map((group) => renderCells({ ...cellsOf(results, group), title: titleOfGroup(group) })).join("");
}

function titleOfGroup({ metric, point, better }: Group): string {
  return `${metric}: ${point} (${better} is better)`;
}

function renderCells({ title, head, lines, remarks }: Pivot): string {
  const table = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    wordWrap: true,
    colWidths: head.map((column) => (column === "note" ? 36 : null)),
    colAligns: head.map((column, at) => (at === 0 || column === "note" ? "left" : "right")),
  });
  for (const line of lines) table.push([...line]);
  const shown = lines.length > 0 ? `${table.toString()}\n` : "";
  return `\n${title}\n${shown}${remarks.map((remark) => wrapped(remark, "    ") + "\n").join("")}`;
}

/** Lines of at most 140 characters, each with the indent. */
function wrapped(text: string, indent: string): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < 140) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(indent + word);
  }
  return lines.join("\n");
}
