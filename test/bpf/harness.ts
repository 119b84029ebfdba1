/**
 * The real object in a network namespace of its own, with routes that bpf_fib_lookup can answer from:
 *
 *   lan0 10.1.0.1/24 fd00:1::1/64       governed           wan0 192.0.2.2/30 2001:db8:ffff::2/64   eface, default route
 *   lan1 10.2.0.1/24 fd00:2::1/64       a second LAN       dmz0 10.9.0.1/24 fd00:9::1/64           not governed, 203.0.113.0/24 behind it
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as abi from "../../src/core/abi.generated.js";
import { NameHasher } from "../../src/core/names/hash.js";
import { addrFromBytes } from "../../src/core/net/address.js";
import { sortCidrs } from "../../src/core/policy/cidr.js";
import type { KernelCidr, KernelPolicy } from "../../src/core/policy/types.js";
import { fillTables, layOut, placeOf } from "../../src/edge/tables.js";
import { native, type BpfMap, type BpfObject, type BpfProgram } from "../../src/native/index.js";
import { encodeFlowKey, type FlowKey } from "./flowKey.js";
import { address, address16, frame, type Frame } from "./packets.js";

/**
 * Run the calling test file in a namespace of its own, which the kernel removes with the process, however that ends. Does not return
 * in the outer process. Call it before any test is defined.
 */
export function ownNamespace(url: string): void {
  if (process.env["L7EGG_TEST_NAMESPACE"] === url) return;
  const args = ["--net", "--", process.execPath, ...process.execArgv, fileURLToPath(url)];
  const run = spawnSync("unshare", args, { stdio: "inherit", env: { ...process.env, L7EGG_TEST_NAMESPACE: url } });
  process.exit(run.status ?? 1);
}

export interface Device {
  readonly ifindex: number;
  readonly mac: string;
}
export type DeviceName = "lan0" | "lan1" | "dmz0" | "wan0";
export type Router = Readonly<Record<DeviceName, Device>>;

export function makeRouter(): Router {
  const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "pipe" });
  ip("link", "set", "lo", "up");
  for (const family of ["ipv4", "ipv6"]) writeFileSync(`/proc/sys/net/${family}/conf/all/forwarding`, "1");
  const devices = {} as Record<DeviceName, Device>;
  for (const [name, v4, v6] of [
    ["lan0", "10.1.0.1/24", "fd00:1::1/64"],
    ["lan1", "10.2.0.1/24", "fd00:2::1/64"],
    ["dmz0", "10.9.0.1/24", "fd00:9::1/64"],
    ["wan0", "192.0.2.2/30", "2001:db8:ffff::2/64"],
  ] as const) {
    ip("link", "add", name, "type", "veth", "peer", "name", `${name}p`);
    ip("link", "set", `${name}p`, "up");
    ip("link", "set", name, "up");
    ip("addr", "add", v4, "dev", name);
    ip("addr", "add", v6, "dev", name, "nodad");
    // Not /sys/class/net, which shows the namespace that it was mounted in.
    const [link] = JSON.parse(String(ip("-j", "link", "show", name))) as { ifindex: number; address: string }[];
    devices[name] = { ifindex: link!.ifindex, mac: link!.address };
  }
  ip("route", "add", "default", "via", "192.0.2.1");
  ip("route", "add", "203.0.113.0/24", "via", "10.9.0.2");
  ip("-6", "route", "add", "default", "via", "2001:db8:ffff::1");
  ip("-6", "route", "add", "2001:db8:9::/48", "via", "fd00:9::2");
  return devices;
}

/** In ns. */
export const SECOND = 1_000_000_000n;

export const MARK_MASK = 0x30;
export const MARK_SHIFT = 4;
/** Mark with our bits set to a verdict. */
export const marked = (verdict: number): number => verdict << MARK_SHIFT;

export const MAC_A = "02:00:00:00:00:0a";
export const MAC_B = "02:00:00:00:00:0b";

export interface Outcome {
  readonly dropped: boolean;
  /** What the program returned. */
  readonly value: number;
  readonly mark: number;
  /** Which counters moved: packets by reason. */
  readonly counted: Readonly<Record<string, number>>;
  /** Bytes of all of them. */
  readonly bytes: number;
}

export class Datapath {
  readonly object: BpfObject;
  readonly #router: Router;
  readonly #seen = new Set<number>();
  readonly #maps = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #policies = new Map<number, KernelPolicy>();
  readonly #cidrs = new Map<string, KernelCidr>();
  #config: abi.AbiConfig = {
    markMask: MARK_MASK,
    markShift: MARK_SHIFT,
    generation: 1,
    failOpen: 0,
    eventsPerSecond: 0,
    fast: 0,
    previous: 0,
    firstRule: 1,
    flowIdleTcpNs: 3600n * SECOND,
    flowIdleOtherNs: 60n * SECOND,
    flowIdleDenyNs: 5n * SECOND,
    hashSeed: new Uint8Array(16),
  };

  constructor(router: Router, maxEntries: Readonly<Record<string, number>> = {}) {
    this.#router = router;
    this.object = native.loadObject({
      // L7EGG_BPF_OBJECT: another build of it, e.g. one that was broken on purpose to see these tests fail.
      path: process.env["L7EGG_BPF_OBJECT"] ?? fileURLToPath(new URL("../../build/l7egg.bpf.o", import.meta.url)),
      maxEntries: {
        ...{
          names4: 64,
          names6: 64,
          bindings: 64,
          flows4: 1024,
          flows6: 1024,
          cidr4: 256,
          cidr4_index: 1024,
          cidr6: 256,
          cidr6_index: 1024,
          cidr6_nodes: 256,
        },
        ...maxEntries,
      },
    });
    this.config({});
    this.put("egress", u32(router.wan0.ifindex), u32(1));
  }

  /** One handle for each, however often it is asked for. */
  map(name: string): BpfMap {
    const map = this.#maps.get(name) ?? this.object.map(name);
    this.#maps.set(name, map);
    return map;
  }

  #program(name: string): BpfProgram {
    const program = this.#programs.get(name) ?? this.object.program(name);
    this.#programs.set(name, program);
    return program;
  }

  put(map: string, key: Uint8Array, value: Uint8Array): void {
    this.map(map).put(key, value);
  }

  config(change: Partial<abi.AbiConfig>): void {
    this.#config = { ...this.#config, ...change };
    this.put("config", u32(0), abi.encodeConfig(this.#config));
  }

  /** ifindex 0 is this box. */
  governed(ifindex: number, change: Partial<abi.AbiInterface> = {}): void {
    const value = {
      policy: 1,
      clientBy: abi.ClientBy.ADDRESS,
      hasSources: 0,
      defaultGoverned: 1,
      l3: 0,
      ...change,
    };
    this.put("interfaces", u32(ifindex), abi.encodeInterface(value));
    this.#settle(ifindex);
  }

  ungoverned(ifindex: number): void {
    this.map("interfaces").delete(u32(ifindex));
    this.#settle(ifindex);
  }

  /** The programs remember an interface for one tick; the longest there is are 10 ms (100 Hz). */
  #settle(ifindex: number): void {
    if (this.#seen.has(ifindex)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 21);
    this.#seen.add(ifindex);
  }

  source(ifindex: number, network: string, length: number, policy: number): void {
    const bits = network.includes(":") ? length : 96 + length;
    const key = { prefixlen: 32 + bits, ifindex, addr: address16(network) };
    this.put("sources", abi.encodeSourceKey(key), u32(policy));
  }

  policy(id: number, verify: number, namePorts = 0, quic: KernelPolicy["quic"] = "inspect"): void {
    this.#policies.set(id, { id, verify: verifyNames[verify]!, quic, namePorts });
    this.#layOut();
  }

  noPolicy(id: number): void {
    this.#policies.delete(id);
    for (const at of [id, abi.MAX_POLICIES + id]) this.put("policies", u32(at), Buffer.alloc(abi.POLICY_SIZE));
  }

  cidr(policy: number, network: string, length: number, value: Partial<abi.AbiCidr>): void {
    const bytes = address(network);
    const full = { verdict: abi.Verdict.ALLOW, strict: 0, rule: 0, ports: 0, ...value };
    const cidr = { policy, addr: addrFromBytes(bytes, 0, bytes.length as 4 | 16), length };
    const { rule, ports } = full;
    const said = { verdict: cidrVerdicts[full.verdict]!, strict: full.strict === 1, rule, ports };
    this.#cidrs.set(`${policy} ${network}/${length}`, { ...cidr, ...said });
    this.#layOut();
  }

  /** As the gateway writes policies and CIDRs, all anew each time that a test adds one. */
  #layOut(): void {
    const tables = {
      portSets: [],
      portSetBase: 0,
      cidrs: sortCidrs([...this.#cidrs.values()]),
      policies: [...this.#policies.values()],
    };
    // In both places: tests change the generation.
    for (const generation of [1, 2])
      fillTables((name) => this.map(name), layOut(tables), placeOf(generation, undefined));
  }

  portSet(id: number, ranges: readonly abi.AbiPortRange[]): void {
    this.put("port_sets", u32(id), abi.encodePortSet({ count: ranges.length, ranges }));
  }

  name(policy: number, client: Uint8Array, addr: string, value: Partial<abi.AbiName> = {}): void {
    const bytes = address(addr);
    const full = { expiresNs: now() + 60_000_000_000n, rule: 0, ports: 0, flags: 0, ...value };
    if (bytes.length === 4)
      this.put("names4", abi.encodeName4Key({ policy, client, addr: bytes }), abi.encodeName(full));
    else this.put("names6", abi.encodeName6Key({ policy, client, addr: bytes }), abi.encodeName(full));
  }

  flow(key: FlowKey, value: Partial<abi.AbiFlow>): void {
    const at = encodeFlowKey(key);
    this.put(at.map, at.key, this.flowValue(value));
  }

  flowValue(value: Partial<abi.AbiFlow>): Buffer {
    return abi.encodeFlow({
      lastSeenNs: now(),
      packets: 0n,
      bytes: 0n,
      replyPackets: 0n,
      replyBytes: 0n,
      generation: this.#config.generation,
      rule: 0,
      judgedStart: 0,
      judgedEnd: 0,
      verdict: abi.Verdict.ALLOW,
      reason: abi.Reason.ALLOW_NAME,
      flags: abi.FLOW_FINAL,
      openedS: 0,
      next: 0,
      ...value,
    });
  }

  getFlow(key: FlowKey): abi.AbiFlow | undefined {
    const at = encodeFlowKey(key);
    const value = this.map(at.map).get(at.key);
    return value && abi.decodeFlow(value);
  }

  /** Of one map, or of both. */
  flowCount(...maps: ("flows4" | "flows6")[]): number {
    let sum = 0;
    for (const map of maps.length > 0 ? maps : ["flows4", "flows6"]) sum += this.map(map).entries().count;
    return sum;
  }

  forgetFlows(): void {
    this.clear("flows4");
    this.clear("flows6");
  }

  /** Delete every entry. */
  clear(name: string): void {
    const map = this.map(name);
    const { count, keys } = map.entries();
    const size = keys.length / Math.max(count, 1);
    for (let i = 0; i < count; i++) map.delete(keys.subarray(i * size, (i + 1) * size));
  }

  binding(policy: number, client: Uint8Array, addr: string, name: string, value: Partial<abi.AbiBinding> = {}): void {
    const nameHash = new NameHasher(this.#config.hashSeed).hash(name);
    const key = abi.encodeBindingKey({ policy, client, addr: address16(addr), nameHash });
    this.put("bindings", key, abi.encodeBinding({ expiresNs: now() + 60_000_000_000n, rule: 0, ports: 0, ...value }));
  }

  /** TC ingress of a LAN interface. `packet` starts at the network header. */
  classify(
    packet: Uint8Array,
    at: DeviceName = "lan0",
    mark = 0,
    fields: Frame = {},
    gsoSegs = 0,
    gsoSize = 0,
  ): Outcome {
    const { ifindex, mac } = this.#router[at];
    const data = frame(packet, { to: mac, from: MAC_A, ...fields });
    return this.run("classify", data, ifindex, ifindex, mark, gsoSegs, gsoSize);
  }

  /** TC egress of wan0, of a packet that came in at `from` (undefined: this box's own). */
  gate(packet: Uint8Array, from: DeviceName | undefined, mark = 0): Outcome {
    const { ifindex, mac } = this.#router.wan0;
    return this.run(
      "gate",
      frame(packet, { to: mac, from: MAC_A }),
      ifindex,
      from ? this.#router[from].ifindex : 0,
      mark,
    );
  }

  output(packet: Uint8Array): Outcome {
    return this.run("output", frame(packet), 0, 0, 0);
  }

  /** TC egress of a LAN interface (or ingress of wan0) of a packet that came in by `from`. */
  watch(packet: Uint8Array, at: DeviceName = "lan0", from: DeviceName = "wan0"): Outcome {
    const { ifindex, mac } = this.#router[at];
    return this.run("watch", frame(packet, { to: mac }), ifindex, this.#router[from].ifindex, 0);
  }

  run(
    program: string,
    data: Uint8Array,
    ifindex: number,
    ingressIfindex: number,
    mark: number,
    gsoSegs = 0,
    gsoSize = 0,
  ): Outcome {
    const before = this.counters();
    const result = this.#program(program).testRun({ data, ifindex, ingressIfindex, mark, gsoSegs, gsoSize });
    const counted: Record<string, number> = {};
    let bytes = 0;
    this.counters().forEach((after, reason) => {
      const packets = after.packets - (before[reason]?.packets ?? 0);
      if (packets === 0) return;
      counted[abi.reasonName(reason)] = packets;
      bytes += after.bytes - (before[reason]?.bytes ?? 0);
    });
    return {
      dropped: result.returnValue === TC_ACT_SHOT,
      value: result.returnValue,
      mark: result.mark,
      counted,
      bytes,
    };
  }

  counters(): { packets: number; bytes: number }[] {
    const map = this.map("counters");
    return Array.from({ length: abi.Reason.MAX }, (_, reason) => {
      const all = map.get(u32(reason)) as Buffer;
      const sum = { packets: 0, bytes: 0 };
      for (let at = 0; at < all.length; at += abi.COUNTER_SIZE) {
        const one = abi.decodeCounter(all, at);
        sum.packets += Number(one.packets);
        sum.bytes += Number(one.bytes);
      }
      return sum;
    });
  }
}

const verifyNames: Readonly<Record<number, KernelPolicy["verify"]>> = {
  [abi.Verify.DNS]: "dns",
  [abi.Verify.SNI]: "sni",
  [abi.Verify.BOTH]: "both",
};
const cidrVerdicts: Readonly<Record<number, KernelCidr["verdict"]>> = {
  [abi.Verdict.ALLOW]: "allow",
  [abi.Verdict.DENY]: "deny",
  [abi.Verdict.NONE]: "ports",
};

export const TC_ACT_SHOT = 2;
/** TC_ACT_UNSPEC = TCX_NEXT = -1. */
export const TC_ACT_UNSPEC = 0xffffffff;

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

/** CLOCK_MONOTONIC in ns. */
export function now(): bigint {
  return process.hrtime.bigint();
}

export function byAddress(text: string): Uint8Array {
  return address16(text);
}

export function byMac(ifindex: number, text: string): Uint8Array {
  return Buffer.concat([u32(ifindex), Buffer.alloc(2), Buffer.from(text.replaceAll(":", ""), "hex"), Buffer.alloc(4)]);
}

export function byInterface(ifindex: number): Uint8Array {
  return Buffer.concat([u32(ifindex), Buffer.alloc(12)]);
}
