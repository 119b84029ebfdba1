/** The machine that was measured on: without it a figure says nothing. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, loadavg } from "node:os";

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
