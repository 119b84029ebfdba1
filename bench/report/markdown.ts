/** The results as a page that stands by itself: machine, versions, the command that makes it again, plots, tables. */
import type { Results, ScenarioInfo } from "../harness/results.js";
import { cellsOf } from "./cells.js";
import { groupsOf } from "./groups.js";
import { pivotsOf } from "./pivot.js";

/** A picture beside the page. */
export interface Figure {
  readonly file: string;
  readonly title: string;
  /** Name of the scenario it belongs to. */
  readonly scenario: string;
}

export function renderMarkdown(results: Results, figures: readonly Figure[]): string {
  const { machine } = results;
  const parts = [
    `# Benchmark of ${results.date.slice(0, 10)}`,
    [
      `${machine.cpus} × ${machine.cpu}, ${machine.memoryGiB} GiB, kernel ${machine.kernel}, Node ${machine.node}, l7egg at commit ${machine.commit}.`,
      "Clients, systems and servers share these CPUs: absolute figures are those of the whole chain, ratios are what counts.",
      ...(machine.load1 > 0.5
        ? [
            `**The machine was not idle before this run (load ${machine.load1.toFixed(2)}): do not trust these figures.**`,
          ]
        : []),
    ].join("\n"),
    `Made with, and to be made again with:\n\n    ${results.command}`,
    `${results.rounds} rounds of each measurement, systems in turns, every second round in the opposite order; ${Math.round(results.seconds)} s in all${
      results.quick ? " (a quick run: few and short rounds, a wide spread)" : ""
    }. Figures are medians, the range is lowest to highest. "CPU µs each": processor time of the whole machine for one connection, packet or query. "Peak MiB": resident memory of the system's own processes.`,
    "## Systems",
    markdownTable(
      ["", "version", "how it is set up, and why that is fair"],
      results.systems.map(({ title, version, fair }) => [title, version, fair]),
    ),
    ...results.scenarios.map((scenario) => scenarioPart(results, scenario, figures)),
  ];
  return parts.join("\n\n") + "\n";
}

function scenarioPart(results: Results, scenario: ScenarioInfo, figures: readonly Figure[]): string {
  const { letter, name, title, how, error } = scenario;
  const parts = [`## (${letter}) ${title}`, how];
  if (error !== undefined) parts.push(`**Not measured:** ${error}`);
  for (const figure of figures.filter((one) => one.scenario === name)) parts.push(`![${figure.title}](${figure.file})`);
  const rows = results.rows.filter((row) => row.scenario === name);
  const tables =
    pivotsOf(rows) ??
    groupsOf(rows).map((group) => ({ ...cellsOf(results, group), title: `${group.metric}: ${group.point}` }));
  for (const { title: heading, head, lines, remarks } of tables) {
    parts.push(`### ${heading}`);
    if (lines.length > 0) parts.push(markdownTable(head, lines));
    if (remarks.length > 0) parts.push(remarks.map((remark) => `- ${escaped(remark)}`).join("\n"));
  }
  return parts.join("\n\n");
}

export function markdownTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escaped).join(" | ")} |`;
  const rule = `|${head.map((column, at) => (at === 0 || /^(note|version|how)/.test(column) ? " --- |" : " ---: |")).join("")}`;
  return [line(head), rule, ...lines.map(line)].join("\n");
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("*", "\\*");
}
