/**
 * A TCP client without a kernel: packets go out through a raw socket, answers come in through an NFQUEUE of the client's own namespace,
 * where they end, so that the kernel's TCP never answers for a connection it doesn't know. Local ports 61000–61999 are ours.
 */
import { spawnSync } from "node:child_process";
import { Meta, META_STRIDE, native, type RawSender } from "../../../src/native/index.js";
import { Flag, fragments, ip, readTcp, tcp, udp, type ReadTcp } from "../packets.js";

const queueNumber = 77;
const firstPort = 61_000;

export interface RawOpenArgs {
  readonly local: string;
  readonly remote: string;
  readonly port: number;
  /** Payload of the SYN. */
  readonly synData?: Uint8Array;
  /** Negotiate timestamps (RFC 7323). */
  readonly timestamps?: boolean;
  /** Payload that travels with the ACK of the handshake: RFC 9293 allows that. */
  readonly ackData?: Uint8Array;
  readonly timeoutMs?: number;
}

export interface RawSegment {
  /** Offset in the client's stream; 0 is the first byte after the SYN. */
  readonly at: number;
  readonly data: Uint8Array;
  readonly ttl?: number;
  readonly badChecksum?: boolean;
  /** Default "PA". */
  readonly flags?: string;
  /** TCP options instead of the usual ones. */
  readonly options?: Uint8Array;
  /** Added to the timestamp (with `timestamps`): negative is old. */
  readonly timestampDelta?: number;
  /** Payload bytes of each IP fragment. */
  readonly fragment?: number;
  /** Send the fragments last first. */
  readonly reverse?: boolean;
  readonly urgent?: number;
  /** Wait before it, in milliseconds. */
  readonly afterMs?: number;
}

export interface RawReply {
  /** In order, without gaps. */
  readonly data: Uint8Array;
  readonly reset: boolean;
  readonly fin: boolean;
  /** How much of the client's stream the server has acknowledged. */
  readonly acked: number;
}

interface Connection {
  readonly args: RawOpenArgs;
  readonly sport: number;
  readonly isn: number;
  state: "opening" | "open" | "refused";
  /** Next byte expected from the server. */
  next: number;
  /** Highest acknowledgement from the server. */
  acked: number;
  timestamp: number;
  received: Buffer;
  fin: boolean;
  reset: boolean;
  readonly late: Map<number, Buffer>;
}

let sender: RawSender | undefined;
let nextPort = firstPort;
const connections = new Map<number, Connection>();

/** Shake hands. The connection's number, or what came instead. */
export async function rawOpen(
  args: RawOpenArgs,
): Promise<{ readonly id: number; readonly state: "open" | "refused" | "timeout" }> {
  begin();
  const connection: Connection = {
    args,
    sport: nextPort++,
    isn: Math.floor(Math.random() * 0xffff_ffff),
    state: "opening",
    next: 0,
    acked: 0,
    timestamp: 1_000_000,
    received: Buffer.alloc(0),
    fin: false,
    reset: false,
    late: new Map(),
  };
  connections.set(connection.sport, connection);
  const options = Buffer.concat([
    Buffer.from([2, 4, 5, 0xb4]),
    args.timestamps ? timestampOption(connection, 0) : Buffer.alloc(0),
  ]);
  put(connection, { seq: connection.isn, flags: "S", options, ...(args.synData ? { data: args.synData } : {}) });
  await wait(() => connection.state !== "opening", args.timeoutMs ?? 1_500);
  if (connection.state === "open") {
    const data = args.ackData ?? new Uint8Array();
    put(connection, { seq: connection.isn + 1, ack: connection.next, flags: "A", options: usual(connection, 0), data });
  }
  return { id: connection.sport, state: connection.state === "opening" ? "timeout" : connection.state };
}

/** Send these, in this order. */
export async function rawSend(args: { readonly id: number; readonly segments: readonly RawSegment[] }): Promise<void> {
  const connection = find(args.id);
  for (const segment of args.segments) {
    if (segment.afterMs) await new Promise((resolve) => setTimeout(resolve, segment.afterMs));
    put(
      connection,
      {
        seq: connection.isn + 1 + segment.at,
        ack: connection.next,
        flags: segment.flags ?? "PA",
        options: segment.options ?? usual(connection, segment.timestampDelta ?? 0),
        data: segment.data,
        ...(segment.urgent === undefined ? {} : { urgent: segment.urgent }),
        ...(segment.badChecksum ? { badChecksum: true } : {}),
      },
      segment,
    );
  }
}

/** Wait until `bytes` (default 1) have come, or a FIN, a RST, or the end of the time (default 1,000 ms). */
export async function rawReceive(args: {
  readonly id: number;
  readonly bytes?: number;
  readonly timeoutMs?: number;
}): Promise<RawReply> {
  const connection = find(args.id);
  await wait(
    () => connection.received.length >= (args.bytes ?? 1) || connection.reset || connection.fin,
    args.timeoutMs ?? 1_000,
  );
  return {
    data: connection.received,
    reset: connection.reset,
    fin: connection.fin,
    acked: connection.acked === 0 ? 0 : (connection.acked - connection.isn - 1) >>> 0,
  };
}

/** Forget it, with a RST so that the server forgets it too. */
export function rawClose(args: { readonly id: number }): void {
  const connection = find(args.id);
  if (connection.state === "open") put(connection, { seq: connection.acked, ack: connection.next, flags: "RA" });
  connections.delete(args.id);
}

/** Any IP packets, as they are. */
export function rawPackets(args: { readonly packets: readonly Uint8Array[] }): void {
  begin();
  for (const packet of args.packets) sender?.send(packet);
}

/** One UDP datagram in IP fragments; the answer goes to the kernel's socket on `sport`, if there is one. */
export function rawUdpFragments(args: {
  readonly local: string;
  readonly remote: string;
  readonly sport: number;
  readonly port: number;
  readonly data: Uint8Array;
  readonly fragment: number;
}): void {
  const datagram = udp(args.local, args.remote, args.sport, args.port, args.data);
  rawPackets({ packets: fragments(args.local, args.remote, 17, datagram, args.fragment, 4711) });
}

function begin(): void {
  if (sender) return;
  sender = native.openRawSender();
  const queue = native.openQueue({ queue: queueNumber, gso: false }, (count, meta, data) => {
    for (let i = 0; i < count; i++) {
      const at = i * META_STRIDE;
      const offset = meta[at + Meta.offset] as number;
      const packet = data.subarray(offset, offset + (meta[at + Meta.length] as number));
      queue.verdict(meta[at + Meta.id] as number, "drop");
      const segment = readTcp(packet);
      if (segment) receive(segment);
    }
  });
  for (const program of ["iptables", "ip6tables"]) {
    const rule = [
      "-w",
      "-t",
      "mangle",
      "-I",
      "INPUT",
      "-p",
      "tcp",
      "--dport",
      `${firstPort}:61999`,
      "-j",
      "NFQUEUE",
      "--queue-num",
      String(queueNumber),
    ];
    const out = spawnSync(program, rule, { encoding: "utf8" });
    if (out.status !== 0) throw new Error(`${program}: ${out.stderr}`);
  }
}

function receive(segment: ReadTcp): void {
  const connection = connections.get(segment.dport);
  if (!connection || connection.args.port !== segment.sport) return;
  if (segment.flags & Flag.rst) {
    connection.reset = true;
    if (connection.state === "opening") connection.state = "refused";
    return;
  }
  if (connection.state === "opening") {
    if (!(segment.flags & Flag.syn)) return;
    connection.next = (segment.seq + 1) >>> 0;
    connection.acked = segment.ack;
    connection.state = "open";
    return;
  }
  if (segment.flags & Flag.ack && after(segment.ack, connection.acked)) connection.acked = segment.ack;
  if (segment.data.length > 0) connection.late.set(segment.seq, segment.data);
  for (let data = connection.late.get(connection.next); data; data = connection.late.get(connection.next)) {
    connection.late.delete(connection.next);
    connection.received = Buffer.concat([connection.received, data]);
    connection.next = (connection.next + data.length) >>> 0;
  }
  if (segment.flags & Flag.fin && (segment.seq + segment.data.length) >>> 0 === connection.next) {
    connection.fin = true;
    connection.next = (connection.next + 1) >>> 0;
  }
  if (segment.data.length > 0 || segment.flags & Flag.fin) {
    put(connection, { seq: connection.acked, ack: connection.next, flags: "A", options: usual(connection, 0) });
  }
}

interface Fields {
  readonly seq: number;
  readonly ack?: number;
  readonly flags: string;
  readonly options?: Uint8Array;
  readonly data?: Uint8Array;
  readonly urgent?: number;
  readonly badChecksum?: boolean;
}

function put(connection: Connection, fields: Fields, how: Partial<RawSegment> = {}): void {
  const { local, remote, port } = connection.args;
  const segment = tcp(local, remote, { sport: connection.sport, dport: port, ...fields });
  if (how.fragment) {
    const parts = fragments(local, remote, 6, segment, how.fragment, nextPort++ & 0xffff);
    for (const part of how.reverse ? parts.reverse() : parts) sender?.send(part);
  } else {
    sender?.send(ip(local, remote, 6, segment, how.ttl === undefined ? {} : { ttl: how.ttl }));
  }
}

function usual(connection: Connection, delta: number): Buffer {
  return connection.args.timestamps ? timestampOption(connection, delta) : Buffer.alloc(0);
}

/** RFC 7323 section 3.2, after two NOPs. TSecr is left 0: Linux checks it only against what it has in flight. */
function timestampOption(connection: Connection, delta: number): Buffer {
  const option = Buffer.from([1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
  option.writeUInt32BE((connection.timestamp + delta) >>> 0, 4);
  connection.timestamp++;
  return option;
}

function after(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

function find(id: number): Connection {
  const connection = connections.get(id);
  if (!connection) throw new Error(`no raw connection ${id}`);
  return connection;
}

async function wait(ready: () => boolean, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!ready() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 2));
}
