/** Ethernet frames for BPF_PROG_TEST_RUN. Nobody checks a checksum on the paths that are measured. */
import { addrToBytes, type Addr } from "../../src/core/net/address.js";

export const TCP = { syn: 0x02, push: 0x08, ack: 0x10 } as const;

export interface Segment {
  /** MAC addresses, six bytes: the interface that it comes in by (else it isn't for this box), and the client. */
  readonly to: Buffer;
  readonly from: Buffer;
  readonly src: Addr;
  readonly dst: Addr;
  readonly sport: number;
  /** Default 443. */
  readonly dport?: number;
  readonly flags: number;
  readonly seq?: number;
  readonly payload?: Uint8Array;
}

/** TCP over IPv4 or IPv6, as long as its addresses. */
export function frame(segment: Segment): Buffer {
  const { to, from, src, dst, sport, dport = 443, flags, seq = 1_000, payload = Buffer.alloc(0) } = segment;
  const v4 = dst.length === 4;
  const ip = Buffer.alloc(v4 ? 20 : 40);
  const length = 20 + payload.length;
  if (v4) {
    ip.writeUInt16BE(0x4500, 0);
    ip.writeUInt16BE(20 + length, 2);
    ip.writeUInt16BE(0x4006, 8); // time to live, TCP
  } else {
    ip.writeUInt16BE(0x6000, 0);
    ip.writeUInt16BE(length, 4);
    ip.writeUInt16BE(0x0640, 6); // TCP, hop limit
  }
  ip.set(addrToBytes(src), v4 ? 12 : 8);
  ip.set(addrToBytes(dst), v4 ? 16 : 24);
  const tcp = Buffer.alloc(20);
  tcp.writeUInt16BE(sport, 0);
  tcp.writeUInt16BE(dport, 2);
  tcp.writeUInt32BE(seq, 4);
  tcp.writeUInt16BE(0x5000 | flags, 12);
  tcp.writeUInt16BE(65_000, 14);
  const type = Buffer.from(v4 ? [0x08, 0x00] : [0x86, 0xdd]);
  return Buffer.concat([to, from, type, ip, tcp, payload]);
}
