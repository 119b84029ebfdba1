/** `l7egg run`, as people start it. */
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { atExit, prefix } from "../../../test/lab/cleanup.js";
import { until, type Daemon } from "../../../test/lab/process.js";
import { lanInterface, server, wanInterface, type BenchLab } from "../../lab.js";
import { root } from "../../load.js";
import { makeFolder } from "../program.js";

export interface Gateway {
  readonly instance: string;
  readonly startedMs: number;
  /** Its process (the shell that became it), for its memory or a profiler. */
  readonly daemon: Daemon;
  /** What it has logged so far. */
  log(): string;
  /** SIGTERM; it takes back what it has set up. */
  stop(): Promise<void>;
}

let serial = 0;

/**
 * Its log goes to a file, as it would under a service manager: a terminal's speed is not what is measured.
 * `args` may be longer than a command line usually may (100,000 CIDRs): the kernel allows a quarter of the stack's limit, 6 MiB at most.
 * L7EGG_BENCH_CPU_PROF: a folder that gets its processor profile.
 */
export async function startGateway(lab: BenchLab, args: readonly string[]): Promise<Gateway> {
  const instance = `${prefix}b${serial++}`;
  const { folder, remove } = makeFolder(instance);
  const logFile = join(folder, "log");
  const argFile = join(folder, "args");
  writeFileSync(argFile, args.join("\n"));
  closeSync(openSync(logFile, "w"));
  // A policy file names its own.
  const isFile = args.some((arg) => arg.startsWith("--policy"));
  const resolvers = isFile ? [] : [`--resolver=${server.resolver.v4}`, `--resolver=${server.resolver.v6}`];
  const base = ["run", "--lan", lanInterface, "--eface", wanInterface, "--name", instance, ...resolvers];
  // Each line of the file is one argument. The environment counts too.
  const script = `ulimit -s 32768; IFS='\n'; set -f; exec env -i PATH="$PATH" "$@" $(cat ${argFile}) > ${logFile} 2>&1`;
  const argv = ["sh", "-c", script, "sh", ...nodeWords(), join(root, "dist/cli/main.js"), ...base];
  const forget = atExit(() => removeLeftovers(instance));
  const begun = performance.now();
  const daemon = lab.router.startBare(argv);
  const log = () => readFileSync(logFile, "utf8");
  await until(
    () => `l7egg run to be ready:\n${log()}`,
    () => daemon.ended || /\bready\b/.test(log()),
    60_000,
    50,
  );
  if (daemon.ended) throw new Error(`l7egg run ended: ${(log() || daemon.stderr).split("\n")[0]!}`);
  return {
    instance,
    startedMs: performance.now() - begun,
    daemon,
    log,
    stop: async () => {
      await daemon.stop(10_000);
      forget();
      remove();
    },
  };
}

/** What `env` is given: Node, and the profiler if it was asked for. */
function nodeWords(): string[] {
  const folder = process.env["L7EGG_BENCH_CPU_PROF"];
  if (folder === undefined) return [process.execPath];
  const script = join(root, "bench/systems/l7egg/profile.mjs");
  return [`L7EGG_BENCH_CPU_PROF=${folder}`, process.execPath, "--import", script];
}

/** Until it has looked whether forwarded flows may skip netfilter, which it does two seconds after its start. */
export async function settled(gateway: Gateway): Promise<Gateway> {
  await until(
    () => `l7egg to say of its fast path:\n${gateway.log().slice(-500)}`,
    () => gateway.daemon.ended || /fast path o(n|ff)/.test(gateway.log()),
    15_000,
    50,
  );
  return gateway;
}

/** Pins and sockets of one that was killed; its namespace takes the rest along. */
function removeLeftovers(instance: string): void {
  for (const folder of ["/sys/fs/bpf/l7egg", "/run/l7egg"]) {
    rmSync(join(folder, instance), { recursive: true, force: true });
  }
}

/** One argument may be 128 KiB long: lists with commas, as many as are needed. */
export function commaLists(option: string, values: readonly string[]): string[] {
  const lists: string[] = [];
  const size = 4_000;
  for (let at = 0; at < values.length; at += size) lists.push(`${option}=${values.slice(at, at + size).join(",")}`);
  return lists;
}
