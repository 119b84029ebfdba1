/**
 * A playbook drives the engine as packets would: each step gives one event and says which commands must come out, in order.
 * Commands are written as short lines ("accept 1 mark=allow", "learn www.x.io 198.51.100.7") so that a mismatch reads as a diff.
 *
 * What the engine lends and borrows is used again by the next packet: events and their bytes, commands, and its own headers of a packet. So after each step all
 * of it is overwritten, and whatever test runs here fails if something was kept that is no copy.
 */
import assert from "node:assert/strict";
import {
  FLOW_FAST,
  FLOW_FINAL,
  FLOW_OPENED,
  FLOW_QUIC,
  FLOW_RELEASED,
  reasonName,
} from "../../../src/core/abi.generated.js";
import type { AskedQuestion } from "../../../src/core/engine/asked.js";
import { CommandList } from "../../../src/core/engine/commandList.js";
import type { Command, FlowKey, FlowPutCommand } from "../../../src/core/engine/commands.js";
import { Engine, type EngineConfig } from "../../../src/core/engine/engine.js";
import type { ClientId, Event, Hook, PacketEvent, PacketId } from "../../../src/core/engine/events.js";
import type { CachedFlow } from "../../../src/core/engine/flowState.js";
import { defaultLimits, type EngineLimits } from "../../../src/core/engine/limits.js";
import { formatAddr, parseAddr, type Addr } from "../../../src/core/net/address.js";
import { compilePolicies } from "../../../src/core/policy/compile.js";
import { parsePolicy, type PolicyFlags } from "../../../src/core/policy/parse.js";
import { parseDns } from "../../../src/core/wire/dns.js";
import { parseIp } from "../../../src/core/wire/ip.js";
import { parseTcp } from "../../../src/core/wire/tcp.js";
import { tcp, udp } from "../../packets.js";

export const CLIENT = "192.168.77.2";
export const CLIENT6 = "fd77::2";
export const RESOLVER = "203.0.113.53";
export const SITE = "198.51.100.7";
export const SITE6 = "2001:db8:51::7";
export const CLIENT_ID = "\x01\0\0\0\0\0\x02\0\0\0\0\x01\0\0\0\0" as ClientId;

const noFlags: PolicyFlags = {
  cidr: [],
  denyCidr: [],
  cn: [],
  domain: ["www.x.io", "*.y.io"],
  resolver: [RESOLVER],
  port: [],
  namePort: [],
  verify: "both",
  reject: "rst",
  dnsDeny: "refused",
};

export interface PacketOptions {
  readonly hook?: Hook;
  readonly towardsClient?: boolean;
  readonly client?: ClientId;
  readonly checksumPending?: boolean;
  readonly merged?: boolean;
  readonly wireLength?: number;
  /** Where an answer comes in. Default: where questions go out. */
  readonly ifindexIn?: number;
}

export class Playbook {
  readonly engine: Engine;
  /** Every command of the whole play. */
  readonly all: Command[] = [];
  now = 1_000_000;
  /** What eBPF would have cached, by what the engine puts. */
  readonly #kernel = new Map<string, CachedFlow>();
  /** Questions that eBPF let pass, by `AskedKey`. */
  readonly asked = new Map<string, AskedQuestion>();
  #nextId = 0;
  /** Verdicts by packet id: each id must get exactly one. */
  readonly #verdicts = new Map<number, number>();
  readonly #out = new CommandList();
  readonly #cached = {} as CachedFlow;

  constructor(
    flags: Partial<PolicyFlags> = {},
    limits: Partial<EngineLimits> = {},
    more: Partial<Pick<EngineConfig, "learned">> = {},
  ) {
    const parsed = parsePolicy({ ...noFlags, ...flags });
    assert.ok(parsed.ok, parsed.ok ? "" : parsed.errors.join("\n"));
    const { policies } = compilePolicies([parsed.spec]);
    this.engine = new Engine({
      policies,
      limits: { ...defaultLimits, ...limits },
      lookupFlow: (key) => this.#lookUp(key),
      lookupAsked: (key) => this.asked.get(JSON.stringify(key)),
      hashSeed: Buffer.from("playbook"),
      ...more,
    });
  }

  /** Lends its answer, as the edge does. */
  #lookUp(key: FlowKey): CachedFlow | undefined {
    const flow = this.#kernel.get(JSON.stringify(key));
    return flow && Object.assign(this.#cached, flow);
  }

  get policy(): number {
    return 1;
  }

  /** Give one packet; returns the lines of what came out. Packets are numbered from 1. */
  packet(bytes: Uint8Array, options: PacketOptions = {}): string[] {
    const id = ++this.#nextId as PacketId;
    const lent = Buffer.from(bytes);
    const event: PacketEvent = {
      type: "packet",
      id,
      hook: options.hook ?? "forward",
      // The LAN is 2, the way out is 3; 0 is this box.
      ifindexIn: options.ifindexIn ?? (options.towardsClient ? (options.hook === "output" ? 0 : 3) : 2),
      ifindexOut: options.towardsClient ? 2 : options.hook === "input" ? 0 : 3,
      mark: options.towardsClient ? 0 : 0x10,
      client: options.towardsClient ? undefined : (options.client ?? CLIENT_ID),
      policy: options.towardsClient ? undefined : this.policy,
      bytes: lent,
      wireLength: options.wireLength ?? bytes.length,
      merged: options.merged ?? false,
      checksumPending: options.checksumPending ?? false,
    };
    const lines = this.event(event);
    // The next batch lies in the same memory. (A Buffer's slice is no copy.)
    lent.fill(0xaa);
    spoil(event);
    spoil(this.#cached);
    this.#spoilHeaders();
    return lines;
  }

  event(event: Event): string[] {
    this.engine.handle(event, this.now, this.#out);
    const lent = [...this.#out];
    const out = lent.map(copyOf);
    this.#out.clear();
    lent.forEach(spoil);
    this.all.push(...out);
    for (const command of out) {
      if (command.type === "flowPut") this.#put(command);
      if (command.type === "answered") this.asked.delete(JSON.stringify(command.key));
      if (command.type !== "verdict") continue;
      assert.ok(command.id <= this.#nextId, `verdict for packet ${command.id}, which was never given`);
      this.#verdicts.set(command.id, (this.#verdicts.get(command.id) ?? 0) + 1);
      assert.equal(this.#verdicts.get(command.id), 1, `second verdict for packet ${command.id}`);
    }
    return out.map(line);
  }

  /** Packets that change nothing but what the engine has at hand of a packet. */
  #spoilHeaders(): void {
    for (const bytes of decoys) {
      const event: PacketEvent = {
        type: "packet",
        id: 0xffff_ffff as PacketId,
        hook: "input",
        ifindexIn: 2,
        ifindexOut: 0,
        mark: 0,
        client: "decoy decoy deco" as ClientId,
        policy: this.policy,
        bytes,
        wireLength: bytes.length,
        merged: false,
        checksumPending: false,
      };
      this.engine.handle(event, this.now, this.#out);
      assert.deepEqual([...this.#out].map(line), ["accept 4294967295"]);
      this.#out.clear();
    }
  }

  /** The server acknowledges every SYN that passed. */
  answer(): void {
    for (const [key, flow] of this.#kernel) {
      if (flow.verdict === "pending") this.#kernel.set(key, { ...flow, opened: true });
    }
  }

  /** The kernel's table loses every flow. */
  evict(): void {
    this.#kernel.clear();
  }

  /** eBPF writes by itself. */
  cache(key: FlowKey, flow: CachedFlow): void {
    this.#kernel.set(JSON.stringify(key), flow);
  }

  #put(command: FlowPutCommand): void {
    const { verdict, reason, flags, judgedStart, judgedEnd } = command;
    const openedAt = verdict === "pending" ? this.now : 0;
    const final = (flags & FLOW_FINAL) !== 0;
    const fast = (flags & FLOW_FAST) !== 0;
    const opened = (flags & FLOW_OPENED) !== 0;
    const released = (flags & FLOW_RELEASED) !== 0;
    this.cache(command.key, { verdict, reason, final, opened, released, fast, openedAt, judgedStart, judgedEnd });
  }

  /** Move the clock and tick. */
  wait(ms: number): string[] {
    this.now += ms;
    return this.event({ type: "tick" });
  }

  /** After shutdown no packet may be left without a verdict. */
  finish(): void {
    this.event({ type: "shutdown" });
    for (let id = 1; id <= this.#nextId; id++) {
      assert.equal(this.#verdicts.get(id), 1, `packet ${id} got ${this.#verdicts.get(id) ?? 0} verdicts`);
    }
  }
}

/** To this box and no question: not for the engine to judge. */
const decoyEnds = { src: "203.0.113.201", dst: "203.0.113.202" };
const decoys = [
  udp(decoyEnds, { sport: 7, dport: 9 }, Buffer.from("decoy")),
  tcp(decoyEnds, { sport: 11, dport: 13, seq: 0xdec0_dec0, flags: "A" }, Buffer.from("decoy")),
];

function copyOf(command: Command): Command {
  const copy: Record<string, unknown> = { ...command };
  for (const [field, value] of Object.entries(copy)) {
    if (value instanceof Uint8Array) copy[field] = Uint8Array.from(value);
    else if (field === "key") copy[field] = { ...(value as object) };
  }
  return copy as unknown as Command;
}

/** All but what it is, which no user of it may rely on either. */
function spoil(lent: object): void {
  const fields = lent as Record<string, unknown>;
  for (const [field, value] of Object.entries(fields)) {
    if (field === "key") spoil(value as object);
    else if (field !== "type") fields[field] = "spoiled";
  }
}

const MARKS = { 2: "pending", 3: "allow" } as const;

function line(command: Command): string {
  switch (command.type) {
    case "verdict":
      return `${command.action} ${command.id}${command.mark === undefined ? "" : ` mark=${MARKS[command.mark]}`}${command.bytes ? " changed" : ""}`;
    case "learn":
      return `learn ${command.name} ${formatAddr(command.address)}${command.shared ? " shared" : ""}`;
    case "forget":
      return `forget ${command.name} ${formatAddr(command.address)}${command.last ? " last" : ""}`;
    case "flowPut": {
      const judged = (command.judgedEnd - command.judgedStart) >>> 0;
      const fast = command.flags & FLOW_FAST ? " fast" : "";
      const released = command.flags & FLOW_RELEASED ? " released" : "";
      const quic = command.flags & FLOW_QUIC ? " quic" : "";
      return `flow ${command.verdict} ${reasonName(command.reason)}${judged ? ` judged=${judged}` : ""}${fast}${released}${quic}`;
    }
    case "allowQuestion":
      return `question ${command.name} ${command.questionType}`;
    case "answered":
      return `answered ${command.key.id}`;
    case "send":
      return `send ${describe(command.bytes)}`;
    case "decision":
      return `${command.verdict === "allow" ? "ALLOW" : "DENY"} ${reasonName(command.reason)}${command.name === undefined ? "" : ` ${command.name}`}`;
    case "count":
      return `count ${reasonName(command.reason)}`;
  }
}

/** What a packet of ours is, for a person: "rst to 192.168.77.2". */
function describe(bytes: Uint8Array): string {
  const ip = parseIp(bytes, bytes.length);
  if (ip.kind !== "done") return `unreadable ${ip.kind}`;
  const to = formatAddr(ip.value.dst);
  if (ip.value.proto === 6) {
    const tcp = parseTcp(bytes, ip.value);
    if (tcp.kind !== "done") return "unreadable tcp";
    if (tcp.value.flags & 4) return `rst to ${to}`;
    return `tcp ${tcp.value.payloadEnd - tcp.value.payloadOffset} bytes to ${to}`;
  }
  if (ip.value.proto === 17) {
    const dns = parseDns(bytes, ip.value.payloadOffset + 8, ip.value.payloadEnd);
    return dns.kind === "done" ? `dns rcode=${dns.value.rcode} to ${to}` : `udp to ${to}`;
  }
  return `icmp ${bytes[ip.value.payloadOffset]}/${bytes[ip.value.payloadOffset + 1]} to ${to}`;
}

export function addr(text: string): Addr {
  const parsed = parseAddr(text);
  assert.ok(parsed, `not an address: ${text}`);
  return parsed;
}
