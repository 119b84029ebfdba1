/**
 * The eBPF side: loads the object, fills its maps aside, and puts both in place of what an earlier run of this instance left, so that
 * there is no moment in which governed traffic passes unjudged:
 *
 * 1. `Datapath.prepare`: new maps and programs, attached to nothing. Only `flows4` and `flows6` are taken over (if their shape is the same), so
 *    that connections survive a restart; the generation is kept if the policy is the same, else bumped, so that all of them are judged anew.
 * 2. The caller writes the restored names, binds the queues, calls `pin`, sets the rules.
 * 3. `attach`: each pinned link gets its new program in one step.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  ABI_VERSION,
  COUNTER_SIZE,
  Reason,
  decodeCounter,
  encodeConfig,
  encodeInterface,
  encodeSwitch,
} from "../core/abi.generated.js";
import type { KernelTables } from "../core/policy/types.js";
import type { BpfMap, BpfObject, BpfProgram, Native } from "../native/types.js";
import type { AttachMode, Attachment } from "./attachments.js";
import { Attachments } from "./attachments.js";
import { makePinDir, mountBpffs, pinOver, removePin, writeWord } from "./bpffs.js";
import type { GovernedInterface } from "./clients.js";
import { toNs } from "./clock.js";
import type { FailMode, MarkBits, Sizes } from "./options.js";
import type { InstancePaths } from "./paths.js";
import { objectPath } from "./paths.js";
import { flowRoom, readPrevious } from "./previousRun.js";
import { fillTables, layOut, mapArrays, placeOf, roomFor, u32, type Layout, type Place } from "./tables.js";

export interface DatapathConfig {
  readonly instance: string;
  readonly paths: InstancePaths;
  readonly sizes: Sizes;
  readonly mark: MarkBits;
  readonly failMode: FailMode;
  readonly tables: KernelTables;
  /** There is room for a second version of the tables beside the first: `prepareChange`. Default false. */
  readonly changeable?: boolean;
  /** Number of the policy's first rule. */
  readonly firstRule: number;
  /** Same text = same policy: cached verdicts stay good. */
  readonly policyHash: string;
  readonly interfaces: Iterable<GovernedInterface>;
  /** Governed ways out. */
  readonly egress: Iterable<number>;
  /** Pin the OUTPUT classifier (own egress). */
  readonly own: boolean;
  readonly attachMode: AttachMode;
  /** Default: the built object. */
  readonly object?: string;
}

export interface Counter {
  readonly packets: number;
  readonly bytes: number;
}

/** Seconds without a packet after which a cached flow is judged anew. */
export const flowIdle = {
  /** RFC 5382 REQ-5: an established TCP connection may be silent for 2 hours and 4 minutes. */
  tcp: 7440,
  /** RFC 4787 REQ-5: 5 minutes recommended for UDP. */
  other: 300,
  /** Short: the client may learn the address meanwhile. */
  deny: 5,
} as const;

/** Events that each CPU may report in a second; more are counted as events-lost. */
export const eventsPerSecond = 1000;

const mapNames = [
  "config", "interfaces", "egress", "sources", "policies", "cidr4_index", "cidr4", "cidr6_nodes", "cidr6_index", "cidr6",
  "port_sets", "names4", "names6", "bindings", "questions", "asked", "flows4", "flows6", "counters", "events",
] as const; // prettier-ignore
export type MapName = (typeof mapNames)[number];

export class Datapath {
  readonly #config: DatapathConfig;
  readonly #object: BpfObject;
  /** Socket filters that iptables rules call; `past` and `answer` in LAN mode, `output` for own egress. */
  readonly #output: BpfProgram | undefined;
  readonly #past: BpfProgram | undefined;
  readonly #answer: BpfProgram | undefined;
  /** `read_flows`, for `KernelFlows`. */
  readonly flowReader: BpfProgram;
  readonly maps: Readonly<Record<MapName, BpfMap>>;
  readonly attachments: Attachments;
  #generation: number;
  /** `l7_config.previous` */
  #previous: number;
  /** The highest that was ever given, also to a change that failed. */
  #given: number;
  #givenBefore = 0;
  /** Of each half of the tables; undefined: there is but one. */
  readonly #room: Layout["maxEntries"] | undefined;
  #policyHash: string;
  #firstRule: number;
  readonly #switch: BpfProgram;
  /** `carry_flows`, for a change of the policy. */
  readonly flowCarrier: BpfProgram;
  readonly hashSeed: Uint8Array;
  /** The flows of an earlier run were taken over. */
  readonly adoptedFlows: boolean;
  #fast: boolean;

  /** Nothing is attached or pinned yet. Errors: `SystemError` of the addon, with the verifier's log. */
  static prepare(native: Native, config: DatapathConfig): Datapath {
    mountBpffs(config.paths.pins);
    makePinDir(config.paths.maps);
    return new Datapath(native, config);
  }

  private constructor(native: Native, config: DatapathConfig) {
    this.#config = config;
    const { sizes } = config;
    const before = readPrevious(native, config.paths, sizes.flows);
    const isSame = before?.policy === config.policyHash;
    this.#generation = before ? (isSame ? before.generation : (before.generation + 1) >>> 0) : 1;
    this.#previous = before && isSame ? before.before : 0;
    this.#given = this.#givenBefore = this.#generation;
    this.#policyHash = config.policyHash;
    this.#firstRule = config.firstRule;
    this.hashSeed = before?.hashSeed ?? randomBytes(16);
    this.adoptedFlows = before?.flows !== undefined;
    // Adopted flows that skip netfilter go on doing so until somebody has looked.
    this.#fast = before?.flows !== undefined && before.fast;
    const layout = layOut(config.tables);
    const room = roomFor(sizes.cidrs);
    this.#room = config.changeable
      ? mapArrays(layout.maxEntries, (entries, name) => Math.max(entries, room[name]))
      : undefined;
    const object = native.loadObject({
      path: config.object ?? objectPath,
      maxEntries: {
        ...(this.#room ? mapArrays(this.#room, (entries) => 2 * entries) : layout.maxEntries),
        names4: sizes.names,
        names6: sizes.names,
        bindings: sizes.names,
        ...flowRoom(sizes.flows),
      },
      ...(before?.flows ? { reuse: { ...before.flows } } : {}),
    });
    this.#object = object;
    this.maps = Object.fromEntries(mapNames.map((name) => [name, object.map(name)])) as Record<MapName, BpfMap>;
    this.flowReader = object.program("read_flows");
    this.flowCarrier = object.program("carry_flows");
    this.#switch = object.program("switch_policy");
    this.#output = config.own ? object.program("output") : undefined;
    this.#past = config.own ? undefined : object.program("past");
    this.#answer = config.own ? undefined : object.program("answer");
    const programs = {
      classify: object.program("classify"),
      watch: object.program("watch"),
      back: object.program("back"),
      gate: object.program("gate"),
    };
    this.attachments = new Attachments(native, config.instance, config.paths.links, programs, config.attachMode);
    this.#fill(layout);
  }

  /** The new maps (and the OUTPUT classifier) take the places of the old ones' pins. */
  pin(): void {
    const { paths } = this.#config;
    // Until `attach` is through, nobody knows by which policy the adopted flows were judged.
    removePin(paths.policy);
    for (const name of mapNames) pinOver(this.maps[name], join(paths.maps, name));
    for (const [program, path] of [
      [this.#output, paths.output],
      [this.#past, paths.past],
      [this.#answer, paths.answer],
    ] as const) {
      if (program) pinOver(program, path);
      else removePin(path);
    }
    writeWord(paths.abi, String(ABI_VERSION));
  }

  attach(wanted: readonly Attachment[]): void {
    this.attachments.adopt(wanted);
    for (const ifindex of this.#config.egress) this.setEgress(ifindex);
    writeWord(this.#config.paths.policy, this.#policyHash);
  }

  /** What counts now: a cached flow of another one is a miss. */
  get generation(): number {
    return this.#generation;
  }

  /** `l7_config.previous` */
  get previous(): number {
    return this.#previous;
  }

  /** The number of the next version of the policy, and where its tables go. Each call gives another one: what an attempt that failed left must not count. */
  nextVersion(): { readonly generation: number; readonly place: Place } {
    let next = this.#given + 1;
    // The other half of the tables; and 0 in the low byte says that a flow was not carried (`l7_flow.next`).
    while ((next & 1) === (this.#generation & 1) || (next & 0xff) === 0) next++;
    // A mark is one byte: it must not mean two attempts.
    if (next - this.#generation > 0xff)
      throw new Error("too many changes of the policy have failed one after the other: restart the gateway");
    this.#givenBefore = this.#given;
    this.#given = next;
    return { generation: next, place: placeOf(next, this.#room) };
  }

  /** No flow was marked with the number that was given last. */
  takeBack(): void {
    this.#given = this.#givenBefore;
  }

  /** Entries that each half of the tables has; undefined: the policy can't be changed. */
  get room(): Layout["maxEntries"] | undefined {
    return this.#room;
  }

  /** The tables of `generation` are written; from now on they count. One write, that a packet sees or doesn't. */
  switchTo(generation: number, policyHash: string, firstRule: number): void {
    const { policy } = this.#config.paths;
    // A crash in between: nobody knows by which policy the flows were judged, so the next start judges them anew.
    removePin(policy);
    const previous = this.#generation;
    if (this.#switch.run(encodeSwitch({ previous, generation, firstRule })) !== 0)
      throw new Error("the kernel has no configuration");
    this.#previous = previous;
    this.#generation = generation;
    this.#policyHash = policyHash;
    this.#firstRule = firstRule;
    try {
      writeWord(policy, policyHash);
    } catch {
      // It is in force all the same: to report a failure would leave half of the gateway with the old one. The next start judges the flows anew.
    }
  }

  setInterface(one: GovernedInterface): void {
    const value = encodeInterface({
      policy: one.policy,
      clientBy: one.clientBy,
      hasSources: 0,
      defaultGoverned: 1,
      l3: one.l3 ? 1 : 0,
    });
    this.maps.interfaces.put(u32(one.ifindex), value);
  }

  /** Forwarded flows skip netfilter. */
  get fast(): boolean {
    return this.#fast;
  }

  setFast(fast: boolean): void {
    if (fast === this.#fast) return;
    this.#fast = fast;
    this.#putConfig();
  }

  removeInterface(ifindex: number): void {
    this.maps.interfaces.delete(u32(ifindex));
  }

  setEgress(ifindex: number): void {
    this.maps.egress.put(u32(ifindex), u32(1));
  }

  removeEgress(ifindex: number): void {
    this.maps.egress.delete(u32(ifindex));
  }

  /** By reason, summed over the CPUs; reasons that never happened are left out. */
  counters(): Map<number, Counter> {
    const { keys, values, count } = this.maps.counters.entries();
    const stride = values.length / Math.max(count, 1);
    const out = new Map<number, Counter>();
    for (let i = 0; i < count; i++) {
      let packets = 0n;
      let bytes = 0n;
      for (let at = i * stride; at < (i + 1) * stride; at += COUNTER_SIZE) {
        const one = decodeCounter(values, at);
        packets += one.packets;
        bytes += one.bytes;
      }
      if (packets > 0n) out.set(keys.readUInt32LE(i * 4), { packets: Number(packets), bytes: Number(bytes) });
    }
    return out;
  }

  /** Programs and maps live on where they are pinned or attached. */
  close(): void {
    this.#object.close();
  }

  #putConfig(): void {
    const { mark, failMode } = this.#config;
    this.maps.config.put(
      u32(0),
      encodeConfig({
        markMask: mark.mask,
        markShift: mark.shift,
        generation: this.#generation,
        previous: this.#previous,
        firstRule: this.#firstRule,
        failOpen: failMode === "open" ? 1 : 0,
        eventsPerSecond,
        fast: this.#fast ? 1 : 0,
        flowIdleTcpNs: toNs(flowIdle.tcp * 1000),
        flowIdleOtherNs: toNs(flowIdle.other * 1000),
        flowIdleDenyNs: toNs(flowIdle.deny * 1000),
        hashSeed: this.hashSeed,
      }),
    );
  }

  #fill(layout: Layout): void {
    const { interfaces, egress, own } = this.#config;
    this.#putConfig();
    fillTables((name) => this.maps[name], layout, placeOf(this.#generation, this.#room));
    for (const one of interfaces) this.setInterface(one);
    // To `output` a device in `egress` has its gate, so own egress has it there only once it is attached: the rules come before the gate, and a device
    // made anew after a kill -9 would be open in between. To `classify` it is a way out, which it must know before it is attached itself.
    if (!own) for (const ifindex of egress) this.setEgress(ifindex);
  }
}

/** The reasons of the counters map that a person may see, in the order of their numbers. */
export const allReasons = Object.values(Reason).filter((code) => code !== Reason.MAX);
