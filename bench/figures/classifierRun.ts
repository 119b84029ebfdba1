/**
 * Runs in the router's namespace: the classifier under BPF_PROG_TEST_RUN, with 100,000 CIDRs in its trie and one packet at a time.
 * Prints one line of JSON: case → nanoseconds a packet, one number for each destination and round.
 *
 *   classifierRun.ts OBJECT EMPTY_OBJECT ROUNDS REPEAT
 */
import { networkInterfaces } from "node:os";
import { readFileSync } from "node:fs";
import {
  CIDR4_KEY_SIZE,
  CIDR_SIZE,
  ClientBy,
  Verdict,
  Verify,
  encodeCidr,
  encodeCidr4Key,
  encodeConfig,
  encodeInterface,
  encodePolicy,
} from "../../src/core/abi.generated.js";
import { native } from "../../src/native/index.js";
import type { BpfObject, BpfProgram } from "../../src/native/types.js";
import { manyCidrs, type Cidr } from "../cidrs.js";
import { lanInterface, wanInterface } from "../lab.js";

const policy = 1;
const mark = { mask: 0x30, shift: 4 };
const destinations = 64;
const passed = 0xffffffff; // TC_ACT_UNSPEC
const TCP = { ack: 0x10, syn: 0x02 } as const;

const [objectPath, emptyPath, rounds, repeat] = process.argv.slice(2) as [string, string, string, string];
const cidrs = manyCidrs(100_000);
const object = native.loadObject({ path: objectPath, maxEntries: { cidr4: 131_072 } });
const empty = native.loadObject({ path: emptyPath }).program("empty");
const classify = object.program("classify");
const lan = interfaceIndex(lanInterface);
configure(object);

const targets = Array.from({ length: destinations }, (_, i) => cidrs[i * 1_500]!.address);
const cases: Readonly<Record<string, () => number[]>> = {
  empty: () => targets.map((to) => time(empty, packet(to, 1_024, TCP.ack), undefined)),
  // An established connection: the SYN made the flow, and each packet after it finds it.
  flowHit: () =>
    targets.map((to) => {
      time(classify, packet(to, 1_025, TCP.syn), Verdict.ALLOW, 1);
      return time(classify, packet(to, 1_025, TCP.ack), Verdict.ALLOW);
    }),
  // No flow is stored for a packet amid a connection whose SYN was not seen: the flow is looked for, then the trie answers, every time.
  lpmHit: () => targets.map((to) => time(classify, packet(to, 1_026, TCP.ack), Verdict.ALLOW)),
  // The first packet of a connection: trie, route lookup, a new flow.
  firstPacket: () => targets.map((to) => time(classify, packet(to, 1_027, TCP.syn), Verdict.ALLOW)),
};

const results: Record<string, number[]> = Object.fromEntries(Object.keys(cases).map((name) => [name, []]));
for (let round = 0; round < Number(rounds); round++) {
  for (const [name, measure] of Object.entries(cases)) results[name]!.push(...measure());
}
process.stdout.write(JSON.stringify({ cidrs: object.map("cidr4").entries().count, results }) + "\n");

/** Nanoseconds a run, as the kernel measures them. The mark must come out as `verdict` says: a fast wrong answer is none. */
function time(program: BpfProgram, data: Buffer, verdict: number | undefined, times = Number(repeat)): number {
  const out = program.testRun({ data, repeat: times, ifindex: lan });
  const expected = verdict === undefined ? 0 : (verdict << mark.shift) & mark.mask;
  if (out.returnValue >>> 0 !== passed || out.mark !== expected) {
    throw new Error(`${program.name}: returned ${out.returnValue}, mark ${out.mark}; expected pass, mark ${expected}`);
  }
  return out.durationNs;
}

function configure(loaded: BpfObject): void {
  const idle = { flowIdleTcp: 7_440, flowIdleOther: 300, flowIdleDeny: 5 };
  const config = {
    markMask: mark.mask,
    markShift: mark.shift,
    generation: 1,
    failOpen: 0,
    eventsPerSecond: 0,
    ...idle,
  };
  loaded.map("config").put(u32(0), encodeConfig({ ...config, hashSeed: Buffer.alloc(16) }));
  loaded.map("policies").put(u32(policy), encodePolicy({ present: 1, verify: Verify.BOTH, namePorts: 0 }));
  const iface = { policy, clientBy: ClientBy.MAC, hasSources: 0, defaultGoverned: 1, l3: 0 };
  loaded.map("interfaces").put(u32(lan), encodeInterface(iface));
  loaded.map("egress").put(u32(interfaceIndex(wanInterface)), u32(1));
  fillTrie(loaded, cidrs);
}

function fillTrie(loaded: BpfObject, list: readonly Cidr[]): void {
  const keys = Buffer.alloc(list.length * CIDR4_KEY_SIZE);
  const values = Buffer.alloc(list.length * CIDR_SIZE);
  list.forEach(({ address, prefix }, i) => {
    encodeCidr4Key({ prefixlen: 32 + prefix, policy, addr: bytes(address) }, keys, i * CIDR4_KEY_SIZE);
    encodeCidr({ verdict: Verdict.ALLOW, strict: 0, rule: 1, ports: 0 }, values, i * CIDR_SIZE);
  });
  const stored = loaded.map("cidr4").putBatch(keys, values, list.length);
  if (stored !== list.length) throw new Error(`${stored} of ${list.length} CIDRs stored`);
}

/** Ethernet (to this interface: else it isn't for this box), IPv4, TCP; no payload. Nobody checks a checksum on this path. */
function packet(to: number, port: number, flags: number): Buffer {
  const frame = Buffer.alloc(54);
  Buffer.from(interfaceMac(lanInterface).replaceAll(":", ""), "hex").copy(frame, 0);
  frame.write("020000000002", 6, "hex");
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt16BE(0x4500, 14);
  frame.writeUInt16BE(40, 16);
  frame.writeUInt16BE(0x4006, 22); // time to live, TCP
  frame.write("0a4d0002", 26, "hex"); // 10.77.0.2
  frame.writeUInt32BE(to, 30);
  frame.writeUInt16BE(port, 34);
  frame.writeUInt16BE(443, 36);
  frame.writeUInt16BE(0x5000 | flags, 46);
  return frame;
}

function interfaceMac(name: string): string {
  const found = networkInterfaces()[name]?.[0];
  if (!found) throw new Error(`no interface ${name}`);
  return found.mac;
}

/** /sys is that of the namespace it was mounted in; /proc/net is ours. */
function interfaceIndex(name: string): number {
  for (const line of readFileSync("/proc/net/igmp", "utf8").split("\n")) {
    const [, index, device] = /^(\d+)\s+(\S+)/.exec(line) ?? [];
    if (device === name) return Number(index);
  }
  throw new Error(`no interface ${name}`);
}

function bytes(address: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(address);
  return out;
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}
