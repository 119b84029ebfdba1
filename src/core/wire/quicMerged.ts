/**
 * Several datagrams in one packet, as the kernel hands them over when it has merged them or hasn't split them yet (GSO, GRO). All are equally long, but
 * how long isn't told: where they begin can't be known.
 *
 * It needn't be. Of every datagram that begins with a long header the kernel has seen that its version is one of these (bpf/quic.h). So if each place at which
 * one of these versions could stand behind a long header's first byte is one that `readDatagram` came to by the lengths in the packets before it, nothing with a
 * long header begins anywhere else, and behind the first short header there are only short ones.
 */
import { u32 } from "./bytes.js";
import type { QuicDatagram } from "./quicDatagram.js";
import { quicVersion } from "./quicVersions.js";

/**
 * Is there a long header in `bytes` [start, end) that isn't one of the packets of `datagram`, which was read from there? Of sixty thousand of the largest packets without one it says so
 * of one by mistake: what is encrypted looks like anything. (It is lost, and sent again.)
 */
export function hidesLongHeader(bytes: Uint8Array, start: number, end: number, datagram: QuicDatagram): boolean {
  let next = 0;
  for (let at = start; at + 5 <= end; at++) {
    while (next < datagram.count && datagram.packets[next]!.start < at) next++;
    if (bytes[at]! < 0x80 || (bytes[at + 1] !== 0 && bytes[at + 1] !== 0x6b)) continue;
    if (!quicVersion(u32(bytes, at + 1))) continue;
    if (next === datagram.count || datagram.packets[next]!.start !== at) return true;
  }
  return false;
}
