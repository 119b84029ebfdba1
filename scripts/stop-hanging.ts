/**
 * The bound of a test file. Node's own runner only ends the file's process: a child that it waits for (a namespace, a server) lives on
 * and holds the output open, so the run hangs all the same. Here the file's whole tree of processes goes.
 */
import { readFileSync, readdirSync } from "node:fs";

/** Milliseconds for the clean-up that tests do on SIGTERM. */
const grace = 10_000;
const period = 1_000;

interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks since boot: with the pid, it names one process for ever. */
  readonly start: string;
}

/**
 * Watches this process's children that run a file `*.test.ts`; ends those that take longer than `limit` ms. `stopped` is called for each.
 * Returns the function that ends the watch.
 */
export function stopHanging(limit: number, stopped: (file: string) => void): () => void {
  const seen = new Map<string, number>();
  const doomed = new Map<string, { readonly tree: readonly Process[]; readonly since: number }>();
  const timer = setInterval(() => {
    const all = processes();
    const alive = new Set(all.map(nameOf));
    const now = performance.now();
    for (const child of all) {
      const file = child.parent === process.pid ? testFileOf(child.pid) : undefined;
      if (file === undefined || doomed.has(nameOf(child))) continue;
      const since = seen.get(nameOf(child)) ?? now;
      seen.set(nameOf(child), since);
      if (now - since < limit) continue;
      const tree = treeOf(child, all);
      doomed.set(nameOf(child), { tree, since: now });
      for (const one of tree) signal(one, "SIGTERM");
      stopped(file);
    }
    for (const { tree, since } of doomed.values()) {
      if (now - since < grace) continue;
      for (const one of tree) if (alive.has(nameOf(one))) signal(one, "SIGKILL");
    }
  }, period);
  timer.unref();
  return () => clearInterval(timer);
}

function nameOf(one: Process): string {
  return `${one.pid}@${one.start}`;
}

/** `top` and all below it, parents first. */
function treeOf(top: Process, all: readonly Process[]): Process[] {
  return [top, ...all.filter((one) => one.parent === top.pid).flatMap((child) => treeOf(child, all))];
}

function processes(): Process[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const stat = read(`/proc/${name}/stat`);
    // proc(5): the fields stand behind the name, which is in parentheses and may hold anything; 4 is the parent, 22 the start.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields.length < 20 ? [] : [{ pid: Number(name), parent: Number(fields[1]), start: fields[19] as string }];
  });
}

function testFileOf(pid: number): string | undefined {
  return read(`/proc/${pid}/cmdline`)
    .split("\0")
    .find((argument) => argument.endsWith(".test.ts"));
}

/** Empty if the process is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function signal(one: Process, name: NodeJS.Signals): void {
  try {
    process.kill(one.pid, name);
  } catch {
    // Gone already: that is what was wanted.
  }
}
