/**
 * Keys of Initial packets (RFC 9001 5.2, RFC 9369 3.3): anybody who sees the client's first packet can derive them, which is what lets its hello be read.
 */
import { createHmac } from "node:crypto";
import type { QuicVersion } from "./quicVersions.js";

export interface InitialKeys {
  /** AES-128-GCM, 16 bytes. */
  readonly key: Uint8Array;
  /** 12 bytes. */
  readonly iv: Uint8Array;
  /** Header protection, AES-128, 16 bytes. */
  readonly hp: Uint8Array;
}

export type QuicSide = "client" | "server";

/**
 * `dcid`: the destination connection id, at most 20 bytes, of the client's first Initial packet, or after a Retry of the first one that answers it; later
 * packets carry another one and keep the keys. `side`: who sends what the keys protect.
 */
export function initialKeys(version: QuicVersion, dcid: Uint8Array, side: QuicSide = "client"): InitialKeys {
  // HKDF-Extract is one HMAC, and so is HKDF-Expand of up to 32 bytes (RFC 5869 2.2 and 2.3).
  const secret = hmac(hmac(version.salt, dcid), SIDES[side]);
  const { key, iv, hp } = LABELS.get(version) ?? addLabels(version);
  return { key: expand(secret, key, 16), iv: expand(secret, iv, 12), hp: expand(secret, hp, 16) };
}

function hmac(key: Uint8Array, message: Uint8Array): Buffer {
  return createHmac("sha256", key).update(message).digest();
}

function expand(secret: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  return hmac(secret, info).subarray(0, length);
}

/** HkdfLabel (RFC 8446 7.1) with an empty context, and the counter of HKDF-Expand's only block behind it. */
function hkdfInfo(label: string, length: number): Uint8Array {
  const full = `tls13 ${label}`;
  return Buffer.from(`\0${String.fromCharCode(length, full.length)}${full}\0\x01`, "latin1");
}

const SIDES: Readonly<Record<QuicSide, Uint8Array>> = {
  client: hkdfInfo("client in", 32),
  server: hkdfInfo("server in", 32),
};

/** Infos of HKDF-Expand. */
interface Labels {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  readonly hp: Uint8Array;
}

/** One entry for each of the two versions. */
const LABELS = new Map<QuicVersion, Labels>();

function addLabels(version: QuicVersion): Labels {
  const { label } = version;
  const labels = {
    key: hkdfInfo(`${label}key`, 16),
    iv: hkdfInfo(`${label}iv`, 12),
    hp: hkdfInfo(`${label}hp`, 16),
  };
  LABELS.set(version, labels);
  return labels;
}
