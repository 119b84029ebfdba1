/**
 * Another policy, while packets pass. Nothing of the old one is touched until all of the new one is ready: a file that is bad, a policy that doesn't fit or a thread
 * that dies leave it in force.
 *
 * 1. A thread (reloadThread.ts) reads and compiles the file, writes the tables into the maps' free half, and marks the cached flows that the new policy
 *    allows, too. Until the switch they count for the old one as before.
 * 2. The workers make themselves ready.
 * 3. In one step of the event loop: learned names that the new policy doesn't allow go from the maps, the others get its rules; then one write changes the
 *    generation, by which the kernel finds tables and flows.
 * 4. The workers follow, and the thread looks at the flows that came in the last moment. A packet of one that nobody has looked at yet climbs, and is
 *    judged by the rule that allowed its flow (core/engine/policyChange.ts).
 */
import type { Engine } from "../core/engine/engine.js";
import type { Event } from "../core/engine/events.js";
import { CompiledPolicy } from "../core/policy/compiledPolicy.js";
import type { PolicySpec } from "../core/policy/types.js";
import type { Datapath } from "./datapath.js";
import { UsageError, describe } from "./errors.js";
import type { EventReader } from "./eventReader.js";
import { Interfaces } from "./interfaces.js";
import type { KernelMaps } from "./kernelMaps.js";
import type { KernelFlows } from "./kernelFlows.js";
import type { KernelQuestions } from "./kernelQuestions.js";
import { nextNumbers, type LivePolicy } from "./livePolicy.js";
import type { Log } from "./log.js";
import { localResolvers, policyIdentity, type Plan } from "./preflight.js";
import type { QueueWorkers } from "./queueWorkers.js";
import { ReloadHandle } from "./reloadHandle.js";
import type { ReloadSetup } from "./reloadMessages.js";
import { changedSettings, type ReloadReport } from "./reloadReport.js";
import type { Rules } from "./rules.js";
import type { Runner } from "./runner.js";
import { tableNames } from "./tables.js";

/** Learned names written in one turn of the event loop. */
const slice = 500;

export interface ReloadParts {
  readonly plan: Plan;
  readonly datapath: Datapath;
  readonly engine: Engine;
  readonly maps: KernelMaps;
  readonly flows: KernelFlows;
  readonly questions: KernelQuestions;
  readonly runner: Runner;
  readonly workers: QueueWorkers;
  readonly events: EventReader;
  readonly rules: Rules;
  readonly log: Log;
}

export class PolicyReload {
  readonly #parts: ReloadParts;
  readonly #live: () => LivePolicy;
  readonly #inForce: (live: LivePolicy) => void;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;
  #thread: ReloadHandle | undefined;

  /** `inForce` is called in the very step in which the policy changes. */
  constructor(parts: ReloadParts, live: () => LivePolicy, inForce: (live: LivePolicy) => void) {
    this.#parts = parts;
    this.#live = live;
    this.#inForce = inForce;
  }

  /** One after the other. Rejects with UsageError, a line for each thing that is wrong with the file, or the failure: then the old policy is in force. */
  run(): Promise<ReloadReport> {
    const next = this.#last.catch(() => undefined).then(() => this.#run());
    this.#last = next;
    return next;
  }

  /** One that is under way ends, if it must by force; then the old policy stays in force, or the new one is. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#thread?.end();
    await this.#last.catch(() => undefined);
  }

  async #run(): Promise<ReloadReport> {
    const begun = performance.now();
    const { datapath, workers, rules } = this.#parts;
    const live = this.#live();
    const { policyFile } = this.#parts.plan.options;
    if (policyFile === undefined) {
      throw new UsageError("nothing to read again: the gateway was started without --policy");
    }
    if (this.#closed) throw new UsageError("the gateway stops");
    const numbers = nextNumbers(live);
    const version = datapath.nextVersion();
    const setup = await this.#setup(policyFile, live, numbers, version);
    // No thread that a stop would have to wait for.
    if (this.#hasClosed()) throw new UsageError("the gateway stops");
    const thread = new ReloadHandle(setup);
    this.#thread = thread;
    try {
      const prepared = await thread.prepared().catch((error: unknown) => {
        // A bad file is told before any flow is looked at.
        if (error instanceof UsageError) datapath.takeBack();
        throw error;
      });
      const spec: PolicySpec = { ...prepared.policy.spec, rules: prepared.rules };
      const policy = CompiledPolicy.fromPlain({ ...prepared.policy, entries: prepared.entries }, prepared.rules);
      const plain = policy.toPlain();
      await workers.prepare([plain]);
      await rules.widen(spec);
      if (this.#hasClosed()) throw new UsageError("the gateway stops");

      const stepBegun = performance.now();
      const learnedBefore = this.#parts.engine.stats().learned;
      const next: LivePolicy = {
        ...numbers,
        namesPortSet: prepared.namesPortSet,
        spec,
        policy,
        hash: prepared.hash,
        cidrs: prepared.cidrs,
        since: new Date(),
      };
      this.#step(live, next, version.generation);
      const pausedMs = performance.now() - stepBegun;
      const { generation, previous } = datapath;
      await workers.switch({ generation, previous, firstRule: numbers.firstRule, policies: [plain] });
      const ms = performance.now() - begun;
      await this.#narrowRules(spec);
      const swept = await thread.settled();
      this.#parts.runner.inject([{ type: "settled" }]);
      workers.settled();
      await this.#renameRules();
      const { learned } = this.#parts.engine.stats();
      return {
        file: policyFile,
        generation,
        hash: next.hash,
        unchanged: next.hash === live.hash,
        names: prepared.names,
        networks: prepared.networks,
        settings: changedSettings(live.spec, spec),
        learned: { kept: learned, forgotten: Math.max(0, learnedBefore - learned) },
        flows: { kept: swept.kept, judgedAnew: swept.left },
        warnings: prepared.warnings,
        ms: Math.round(ms * 10) / 10,
        pausedMs: Math.round(pausedMs * 10) / 10,
      };
    } finally {
      this.#thread = undefined;
      thread.end();
    }
  }

  /** Rules for ports that matter no more do no harm, so a failure only is told. */
  async #narrowRules(spec: PolicySpec): Promise<void> {
    const { rules, log } = this.#parts;
    try {
      await rules.narrow(spec);
    } catch (error) {
      log.warn({}, `the iptables rules still speak of ports of the policy before: ${describe(error)}`);
    }
  }

  /** The rules' new numbers in what the kernel knows of learned names: they are only for the log, so there is no hurry. */
  async #renameRules(): Promise<void> {
    const { engine, maps } = this.#parts;
    let inSlice = 0;
    for (const command of engine.learnedCommands()) {
      maps.learn(command);
      if (++inSlice < slice) continue;
      inSlice = 0;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#hasClosed()) return;
    }
  }

  /** All that must not be seen by halves on this thread. Throws only with the old policy in force. */
  #step(live: LivePolicy, next: LivePolicy, generation: number): void {
    const { datapath, runner, flows, questions, events } = this.#parts;
    // What the kernel told under the old rules is told with their names.
    events.read();
    const policies = (of: LivePolicy): Event => ({ type: "policies", policies: [of.policy], firstRule: of.firstRule });
    try {
      // What is learned first: an address must not stand beside rules that don't allow it.
      runner.inject([policies(next)]);
      datapath.switchTo(generation, next.hash, next.firstRule);
    } catch (error) {
      // Names that it had to forget stay so: their clients ask again.
      runner.inject([policies(live), { type: "settled" }]);
      throw error;
    }
    flows.setGeneration(datapath.generation, datapath.previous);
    questions.setGeneration(datapath.generation, datapath.previous);
    this.#inForce(next);
  }

  async #setup(
    file: string,
    live: LivePolicy,
    numbers: ReloadSetup["numbers"],
    version: ReturnType<Datapath["nextVersion"]>,
  ): Promise<ReloadSetup> {
    const { datapath, plan } = this.#parts;
    const { options } = plan;
    const { room, maps } = datapath;
    if (!room) throw new Error("the maps have no room for a second policy");
    const interfaces = new Interfaces();
    let resolvers: ReloadSetup["resolvers"];
    try {
      resolvers = await localResolvers(interfaces);
    } finally {
      interfaces.close();
    }
    return {
      file,
      identity: policyIdentity(options),
      resolvers,
      numbers,
      maxCidrs: options.sizes.cidrs,
      tables: Object.fromEntries(tableNames.map((name) => [name, maps[name].fd])) as ReloadSetup["tables"],
      place: version.place,
      room,
      flows: { flows4: maps.flows4.fd, flows6: maps.flows6.fd },
      flowCarrier: datapath.flowCarrier.fd,
      generation: { from: datapath.generation, previous: datapath.previous, to: version.generation },
      before: {
        names: live.policy.toPlain().names,
        nameCount: live.spec.rules.filter((rule) => rule.kind === "name").length,
        cidrs: live.cidrs,
        verify: live.spec.verify,
        ports: JSON.stringify(live.spec.ports),
        namesPortSet: live.namesPortSet,
      },
    };
  }

  /** A call, so that the compiler doesn't believe the answer beyond an await. */
  #hasClosed(): boolean {
    return this.#closed;
  }
}
