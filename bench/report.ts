/** What was measured, as a table and as JSON. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, loadavg } from "node:os";
import Table from "cli-table3";

/** One line of the table. */
export interface Row {
  readonly what: string;
  readonly measured: string;
  /** What it is compared with, measured in the same run. */
  readonly against?: string;
  readonly ratio?: number;
  /** Text of the target; without one the line is there to explain the others. */
  readonly target?: string;
  /** undefined: has no target, or (with one) could not be measured. */
  readonly reached?: boolean;
}

export interface FigureResult {
  readonly title: string;
  readonly how: string;
  readonly rows: readonly Row[];
  /** Every single measurement. */
  readonly raw: unknown;
}

export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGiB: number;
  readonly node: string;
  readonly iperf3: string;
  readonly nginx: string;
  readonly commit: string;
  /** Before the first measurement: what else the machine was doing. */
  readonly load1: number;
}

export function describeMachine(): Machine {
  return {
    kernel: release(),
    cpu: cpuName(),
    cpus: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    iperf3: firstLine("iperf3", ["--version"]),
    nginx: firstLine("nginx", ["-v"]),
    commit: firstLine("git", ["rev-parse", "--short", "HEAD"]),
    load1: loadavg()[0]!,
  };
}

export function renderMachine(machine: Machine): string {
  const { kernel, cpu, cpus: count, memoryGiB, node, iperf3, nginx, commit, load1 } = machine;
  const lines = [
    `kernel ${kernel}; ${count} × ${cpu}, ${memoryGiB} GiB; Node ${node}; ${iperf3}; ${nginx}; commit ${commit}`,
    "clients, routers and servers share these CPUs: absolute figures are those of the whole chain, ratios are what counts",
  ];
  if (load1 > 0.5) {
    lines.push(`the machine was not idle before this run (load ${load1.toFixed(2)}): do not trust these figures`);
  }
  return lines.join("\n");
}

export function renderFigure(result: FigureResult): string {
  const table = new Table({
    head: ["figure", "measured", "against, in the same run", "ratio", "target", ""],
    colWidths: [38, 30, 34, 7, 18, 14],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  for (const row of result.rows) {
    table.push([
      row.what,
      row.measured,
      row.against ?? "",
      row.ratio === undefined ? "" : row.ratio.toFixed(2),
      row.target ?? "",
      verdictOf(row),
    ]);
  }
  return `${result.title}\n${result.how}\n${table.toString()}`;
}

function verdictOf(row: Row): string {
  if (row.target === undefined) return "";
  if (row.reached === undefined) return "NOT MEASURED";
  return row.reached ? "reached" : "MISSED";
}

function cpuName(): string {
  const text = readFileSync("/proc/cpuinfo", "utf8");
  return /^(?:model name|Processor|Hardware)\s*: (.*)$/m.exec(text)?.[1]?.trim() ?? process.arch;
}

/** nginx -v speaks on stderr. */
function firstLine(program: string, args: readonly string[]): string {
  try {
    const text = execFileSync("sh", ["-c", `"$@" 2>&1`, "sh", program, ...args], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    });
    return text
      .split("\n")[0]!
      .replace(/^nginx version: /, "")
      .replace(/ \(cJSON.*$/, "");
  } catch {
    return `${program}: unknown`;
  }
}
