/**
 * The gateway's iptables rules while it runs. Two things change them, the fast path and the policy: each says its own, one after the other, and the rules
 * in force always follow from both.
 */
import { quicPorts, rulesDown, rulesUp } from "./iptables.js";
import type { PolicySpec } from "../core/policy/types.js";
import type { Log } from "./log.js";
import type { GatewayOptions } from "./options.js";

export class Rules {
  readonly #options: GatewayOptions;
  readonly #log: Log;
  #fast: boolean;
  #quicPorts: readonly string[];
  #last: Promise<void> = Promise.resolve();

  constructor(options: GatewayOptions, fast: boolean, policy: PolicySpec, log: Log) {
    this.#options = options;
    this.#log = log;
    this.#fast = fast;
    this.#quicPorts = quicPorts(policy);
  }

  /** Set them, in place of an earlier run's. Rejects as `rulesUp` does. With --no-iptables somebody else does, as with all below. */
  up(): Promise<void> {
    return this.#set(this.#fast, () => this.#quicPorts);
  }

  down(): Promise<void> {
    return this.#next(() => rulesDown(this.#options.name));
  }

  /** Those that let forwarded flows skip netfilter. Rejects with those before in force. */
  setFast(): Promise<void> {
    return this.#set(true, () => this.#quicPorts);
  }

  /** Before another policy is in force: the ports of both, so that neither's QUIC passes as a reply. Rejects with those before in force. */
  async widen(next: PolicySpec): Promise<void> {
    const added = quicPorts(next).filter((port) => !this.#quicPorts.includes(port));
    if (added.length > 0) await this.#set(undefined, () => [...this.#quicPorts, ...added]);
  }

  /** Once it is. Rejects with those before in force. */
  async narrow(policy: PolicySpec): Promise<void> {
    const ports = quicPorts(policy);
    if (ports.length < this.#quicPorts.length) await this.#set(undefined, () => ports);
  }

  /** `fast`: undefined: as it is. */
  #set(fast: boolean | undefined, ports: () => readonly string[]): Promise<void> {
    return this.#next(async () => {
      const wanted = { fast: fast ?? this.#fast, quicPorts: ports() };
      for (const remark of await rulesUp({ ...this.#options, ...wanted })) this.#log.warn({}, remark);
      this.#fast = wanted.fast;
      this.#quicPorts = wanted.quicPorts;
    });
  }

  #next(step: () => Promise<void>): Promise<void> {
    if (!this.#options.iptables) return Promise.resolve();
    const next = this.#last.catch(() => undefined).then(step);
    this.#last = next;
    return next;
  }
}
