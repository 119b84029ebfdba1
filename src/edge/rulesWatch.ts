/**
 * Whether the gateway's iptables rules are still there: somebody's `iptables -F` takes them away, and what is undecided is not judged any more.
 * The log says so once, and once more when they are back. Looked at within ten seconds after nftables changed (iptables-nft is nftables);
 * iptables-legacy tells nobody of its changes: where it is in use, every ten seconds.
 */
import { readFileSync } from "node:fs";
import netlink from "netlink";
import { describe } from "./errors.js";
import type { RulesState } from "./iptables.js";
import { rulesStatus } from "./iptables.js";
import type { Log } from "./log.js";

const lookMs = 10_000;
/** NETLINK_NETFILTER and NFNLGRP_NFTABLES (include/uapi/linux/netlink.h, linux/netfilter/nfnetlink.h). */
const netlinkNetfilter = 12;
const nftablesGroup = 7;

export class RulesWatch {
  readonly #name: string;
  readonly #log: Log;
  readonly #socket = new netlink.RawNetlinkSocket(netlinkNetfilter);
  readonly #timer: NodeJS.Timeout;
  #changed = false;
  /** What the log said last. */
  #wrong = "";
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(name: string, log: Log) {
    this.#name = name;
    this.#log = log;
    const changed = () => (this.#changed = true);
    this.#socket.addMembership(nftablesGroup);
    this.#socket.on("message", changed);
    // ENOBUFS: more changes than the socket could hold.
    this.#socket.on("error", changed);
    this.#timer = setInterval(() => this.#tick(), lookMs);
    this.#timer.unref();
  }

  /** Resolves when no look is under way: those who take the rules down are not to be reported. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#socket.close();
    await this.#running;
  }

  #tick(): void {
    if (this.#running || !(this.#changed || legacyInUse())) return;
    this.#changed = false;
    this.#running = this.#look().finally(() => (this.#running = undefined));
  }

  async #look(): Promise<void> {
    try {
      const { state, lines } = await rulesStatus(this.#name);
      const problems = lines.filter((line) => /^IPv[46]: /.test(line));
      this.#tell(state, state === "up" ? "" : problems.join("; ") || "there are none");
    } catch (error) {
      this.#log.error({}, `the iptables rules can't be looked at: ${describe(error)}`);
    }
  }

  #tell(state: RulesState, wrong: string): void {
    if (this.#closed || wrong === this.#wrong) return;
    this.#wrong = wrong;
    if (wrong === "") this.#log.info({ iptables: state }, "the iptables rules are complete again");
    else {
      this.#log.warn(
        { iptables: state },
        `the iptables rules are not as they should be: ${wrong}; to set them again, restart the gateway`,
      );
    }
  }
}

/** Its tables are listed there once somebody has used them; asking the program would load its modules. */
function legacyInUse(): boolean {
  return ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"].some((path) => {
    try {
      return readFileSync(path, "utf8").trim() !== "";
    } catch {
      return false;
    }
  });
}
