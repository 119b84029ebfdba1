/**
 * Whether forwarded flows may skip netfilter (bpf/fast.h): only as long as nobody but us has a say there. Asked some seconds after the start,
 * whenever nftables change, and every ten seconds, for what tells nobody of its changes. Flows that began before stay on the long way.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import netlink from "netlink";
import type { Native } from "../native/types.js";
import { clsactHandle } from "./attachments.js";
import type { Datapath } from "./datapath.js";
import { describe } from "./errors.js";
import type { Rules } from "./rules.js";
import type { Log } from "./log.js";
import { legacyRules, nftRules } from "./otherRules.js";
import type { Plan } from "./preflight.js";

export interface FastPathState {
  readonly on: boolean;
  /** Why not; empty: it is on. */
  readonly why: readonly string[];
}

export interface FastPathOptions {
  readonly native: Native;
  readonly plan: Plan;
  readonly datapath: Datapath;
  readonly rules: Rules;
  readonly log: Log;
}

/**
 * Connections that were there before the gateway have so long to be seen by conntrack. After that, with the first flow that skips it,
 * what it sees amid a connection from outside is no beginning any more (iptables-setup.sh --fast).
 */
const graceMs = 2_000;
const againMs = 10_000;
/** NETLINK_NETFILTER and NFNLGRP_NFTABLES (include/uapi/linux/netlink.h, linux/netfilter/nfnetlink.h). */
const netlinkNetfilter = 12;
const nftablesGroup = 7;

const run = promisify(execFile);

export class FastPath {
  readonly #options: FastPathOptions;
  #state: FastPathState;
  #socket: netlink.RawNetlinkSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #begun = false;
  #running: Promise<void> | undefined;
  /** A first answer was logged. */
  #told = false;
  #again = false;
  #closed = false;
  /** The rules that go with it are in force. */
  #rules: boolean;

  constructor(options: FastPathOptions) {
    const { datapath, plan } = options;
    this.#options = options;
    this.#rules = datapath.fast;
    this.#state = { on: datapath.fast, why: datapath.fast ? [] : ["the gateway has just started"] };
    const never = reasonsInThePlan(plan);
    if (never.length > 0) {
      datapath.setFast(false);
      this.#state = { on: false, why: never };
      return;
    }
    this.#socket = new netlink.RawNetlinkSocket(netlinkNetfilter);
    this.#socket.addMembership(nftablesGroup);
    this.#socket.on("message", () => void this.#check());
    // ENOBUFS: more changes than the socket could hold.
    this.#socket.on("error", () => void this.#check());
    this.#timer = setTimeout(() => this.#begin(), datapath.fast ? 0 : graceMs);
    this.#timer.unref();
  }

  get state(): FastPathState {
    return this.#state;
  }

  /** Resolves when nothing of it is under way: no rule of its own comes after those who take the rules down. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = undefined;
    await this.#running;
  }

  #begin(): void {
    this.#begun = true;
    void this.#check();
    this.#timer = setInterval(() => void this.#check(), againMs);
    this.#timer.unref();
  }

  /** One look at a time; a change meanwhile asks for another. */
  async #check(): Promise<void> {
    this.#again = true;
    if (this.#running || !this.#begun) return;
    this.#running = this.#look();
    await this.#running;
    this.#running = undefined;
  }

  async #look(): Promise<void> {
    while (this.#again && !this.#isClosed()) {
      this.#again = false;
      await this.#set(await this.#reasons());
    }
  }

  /** A call, so that the compiler doesn't believe the answer beyond an await. */
  #isClosed(): boolean {
    return this.#closed;
  }

  async #reasons(): Promise<string[]> {
    const { native, plan } = this.#options;
    try {
      return [
        ...(await nftRules([...plan.options.lan, plan.options.eface])),
        ...(await legacyRules()),
        ...(await routing()),
        ...(await otherPrograms(native, plan)),
      ];
    } catch (error) {
      return [`could not tell what else is in the way: ${describe(error)}`];
    }
  }

  async #set(why: readonly string[]): Promise<void> {
    if (this.#isClosed()) return;
    const { datapath, rules, log } = this.#options;
    const on = why.length === 0;
    if (on && !this.#rules) {
      try {
        await rules.setFast();
        this.#rules = true;
      } catch (error) {
        this.#state = { on: false, why: [describe(error)] };
        return;
      }
      if (this.#isClosed()) return;
    }
    datapath.setFast(on);
    if (on !== this.#state.on || !this.#told) {
      this.#told = true;
      if (on) log.info({}, "fast path on: forwarded flows skip netfilter, which has no other rules");
      else log.info({ why }, `fast path off: ${why.join("; ")}`);
    }
    this.#state = { on, why };
  }
}

/** What no change of rules will change. */
export function reasonsInThePlan(plan: Plan): string[] {
  const { options, lan, eface } = plan;
  if (options.fastPath === "off") return ["--fast-path off"];
  if (lan.length === 0) return ["this box's own egress is not forwarded"];
  if (options.masquerade) return ["--masquerade: addresses are translated"];
  if (!options.iptables) return ["--no-iptables: somebody else sets the rules"];
  const bare = [...lan, eface].filter((link) => !link.ethernet);
  return bare.map((link) => `${link.name} has no Ethernet header`);
}

/** Routes that eBPF's lookup doesn't see: by mark, or into a tunnel of IPsec. */
async function routing(): Promise<string[]> {
  const out: string[] = [];
  for (const family of ["-4", "-6"]) {
    const { stdout } = await run("ip", [family, "-j", "rule", "show"]);
    const rules = JSON.parse(stdout || "[]") as { fwmark?: string }[];
    if (rules.some((rule) => rule.fwmark !== undefined)) out.push("a routing rule asks for a mark (ip rule)");
  }
  const { stdout } = await run("ip", ["xfrm", "policy"]).catch(() => ({ stdout: "" }));
  if (stdout.trim() !== "") out.push("there are IPsec policies (ip xfrm policy)");
  return [...new Set(out)];
}

/** Other people's programs at the same places, which a redirected packet would not come to. */
async function otherPrograms(native: Native, plan: Plan): Promise<string[]> {
  const { options, lan, eface, attachMode } = plan;
  const out: string[] = [];
  for (const [link, program] of [...lan.map((one) => [one, "classify"] as const), [eface, "back"] as const]) {
    const mine = clsactHandle(options.name, program);
    const { stdout } = await run("tc", ["-j", "filter", "show", "dev", link.name, "ingress"]).catch(() => ({
      stdout: "[]",
    }));
    const filters = JSON.parse(stdout || "[]") as { options?: { handle?: string } }[];
    const others = filters.filter(({ options: one }) => one && Number(one.handle) !== mine);
    const tcx = native.tcxCount(link.index, "ingress") - (attachMode === "tcx" ? 1 : 0);
    if (others.length > 0 || tcx > 0) out.push(`other programs or filters look at what comes in by ${link.name}`);
  }
  return out;
}
