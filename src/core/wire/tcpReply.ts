/** A TCP segment that answers another one with a payload and closes: for protocols whose denial is a message of their own. */
import { put16, put32 } from "./bytes.js";
import { addrToBytes } from "../net/address.js";
import { checksumOf, pseudoHeaderSum, sum } from "./checksum.js";
import { IpProto, type IpPacket } from "./ip.js";
import { TcpFlag, type TcpSegment } from "./tcp.js";

/**
 * `payload` from the segment's destination back to its source, acknowledging all of the segment, with FIN: the sender reads the payload, then the end.
 * Header without options; checksums complete.
 */
export function tcpReplyFor(ip: IpPacket, tcp: TcpSegment, payload: Uint8Array): Uint8Array {
  const header = ip.family === 4 ? 20 : 40;
  const length = 20 + payload.length;
  const out = new Uint8Array(header + length);
  if (ip.family === 4) {
    out[0] = 0x45;
    put16(out, 2, out.length);
    out[6] = 0x40; // don't fragment
    out[8] = 64;
    out[9] = IpProto.TCP;
    out.set(addrToBytes(ip.dst), 12);
    out.set(addrToBytes(ip.src), 16);
    put16(out, 10, checksumOf(sum(out, 0, 20, 0)));
  } else {
    out[0] = 0x60;
    put16(out, 4, length);
    out[6] = IpProto.TCP;
    out[7] = 64;
    out.set(addrToBytes(ip.dst), 8);
    out.set(addrToBytes(ip.src), 24);
  }
  put16(out, header, tcp.dport);
  put16(out, header + 2, tcp.sport);
  put32(out, header + 4, tcp.ack);
  put32(out, header + 8, (tcp.seq + tcp.payloadEnd - tcp.payloadOffset) >>> 0);
  out[header + 12] = 5 << 4;
  out[header + 13] = TcpFlag.ACK | TcpFlag.PSH | TcpFlag.FIN;
  put16(out, header + 14, 65_535);
  out.set(payload, header + 20);
  const pseudo = pseudoHeaderSum(ip.dst, ip.src, IpProto.TCP, length);
  put16(out, header + 16, checksumOf(sum(out, header, out.length, pseudo)));
  return out;
}
