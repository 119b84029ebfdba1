/** Keys of both flow maps, from one description. */
import { encodeFlow4Key, encodeFlow6Key } from "../../src/core/abi.generated.js";

export interface FlowKey {
  readonly policy: number;
  /** 16 bytes, IPv4 as ::ffff:a.b.c.d. */
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly proto: number;
  readonly sport: number;
  readonly dport: number;
}

const mapped = Buffer.from("00000000000000000000ffff", "hex");

/** Which map it is in, and its key there. */
export function encodeFlowKey(key: FlowKey): { readonly map: "flows4" | "flows6"; readonly key: Buffer } {
  if (!mapped.equals(key.src.subarray(0, 12))) return { map: "flows6", key: encodeFlow6Key(key) };
  const last = (address: Uint8Array) => Buffer.from(address).readUInt32BE(12);
  return { map: "flows4", key: encodeFlow4Key({ ...key, src: last(key.src), dst: last(key.dst) }) };
}
