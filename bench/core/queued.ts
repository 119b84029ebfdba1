/** Packets as the addon hands them over: their bytes in the queue's memory, a slice of `meta` for each. The same 1,024 connections come again and again. */
import { ClientBy } from "../../src/core/abi.generated.js";
import type { GovernedInterface } from "../../src/edge/clients.js";
import { META_STRIDE, Meta } from "../../src/native/types.js";
import { tcp, udp } from "../../test/packets.js";
import { flight, quicHello } from "../../test/quic.js";
import { allowedName, client, dnsMessage, opensslHello, resolver } from "./inputs.js";

/** Connections, a source port each; a power of two. */
export const FLOWS = 1024;
/** Of the first byte: more than 31 bits, as every other connection has. V8 has no such integers, so they cost most. */
export const FIRST_SEQ = 3_000_000_001;
export const server = "198.51.100.7";

const FIRST_PORT = 20_000;
const LAN = 2;
const WAN = 3;

export const interfaces: ReadonlyMap<number, GovernedInterface> = new Map([
  [LAN, { ifindex: LAN, policy: 1, clientBy: ClientBy.MAC, l3: false }],
]);

/** Of a packet in the queue's memory. */
const SLOT = 2_048;
/** Packets of one batch, at most. */
const SLOTS = 16;
export const memory = Buffer.alloc(SLOTS * SLOT);

export interface Queued {
  readonly meta: Uint32Array;
  readonly bytes: Uint8Array;
}

/** The packet comes as number `slot` of its batch: its bytes into the memory, its `meta` into the batch's. */
export function deliver({ meta, bytes }: Queued, slot: number, batch: Uint32Array, id: number): void {
  memory.set(bytes, slot * SLOT);
  const at = slot * META_STRIDE;
  for (let i = 0; i < META_STRIDE; i++) batch[at + i] = meta[i]!;
  batch[at + Meta.id] = id;
  batch[at + Meta.offset] = slot * SLOT;
}

/** The hello of connection `i` in so many packets. */
export function connection(i: number, segments: 1 | 2): Queued[] {
  const ends = { src: client, dst: server };
  const hello = opensslHello(allowedName);
  const cut = segments === 1 ? hello.length : 100;
  const parts = [hello.subarray(0, cut), hello.subarray(cut)].filter((part) => part.length > 0);
  let seq = FIRST_SEQ;
  const packets: Queued[] = [];
  for (const part of parts) {
    packets.push(fromClient(tcp(ends, { sport: FIRST_PORT + i, seq, flags: "PA" }, part)));
    seq += part.length;
  }
  return packets;
}

/** The Initial of QUIC connection `i`. */
export function initial(i: number): Queued {
  const dcid = Buffer.alloc(8);
  dcid.writeUInt32BE(i, 4);
  const [datagram] = flight(quicHello({ name: allowedName }), { dcid });
  return fromClient(udp({ src: client, dst: server }, { sport: FIRST_PORT + i, dport: 443 }, datagram!));
}

export function query(): Queued {
  return fromClient(udp({ src: client, dst: resolver }, { sport: 40_000, dport: 53 }, dnsMessage(allowedName, 7)));
}

export function answer(): Queued {
  const message = dnsMessage(allowedName, 7, [server]);
  return queued(udp({ src: resolver, dst: client }, { sport: 53, dport: 40_000 }, message), WAN, LAN);
}

function fromClient(bytes: Uint8Array): Queued {
  return queued(bytes, LAN, WAN);
}

function queued(bytes: Uint8Array, ifindexIn: number, ifindexOut: number): Queued {
  const meta = new Uint32Array(META_STRIDE);
  meta[Meta.hook] = 2;
  meta[Meta.mark] = ifindexIn === LAN ? 0x10 : 0;
  meta[Meta.ifindexIn] = ifindexIn;
  meta[Meta.ifindexOut] = ifindexOut;
  meta[Meta.length] = meta[Meta.wireLength] = bytes.length;
  meta[Meta.flags] = 8; // the hardware address is there
  meta[Meta.mac0] = 0x12005452;
  meta[Meta.mac1] = 0x5634;
  if (bytes.length > SLOT) throw new RangeError(`a packet of ${bytes.length} bytes`);
  return { meta, bytes };
}
