/** A row as the cells of a table, the same on the terminal and in Markdown. */
import type { Results } from "../harness/results.js";
import type { Distribution, Row } from "../harness/types.js";
import { short } from "../stats.js";
import { bestPeer, ratiosOf, titleOf, type Group, type Ratio } from "./groups.js";

export interface CellTable {
  readonly head: readonly string[];
  readonly lines: readonly (readonly string[])[];
  /** Below the table. */
  readonly remarks: readonly string[];
}

/** Columns that no row of the group fills are left out. */
export function cellsOf(results: Pick<Results, "systems">, group: Group): CellTable {
  const peer = bestPeer(group);
  const plain = group.rows.find(({ system }) => system === "plain");
  const name = (system: string) => titleOf(results, system);
  const columns: readonly (readonly [string, (row: Row) => string])[] = [
    ["", (row) => name(row.system)],
    [group.unit, (row) => figure(row.median!, group.unit)],
    ["range", (row) => (row.samples.length > 1 ? row.spread!.map((one) => figure(one, group.unit)).join(" – ") : "")],
    ["× plain", (row) => ratioText(ratiosOf(row, group).plain)],
    ["× best peer", (row) => (row === peer ? "best peer" : ratioText(ratiosOf(row, group).peer))],
    ["µs p50 / p99 / p99.9", (row) => latencyText(row.latency)],
    ["µs added p50 / p99", (row) => (group.better === "lower" && row !== plain ? addedText(row, plain) : "")],
    ["CPU µs each", (row) => (row.cpuUsPerUnit === undefined ? "" : row.cpuUsPerUnit.toFixed(1))],
    ["peak MiB", (row) => (row.peakRssKiB === undefined ? "" : (row.peakRssKiB / 1_024).toFixed(0))],
    ["note", (row) => row.note ?? ""],
  ];
  const shown = columns.filter(([, cell], at) => at < 2 || group.rows.some((row) => cell(row) !== ""));
  return {
    head: shown.map(([title]) => title),
    lines: group.rows.map((row) => shown.map(([, cell]) => cell(row))),
    remarks: group.missing.map(({ reason, systems }) => `no figure for ${systems.map(name).join(", ")}: ${reason}`),
  };
}

/** Times stay as they are up to a million: "231 k ns" would help nobody. */
export function figure(value: number, unit: string): string {
  if (!/^[µnm]s$/.test(unit) || value >= 1e6) return short(value);
  return value >= 1_000 ? Math.round(value).toLocaleString("en") : short(value);
}

/** "0.96 (0.91–1.02)": the range only where there is one to see. */
function ratioText(ratio: Ratio | undefined): string {
  if (ratio === undefined) return "";
  const [middle, low, high] = [ratio.median, ratio.low, ratio.high].map(digits) as [string, string, string];
  return low === high ? middle : `${middle} (${low}–${high})`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

function latencyText(latency: Distribution | undefined): string {
  if (!latency) return "";
  const at = (percentile: number) => latency.find(([one]) => one === percentile)?.[1];
  const values = [at(50), at(99), at(99.9)];
  if (values.some((value) => value === undefined)) return "";
  return values.map((value) => Math.round(value!).toLocaleString("en")).join(" / ");
}

/** What it adds to plain forwarding. Of a crowd that would say nothing: only where a time is the figure. */
function addedText({ latency }: Row, plain: Row | undefined): string {
  const added = [50, 99].map((percentile) => {
    const [mine, its] = [latency, plain?.latency].map((one) => one?.find(([at]) => at === percentile)?.[1]);
    return mine === undefined || its === undefined ? undefined : Math.round(mine - its).toLocaleString("en");
  });
  return added.includes(undefined) ? "" : added.join(" / ");
}
