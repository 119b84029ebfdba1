/**
 * The thread of one reload: everything that takes long, so that the packets don't wait for it. It reads and compiles the file, writes the tables into the
 * maps' free half, and asks about every cached flow, before the change and once more after it. policyReload.ts begins and ends it.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { compilePolicies, type Compiled, type Numbers } from "../core/policy/compile.js";
import { NameIndex } from "../core/policy/nameIndex.js";
import { withResolvers } from "../core/policy/parse.js";
import type { PolicySpec } from "../core/policy/types.js";
import { native } from "../native/index.js";
import { cidrKeys, nextNamesPortSet } from "./livePolicy.js";
import { sweepFlows, type Swept } from "./flowSweep.js";
import { policyHash, readPolicyFile } from "./policySource.js";
import type { Changed, FromReload, ReloadSetup, ToReload } from "./reloadMessages.js";
import { checkRoom, checkTables, fillTables, layOut, type TableName } from "./tables.js";

const slice = 5_000;

async function reload(port: MessagePort, setup: ReloadSetup): Promise<void> {
  const post = (message: FromReload) => port.postMessage(message);
  const next = answers(port);
  const parsed = readPolicyFile(setup.file, setup.identity);
  if (!parsed.ok) {
    post({ type: "bad", lines: parsed.errors });
    return;
  }
  const spec = withResolvers(parsed.spec, setup.resolvers);
  const samePorts = JSON.stringify(spec.ports) === setup.before.ports;
  const namesPortSet = nextNamesPortSet(setup.before, samePorts);
  const compiled = compile(spec, setup.file, { ...setup.numbers, namesPortSet });
  if ("lines" in compiled) {
    post({ type: "bad", lines: compiled.lines });
    return;
  }
  const layout = layOut(compiled.tables);
  const problems = [...checkTables(compiled.tables, setup.maxCidrs), ...checkRoom(layout, setup.room)];
  if (problems.length > 0) {
    post({ type: "bad", lines: problems.map((line) => `${setup.file}: ${line}`) });
    return;
  }

  fillTables((name: TableName) => native.shareMap(setup.tables[name]), layout, setup.place);
  const policy = compiled.policies[0] as (typeof compiled.policies)[number];
  const { entries, ...plain } = policy.toPlain();
  for (let at = 0; at < spec.rules.length; at += slice) {
    post({ type: "rules", rules: spec.rules.slice(at, at + slice) });
    await next();
  }
  for (let at = 0; at < entries.length; at += slice) {
    post({ type: "entries", entries: entries.slice(at, at + slice) });
    await next();
  }

  const { from, previous, to } = setup.generation;
  const old = NameIndex.of(setup.before.names);
  const flows = [native.shareMap(setup.flows.flows4), native.shareMap(setup.flows.flows6)];
  const carrier = native.shareProgram(setup.flowCarrier);
  const sweep = (now: boolean, again: boolean): Swept =>
    sweepFlows({
      flows,
      carrier,
      policy,
      before: { verify: setup.before.verify, patternOf: (rule) => old.patternOf(rule) },
      from,
      previous,
      to,
      now,
      again,
    });
  const cidrs = cidrKeys(spec);
  const names = changedNames(spec, old, setup.before.nameCount);
  const networks = changedLines(setup.before.cidrs, cidrs);
  // Most flows are known from the first time; the second finds what has come meanwhile.
  sweep(false, false);
  const { carried } = sweep(false, true);
  post({
    type: "policy",
    policy: { ...plain, entries: [] },
    namesPortSet,
    hash: policyHash(spec),
    warnings: parsed.warnings,
    cidrs,
    names,
    networks,
    carried,
  });
  await next();
  const { carried: kept, left } = sweep(true, true);
  post({ type: "settled", kept, left });
}

function compile(spec: PolicySpec, file: string, numbers: Numbers): Compiled | { readonly lines: string[] } {
  try {
    return compilePolicies([spec], numbers);
  } catch (error) {
    if (error instanceof Error && error.name === "PolicyError") return { lines: [`${file}: ${error.message}`] };
    throw error;
  }
}

function changedNames(spec: PolicySpec, old: NameIndex, before: number): Changed {
  let count = 0;
  let known = 0;
  for (const rule of spec.rules) {
    if (rule.kind !== "name") continue;
    count++;
    if (old.has(rule.pattern)) known++;
  }
  return { count, added: count - known, removed: before - known };
}

function changedLines(before: string, now: string): Changed {
  const lines = (text: string) => (text === "" ? [] : text.split("\n"));
  const old = new Set(lines(before));
  const all = lines(now);
  const known = all.filter((one) => old.has(one)).length;
  return { count: all.length, added: all.length - known, removed: old.size - known };
}

/** The next message, each time. */
function answers(port: MessagePort): () => Promise<ToReload> {
  const came: ToReload[] = [];
  let wake: (() => void) | undefined;
  port.on("message", (message: ToReload) => {
    came.push(message);
    wake?.();
  });
  return async () => {
    while (came.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return came.shift() as ToReload;
  };
}

if (parentPort) {
  const port = parentPort;
  // A failure ends the thread with an error, which the main thread sees.
  void reload(port, workerData as ReloadSetup).finally(() => port.close());
}
