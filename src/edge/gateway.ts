/**
 * One running gateway: everything that a start sets up and a stop takes down, in the orders that matter.
 *
 * Start: name and lock → maps and programs aside → restored names → queues → pins → iptables rules → programs on the interfaces,
 * the gate last. So a packet never finds a rule without its queue, or a mark without its rule. A run that was killed is taken over
 * without a gap: its rules, links and flows stay in force until each is replaced in one step.
 *
 * Stop opens the network, as removing a firewall does, each step only ever opening more: gate → rules → held packets get their
 * verdicts → classifiers → queues → pins → folder. (Classifiers before the gate would drop what is allowed: the gate lets nothing out
 * that nobody has marked.) To keep traffic governed while nobody is there, kill -9.
 */
import type { Native } from "../native/types.js";
import type { Attachment } from "./attachments.js";
import { removePins } from "./bpffs.js";
import { UsageError, describe } from "./errors.js";
import { releaseInstance } from "./instances.js";
import type { LivePolicy } from "./livePolicy.js";
import type { Log } from "./log.js";
import { PolicyReload } from "./policyReload.js";
import type { Plan } from "./preflight.js";
import { formatReload, type ReloadReport } from "./reloadReport.js";
import { build, type GatewayParts } from "./gatewayStart.js";

export class Gateway {
  readonly #log: Log;
  readonly parts: GatewayParts;
  readonly started = Date.now();
  readonly #reload: PolicyReload;
  #policy: LivePolicy;
  #stopping: Promise<void> | undefined;

  private constructor(log: Log, parts: GatewayParts) {
    this.#log = log;
    this.parts = parts;
    this.#policy = parts.policy;
    this.#reload = new PolicyReload({ ...parts, log }, () => this.#policy, (next) => (this.#policy = next)); // prettier-ignore
  }

  /**
   * Resolves when everything is attached and every queue is bound. Rejects with UsageError (somebody was quicker than the preflight) or
   * the failure; then what this start made is gone again, and what an earlier run left governs on.
   */
  static async start(native: Native, plan: Plan, log: Log): Promise<Gateway> {
    const undo: (() => void | Promise<void>)[] = [];
    try {
      return new Gateway(log, await build(native, plan, log, undo));
    } catch (error) {
      for (const step of undo.reverse()) {
        try {
          await step();
        } catch (problem) {
          log.error({}, `while undoing the start: ${describe(problem)}`);
        }
      }
      throw error;
    }
  }

  /** The policy in force. */
  get policy(): LivePolicy {
    return this.#policy;
  }

  /** The policy file is read again; `PolicyReload.run`. */
  async reload(): Promise<ReloadReport> {
    try {
      const report = await this.#reload.run();
      for (const warning of report.warnings) this.#log.warn({}, `warning: ${warning}`);
      this.#log.info({ ...report, warnings: report.warnings.length }, formatReload(report).join("; "));
      return report;
    } catch (error) {
      const lines = error instanceof UsageError ? error.lines : [describe(error)];
      for (const line of lines) this.#log.error({}, `reload: ${line}`);
      this.#log.error({}, "reload: the policy stays as it was");
      throw error;
    }
  }

  /** Nothing is left behind. Twice is once. Rejects with the first thing that could not be removed, after trying all. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const {
      claim,
      datapath,
      journal,
      runner,
      queue,
      workers,
      sender,
      events,
      reattacher,
      fastPath,
      rules,
      rulesWatch,
    } = this.parts;
    const { attachments } = datapath;
    const all = (program: Attachment["program"]) => () =>
      attachments.list().filter((one) => one.program === program).forEach((one) => attachments.detach(one)); // prettier-ignore
    const steps: (() => void | Promise<void>)[] = [
      () => this.#reload.close(),
      () => reattacher.close(),
      () => fastPath.close(),
      () => rulesWatch?.close(),
      all("gate"),
      () => rules.down(),
      () => workers.stop(),
      () => runner.stop(),
      all("classify"),
      all("back"),
      all("watch"),
      () => events.close(),
      () => workers.close(),
      () => queue.close(),
      () => sender.close(),
      () => datapath.close(),
      () => removePins(claim.paths.pins),
      () => journal.close(),
      () => releaseInstance(claim.paths, claim.lock),
    ];
    const problems: unknown[] = [];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        problems.push(error);
        this.#log.error({}, `while stopping: ${describe(error)}`);
      }
    }
    if (problems.length > 0) throw problems[0];
  }
}
