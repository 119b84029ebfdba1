/** How every command ends: one line each on stderr and exit code 2 for what the user can mend, 1 for a failure at work. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ControlError } from "../control/protocol.js";
import { UsageError, describe } from "../edge/errors.js";
import { packageRoot } from "../edge/paths.js";

export function version(): string {
  return (JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string }).version;
}

/** Run a command; its exit code is what it returns, or by what it throws. `program`: how its errors begin. */
export async function finish(work: () => Promise<number>, program = "l7egg"): Promise<void> {
  let code: number;
  // `su` without a dash leaves these out, and iptables and tc are there.
  process.env["PATH"] = `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;
  try {
    code = await work();
  } catch (error) {
    code = report(error, program);
  }
  process.exitCode = code;
}

/** Say what is wrong; the exit code that belongs to it. */
export function report(error: unknown, program: string): number {
  if (error instanceof UsageError) {
    for (const line of error.lines) process.stderr.write(`${program}: ${line}\n`);
    return 2;
  }
  if (error instanceof ControlError) {
    for (const line of error.message.split("\n")) process.stderr.write(`${program}: ${line}\n`);
    return error.code === "bad-params" || error.code === "bad-policy" ? 2 : 1;
  }
  process.stderr.write(`${program}: ${describe(error)}\n`);
  const log = (error as { log?: unknown } | null)?.log;
  // The verifier's last words say why; all of them can be megabytes.
  if (typeof log === "string" && log !== "")
    process.stderr.write(`${log.trimEnd().split("\n").slice(-20).join("\n")}\n`);
  return 1;
}

export function print(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}
