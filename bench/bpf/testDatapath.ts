/** The gateway's own datapath (src/edge/datapath.ts) with a policy of any size, attached to nothing: packets come from BPF_PROG_TEST_RUN. */
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { ClientBy, FLOW_FINAL, FLOW_OPENED, Reason, Verdict } from "../../src/core/abi.generated.js";
import type { FlowPutCommand } from "../../src/core/engine/commands.js";
import { NameHasher } from "../../src/core/names/hash.js";
import { addrFromBytes, parseAddr, type Addr } from "../../src/core/net/address.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import { parsePolicy, type PolicyFlags } from "../../src/core/policy/parse.js";
import { removePinDir } from "../../src/edge/bpffs.js";
import { clientOf } from "../../src/edge/clients.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { Datapath } from "../../src/edge/datapath.js";
import { KernelFlows } from "../../src/edge/kernelFlows.js";
import { KernelMaps } from "../../src/edge/kernelMaps.js";
import { defaults } from "../../src/edge/options.js";
import { instancePaths } from "../../src/edge/paths.js";
import { native } from "../../src/native/index.js";
import type { BpfObject, BpfProgram } from "../../src/native/types.js";
import { client, lanInterface, wanInterface } from "../lab.js";
import { TCP, frame, type Segment } from "./frames.js";

const policy = 1;
const mark = { mask: 0x30, shift: 4 };
const TC_ACT_SHOT = 2;
/** TC_ACT_UNSPEC: the packet goes on. */
const PASSED = 0xffffffff;
const clientMac = Buffer.from("020000000002", "hex");
const clients = { 4: parseAddr(client.v4)!, 16: parseAddr(client.v6)! };
const noFlags: PolicyFlags = { cidr: [], denyCidr: [], cn: [], domain: [], resolver: [], port: [], namePort: [] };

/** What must come out: a fast wrong answer is none. "deny" is a drop, all others pass with that mark. */
export type Expected = "allow" | "inspect" | "pending" | "none" | "deny";
const marks = { allow: Verdict.ALLOW, inspect: Verdict.INSPECT, pending: Verdict.PENDING, none: Verdict.NONE };

export class TestDatapath {
  readonly classify: BpfProgram;
  /** At the way out, and on the way back. */
  readonly gate: BpfProgram;
  readonly watch: BpfProgram;
  readonly maps: KernelMaps;
  readonly #flows: KernelFlows;
  readonly #datapath: Datapath;
  readonly #lan = interfaceIndex(lanInterface);
  readonly #wan = interfaceIndex(wanInterface);
  readonly #mac = interfaceMac(lanInterface);
  readonly #pins: string;

  /** In the router of a lab. `instance` names a folder under bpffs that is gone again after `close`. Throws with what is wrong. */
  constructor(instance: string, flags: Partial<PolicyFlags>) {
    const parsed = parsePolicy({ ...noFlags, ...flags });
    if (!parsed.ok) throw new Error(parsed.errors.join("\n"));
    const { tables } = compilePolicies([parsed.spec]);
    const paths = instancePaths(instance, defaults.pinDir);
    let object: BpfObject | undefined;
    this.#pins = paths.pins;
    this.#datapath = Datapath.prepare(
      { ...native, loadObject: (options) => (object = native.loadObject(options)) },
      {
        instance,
        paths,
        sizes: defaults.sizes,
        mark,
        failMode: "closed",
        tables,
        policyHash: instance,
        firstRule: 1,
        interfaces: [{ ifindex: this.#lan, policy, clientBy: ClientBy.MAC, l3: false }],
        egress: [this.#wan],
        own: false,
        attachMode: "tcx",
      },
    );
    this.classify = object!.program("classify");
    this.gate = object!.program("gate");
    this.watch = object!.program("watch");
    const { maps, hashSeed, generation } = this.#datapath;
    this.maps = new KernelMaps(maps, new NameHasher(hashSeed));
    this.#flows = new KernelFlows(maps, generation, undefined);
  }

  close(): void {
    this.#datapath.close();
    removePinDir(this.#pins);
  }

  frame(segment: Pick<Segment, "dst" | "sport" | "flags" | "seq" | "payload">): Buffer {
    return frame({ to: this.#mac, from: clientMac, src: clients[segment.dst.length as 4 | 16], ...segment });
  }

  /** What the server of `frame({ dst, sport })` answers, on its way to the client. */
  reply({ dst, sport }: Pick<Segment, "dst" | "sport">): Buffer {
    const ends = { src: dst, dst: clients[dst.length as 4 | 16], sport: 443, dport: sport };
    return frame({ to: clientMac, from: this.#mac, ...ends, flags: TCP.ack });
  }

  /** As the engine has it learned from a DNS answer. */
  learn(name: string, address: Addr): void {
    const expires = monotonicMs() + 3_600_000;
    this.maps.learn({
      ...{
        type: "learn",
        policy,
        address,
        name,
        chain: [name],
        rule: 1,
        ports: 0,
        addressPorts: 0,
        expires,
        addressExpires: expires,
      },
      client: clientOf(ClientBy.MAC, this.#lan, Buffer.alloc(0), true, ...macWords(clientMac))!,
      shared: false,
    });
  }

  /** Store a flow to port 443 whose SYN the server has answered; its first byte has sequence number `start`. */
  openFlow(dst: Addr, sport: number, start: number): void {
    const key = { policy, src: clients[dst.length as 4 | 16], dst, sport, dport: 443, proto: 6 };
    const pending = { rule: 1, flags: FLOW_OPENED, judgedStart: start, judgedEnd: start };
    this.#putFlow({ type: "flowPut", key, verdict: "pending", reason: Reason.PENDING, ...pending });
  }

  /** Store flow number `number`: allowed and final, with an address and a port of its own. */
  allowFlow(number: number): void {
    const key = { policy, src: clients[4], ...flowNumber(number), proto: 6, dport: 443 };
    const reason = Reason.ALLOW_NAME;
    const judged = { rule: 1, flags: FLOW_FINAL, judgedStart: 0, judgedEnd: 0 };
    this.#putFlow({ type: "flowPut", key, verdict: "allow", reason, ...judged });
  }

  #putFlow(command: FlowPutCommand): void {
    this.#flows.put(command, monotonicMs());
    this.#flows.flush();
  }

  /** Nanoseconds a run as the kernel measures them; throws if the program says anything else than `expected`. */
  time(program: BpfProgram, data: Buffer, expected: Expected, repeat: number): number {
    const out = program.testRun({ data, repeat, ...this.#placeOf(program) });
    const said = out.returnValue === TC_ACT_SHOT ? "deny" : out.returnValue >>> 0 === PASSED ? markOf(out.mark) : "?";
    if (said !== expected) throw new Error(`${program.name}: ${said}; ${expected} expected`);
    return out.durationNs;
  }

  #placeOf(program: BpfProgram): { ifindex: number; ingressIfindex?: number; mark?: number } {
    const { name } = program;
    if (name === "gate") return { ifindex: this.#wan, ingressIfindex: this.#lan, mark: Verdict.ALLOW << mark.shift };
    return name === "watch" ? { ifindex: this.#lan, ingressIfindex: this.#wan } : { ifindex: this.#lan };
  }

  /** What classify says of it. */
  ask(data: Buffer): Expected | "?" {
    const out = this.classify.testRun({ data, ifindex: this.#lan });
    return out.returnValue === TC_ACT_SHOT ? "deny" : markOf(out.mark);
  }
}

export function flowNumber(number: number): { dst: Addr; sport: number } {
  const bytes = Buffer.alloc(4);
  // An odd factor: neighbours in number are none in the hash table, nor in memory.
  bytes.writeUInt32BE((0x50000000 | (Math.imul(number, 0x9e3779b1) >>> 8)) >>> 0);
  return { dst: addrFromBytes(bytes, 0, 4), sport: 1_024 + (number & 0x7fff) };
}

function markOf(value: number): Expected | "?" {
  const verdict = (value & mark.mask) >> mark.shift;
  return (Object.keys(marks) as (keyof typeof marks)[]).find((name) => marks[name] === verdict) ?? "?";
}

function macWords(mac: Buffer): [number, number] {
  return [mac.readUInt32LE(0), mac.readUInt16LE(4)];
}

function interfaceMac(name: string): Buffer {
  const found = networkInterfaces()[name]?.[0];
  if (!found) throw new Error(`no interface ${name}`);
  return Buffer.from(found.mac.replaceAll(":", ""), "hex");
}

/** /sys is that of the namespace it was mounted in; /proc/net is ours. */
function interfaceIndex(name: string): number {
  for (const line of readFileSync("/proc/net/igmp", "utf8").split("\n")) {
    const [, index, device] = /^(\d+)\s+(\S+)/.exec(line) ?? [];
    if (device === name) return Number(index);
  }
  throw new Error(`no interface ${name}`);
}
