/**
 * Runs the test files in two phases and prints one report with one summary. First what is confined to its own process, in parallel;
 * then what builds network namespaces and measures time in them, one file after the other, so that a loaded machine can't fail them.
 */
import { availableParallelism } from "node:os";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { Readable } from "node:stream";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { stopHanging } from "./stop-hanging.js";

/** Tests that need the machine for themselves. */
const serial = ["test/e2e/", "test/bench/quick.test.ts"];
/** Seconds for one file: some four times what the slowest takes. A test that hangs must not hang the whole run. */
const fileTimeout = "360";

interface RunnerEvent {
  readonly type: string;
  readonly data: { readonly message?: string; readonly nesting?: number };
}

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { grep: { type: "string" }, timeout: { type: "string", default: fileTimeout } },
});
const files = (positionals.length > 0 ? positionals : ["test"]).flatMap(testFilesOf);
if (files.length === 0) {
  console.error(`no test files (*.test.ts) in ${positionals.join(" ")}`);
  process.exitCode = 2;
} else {
  const limit = Number(values.timeout) * 1000;
  const stopWatch = stopHanging(limit, (file) => {
    console.error(`run-tests: ${relative(root, file)} was stopped: not done after ${values.timeout} s`);
  });
  Readable.from(report(files)).on("end", stopWatch).pipe(new spec()).pipe(process.stdout);
}

/** The runner's events of both phases; the totals that end each phase are added up and come last. */
async function* report(all: readonly string[]): AsyncGenerator<RunnerEvent> {
  const totals = new Map<string, number>();
  const isSerial = (file: string) => serial.some((path) => relative(root, file).startsWith(path));
  const phases = [
    { files: all.filter((file) => !isSerial(file)), concurrency: availableParallelism() },
    { files: all.filter(isSerial), concurrency: 1 },
  ];
  for (const phase of phases) {
    if (phase.files.length === 0) continue;
    const options = values.grep === undefined ? {} : { testNamePatterns: [new RegExp(values.grep)] };
    for await (const event of run({ ...phase, ...options }) as AsyncIterable<RunnerEvent>) {
      const total = event.type === "test:diagnostic" && event.data.nesting === 0 ? totalOf(event) : undefined;
      if (total) totals.set(total.name, (totals.get(total.name) ?? 0) + total.value);
      else if (event.type !== "test:summary") yield event;
      if (event.type === "test:fail") process.exitCode = 1;
    }
  }
  for (const [name, value] of totals) {
    yield { type: "test:diagnostic", data: { nesting: 0, message: `${name} ${value}` } };
  }
}

function totalOf(event: RunnerEvent): { readonly name: string; readonly value: number } | undefined {
  const match = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/.exec(event.data.message ?? "");
  return match ? { name: match[1]!, value: Number(match[2]) } : undefined;
}

function testFilesOf(path: string): string[] {
  const full = resolve(root, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [full];
  return readdirSync(full, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .sort()
    .map((name) => join(full, name));
}
