/** Takes the protection off a client's Initial packet (RFC 9001 5.3 and 5.4). */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { put32, u32 } from "./bytes.js";
import type { QuicCode } from "./quicCodes.js";
import type { QuicPacket } from "./quicDatagram.js";
import type { InitialKeys } from "./quicKeys.js";
import { done, invalid, type Done, type Invalid } from "./result.js";

export interface OpenedInitial {
  readonly packetNumber: number;
  /** The frames: bytes of its own. */
  readonly frames: Uint8Array;
}

/**
 * `packet`: an Initial packet in `bytes`, as `readDatagram` found it. `largest`: the highest packet number that these keys have opened, or -1; it only helps to
 * find a number that was cut.
 *
 * With one key a packet opens by one packet number only: its tag is a hash, which doesn't depend on the number, combined with the number encrypted. So whatever
 * a server takes a cut number for, it reads what is read here, or nothing. But two keys can be made to open the same packet, with a different hello each: AES-GCM doesn't
 * commit to a key, and Initial keys are no secret. The keys must be those that the server will use; try all that it may, and refuse a packet that opens
 * with two.
 */
export function openInitial(
  bytes: Uint8Array,
  packet: QuicPacket,
  keys: InitialKeys,
  largest = -1,
): Done<OpenedInitial> | Invalid<QuicCode> {
  const { start, packetNumber: at, end } = packet;
  const sample = bytes.subarray(at + SAMPLE_AT, at + SAMPLE_AT + SAMPLE);
  const mask = createCipheriv("aes-128-ecb", keys.hp, null).update(sample);
  const first = bytes[start]! ^ (mask[0]! & PROTECTED_BITS);
  const size = (first & 3) + 1;

  // The header, unprotected, is what the tag covers along with the content.
  const header = Buffer.from(bytes.subarray(start, at + size));
  header[0] = first;
  let cut = 0;
  for (let i = 0; i < size; i++) {
    const byte = bytes[at + i]! ^ mask[i + 1]!;
    header[at - start + i] = byte;
    cut = cut * 256 + byte;
  }

  let packetNumber = fullNumber(cut, size, largest);
  let frames = decrypt(bytes, header, at + size, end, keys, packetNumber);
  if (!frames && packetNumber !== cut) {
    // The highest one seen may be nobody's but ours: the first packets of a client, sent again, aren't cut.
    packetNumber = cut;
    frames = decrypt(bytes, header, at + size, end, keys, packetNumber);
  }
  if (!frames) return invalid("decrypt", start);
  // RFC 9001 5.4.1: only once the packet is known to be genuine.
  if ((first & RESERVED_BITS) !== 0) return invalid("reserved-bits", start);
  return done({ packetNumber, frames });
}

const SAMPLE_AT = 4;
const SAMPLE = 16;
const TAG = 16;
/** Of a long header's first byte. */
const PROTECTED_BITS = 0x0f;
const RESERVED_BITS = 0x0c;

/** RFC 9000 A.3: of all numbers that end with these `size` bytes the one next to what is expected. */
function fullNumber(cut: number, size: number, largest: number): number {
  const window = 2 ** (8 * size);
  const expected = largest + 1;
  const near = expected - (expected % window) + cut;
  if (near <= expected - window / 2) return near + window;
  return near > expected + window / 2 && near >= window ? near - window : near;
}

/** Filled and read within one call. */
const NONCE = new Uint8Array(12);

/** undefined: the tag doesn't fit. */
function decrypt(
  bytes: Uint8Array,
  header: Uint8Array,
  start: number,
  end: number,
  keys: InitialKeys,
  packetNumber: number,
): Uint8Array | undefined {
  NONCE.set(keys.iv);
  // RFC 9001 5.3: the number, as 62 bits, XOR the end of the IV.
  put32(NONCE, 4, (u32(keys.iv, 4) ^ Math.floor(packetNumber / 2 ** 32)) >>> 0);
  put32(NONCE, 8, (u32(keys.iv, 8) ^ (packetNumber >>> 0)) >>> 0);
  const decipher = createDecipheriv("aes-128-gcm", keys.key, NONCE);
  decipher.setAAD(header);
  decipher.setAuthTag(bytes.subarray(end - TAG, end));
  const frames = decipher.update(bytes.subarray(start, end - TAG));
  try {
    decipher.final();
    return frames;
  } catch {
    return undefined;
  }
}
