/**
 * Everything that a start sets up, in the order that matters (gateway.ts). Each step says first how it is undone.
 */
import { existsSync } from "node:fs";
import { counted } from "../core/counted.js";
import type { DecisionCommand } from "../core/engine/commands.js";
import { Engine } from "../core/engine/engine.js";
import { compilePolicies } from "../core/policy/compile.js";
import type { CompiledPolicy } from "../core/policy/compiledPolicy.js";
import { defaultLimits } from "../core/engine/limits.js";
import { NameHasher } from "../core/names/hash.js";
import { Verdict } from "../core/abi.generated.js";
import type { BatchHandler, Native, Queue, QueueOptions, RawSender } from "../native/types.js";
import { removePins } from "./bpffs.js";
import type { GovernedInterface } from "./clients.js";
import { bootId, monotonicMs } from "./clock.js";
import { Datapath } from "./datapath.js";
import { UsageError, errnoOf } from "./errors.js";
import { EventReader } from "./eventReader.js";
import type { Claim } from "./instances.js";
import { claimInstance, releaseInstance, writeRecord } from "./instances.js";
import { FastPath } from "./fastPath.js";
import { Journal, readJournal } from "./journal.js";
import { KernelFlows } from "./kernelFlows.js";
import { KernelMaps, forLiveMaps } from "./kernelMaps.js";
import { KernelQuestions } from "./kernelQuestions.js";
import { governedInterfaces, removeLeftClsact, wantedAttachments } from "./layout.js";
import { cidrKeys, firstNumbers, type LivePolicy } from "./livePolicy.js";
import type { Log } from "./log.js";
import type { Plan } from "./preflight.js";
import { previousFirstRule } from "./previousRun.js";
import { QueueWorkers } from "./queueWorkers.js";
import { rateLimited } from "./rateLimited.js";
import { Reattacher } from "./reattacher.js";
import { Rules } from "./rules.js";
import { RulesWatch } from "./rulesWatch.js";
import { Runner } from "./runner.js";

export interface GatewayParts {
  readonly plan: Plan;
  readonly claim: Claim;
  readonly datapath: Datapath;
  readonly engine: Engine;
  readonly journal: Journal;
  readonly maps: KernelMaps;
  readonly flows: KernelFlows;
  readonly questions: KernelQuestions;
  readonly runner: Runner;
  /** The first queue: DNS, and everything if there is only one. */
  readonly queue: Queue;
  /** The other queues. */
  readonly workers: QueueWorkers;
  readonly sender: RawSender;
  readonly events: EventReader;
  readonly reattacher: Reattacher;
  readonly fastPath: FastPath;
  readonly rules: Rules;
  /** undefined: --no-iptables. */
  readonly rulesWatch: RulesWatch | undefined;
  readonly interfaces: Map<number, GovernedInterface>;
  /** As started; `Gateway.policy` is the one in force. */
  readonly policy: LivePolicy;
}

const restoreSlice = 1000;

/** `undo`: what takes back what was made so far, for a start that fails; run in reverse. */
export async function build(
  native: Native,
  plan: Plan,
  log: Log,
  undo: (() => void | Promise<void>)[],
): Promise<GatewayParts> {
  const { options, spec } = plan;
  const claim = claimInstance(options);
  const { paths, previous } = claim;
  // What an earlier run left governs on if this start fails; what this start made goes.
  const takesOver = previous !== undefined || existsSync(paths.pins);
  undo.push(() => {
    // After a kill -9 the folder tells `clean` and the next start what is still in force.
    if (previous) writeRecord(paths, previous);
    if (previous) claim.lock.release();
    else releaseInstance(paths, claim.lock);
  });

  const interfaces = new Map(governedInterfaces(plan.lan, spec.id).map((one) => [one.ifindex, one]));
  if (!takesOver) undo.push(() => removePins(paths.pins));
  // The flows of an earlier run speak of its rules by number: that of the first is another one after a reload.
  const firstRule = previousFirstRule(native, paths, plan.policyHash);
  const isChangeable = options.policyFile !== undefined;
  const numbers = isChangeable ? firstNumbers(firstRule) : { firstRule, portSetBase: 0 };
  const compiled = firstRule === 1 && !isChangeable ? plan.compiled : compilePolicies([spec], numbers);
  const datapath = Datapath.prepare(native, {
    instance: options.name,
    paths,
    sizes: options.sizes,
    mark: options.mark,
    failMode: options.failMode,
    tables: compiled.tables,
    changeable: isChangeable,
    firstRule,
    policyHash: plan.policyHash,
    interfaces: interfaces.values(),
    egress: [plan.eface.index],
    own: options.lan.length === 0,
    attachMode: plan.attachMode,
  });
  undo.push(() => datapath.close());

  const hasher = new NameHasher(datapath.hashSeed);
  const maps = new KernelMaps(datapath.maps, hasher);
  const flows = new KernelFlows(datapath.maps, datapath.generation, datapath.flowReader);
  const questions = new KernelQuestions(datapath.maps, hasher, datapath.generation);
  flows.setGeneration(datapath.generation, datapath.previous);
  const engine = new Engine({
    policies: compiled.policies,
    limits: { ...defaultLimits, learned: options.sizes.names },
    lookupFlow: (key) => flows.get(key),
    lookupAsked: (key) => questions.lookup(key),
    hashSeed: datapath.hashSeed,
  });
  const now = monotonicMs();
  const restored = readJournal(paths.journal, bootId(), now);
  const journal = new Journal({
    path: paths.journal,
    bootId: bootId(),
    alive: () => engine.learned(),
    onError: (message) => log.warn({}, message),
  });
  undo.push(() => journal.close());
  const sender = native.openRawSender((Verdict.ALLOW << options.mark.shift) >>> 0);
  undo.push(() => sender.close());
  const runner = new Runner({
    engine,
    maps,
    flows,
    questions,
    journal,
    interfaces,
    mark: options.mark,
    failMode: options.failMode,
    send: (packet) => sender.send(packet),
    decided: (decision: DecisionCommand) => log.decision(decision),
    failed: rateLimited((message) => log.error({}, message)),
  });
  for (let at = 0; at < restored.length; at += restoreSlice) runner.inject(restored.slice(at, at + restoreSlice));
  journal.commit();

  const { first, last } = options.queues;
  const handler: BatchHandler = (count, meta, data) => runner.onBatch(count, meta, data);
  const queue = openQueue(native, { queue: first, failOpen: options.failMode === "open" }, handler);
  undo.push(() => queue.close());
  runner.start(queue);
  undo.push(() => runner.stop());
  const workers = await QueueWorkers.start({
    queues: Array.from({ length: last - first }, (_, i) => first + 1 + i),
    setup: {
      policies: compiled.policies.map((policy) => policy.toPlain()),
      limits: defaultLimits,
      maps: forLiveMaps((name) => datapath.maps[name].fd),
      flowReader: datapath.flowReader.fd,
      hashSeed: datapath.hashSeed,
      generation: datapath.generation,
      previous: datapath.previous,
      mark: options.mark,
      failMode: options.failMode,
    },
    interfaces,
    engine,
    log,
    learned: ({ policy, client, name, address, chain, expires }) =>
      runner.inject([{ type: "restored", policy, client, name, address, chain, expires }]),
    // Nobody catches it: the process ends as by any other bug of ours, and the traffic stays governed.
    gaveUp: (error) => {
      throw error;
    },
  });
  undo.push(() => workers.close());

  datapath.pin();
  const rules = new Rules(options, datapath.fast, spec, log);
  if (!takesOver) undo.push(() => rules.down());
  await rules.up();
  if (!takesOver) undo.push(() => datapath.attachments.list().forEach((one) => datapath.attachments.detach(one)));
  datapath.attach(wantedAttachments(plan.lan, plan.eface));
  const events = new EventReader(native, datapath.maps.events, (record) => runner.onKernelEvent(record));
  undo.push(() => events.close());
  if (restored.length > 0 || datapath.adoptedFlows) {
    log.info(
      { restored: restored.length, adoptedFlows: datapath.adoptedFlows },
      `took over from a run that was killed: ${counted(engine.stats().learned, "learned name")}, ${datapath.adoptedFlows ? "flows kept" : "flows judged anew"}`,
    );
  }
  removeLeftClsact(native, plan, previous);
  const reattacher = new Reattacher({ plan, datapath, interfaces, log, changed: () => workers.setInterfaces() });
  // An interface may have changed since the preflight.
  void reattacher.reconcile();
  const fastPath = new FastPath({ native, plan, datapath, rules, log });
  const rulesWatch = options.iptables ? new RulesWatch(options.name, log) : undefined;
  return {
    plan,
    claim,
    datapath,
    engine,
    journal,
    maps,
    flows,
    questions,
    runner,
    queue,
    workers,
    sender,
    events,
    reattacher,
    fastPath,
    rules,
    rulesWatch,
    interfaces,
    policy: {
      ...numbers,
      spec,
      policy: compiled.policies[0] as CompiledPolicy,
      hash: plan.policyHash,
      cidrs: cidrKeys(spec),
      since: new Date(),
    },
  };
}

/** UsageError: somebody took the queue since the preflight. */
function openQueue(native: Native, options: QueueOptions, handler: BatchHandler): Queue {
  try {
    return native.openQueue(options, handler);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== "EBUSY" && code !== "EPERM") throw error;
    throw new UsageError(`--queue: queue ${options.queue} has just been taken by another process`);
  }
}
