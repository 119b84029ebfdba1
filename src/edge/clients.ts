/**
 * Who sent a packet, by the same rules as the kernel's (`enum l7_client_by`): the answers must be equal, or a name learned here
 * would not be found there.
 */
import { ClientBy } from "../core/abi.generated.js";
import type { ClientId } from "../core/engine/events.js";

export interface GovernedInterface {
  readonly ifindex: number;
  readonly policy: number;
  /** `ClientBy`. */
  readonly clientBy: number;
  /** No Ethernet header: packets begin with the network header. */
  readonly l3: boolean;
}

/** `hasMac`: `mac0`, `mac1` are the source address as in `Meta`. undefined: can't be told (too short, no MAC on Ethernet). */
export function clientOf(
  by: number,
  ifindex: number,
  packet: Uint8Array,
  hasMac: boolean,
  mac0: number,
  mac1: number,
): ClientId | undefined {
  if (by === ClientBy.MAC) {
    return hasMac ? clientByMac(ifindex, mac0, mac1) : undefined;
  }
  if (by === ClientBy.INTERFACE) return (le32(ifindex) + zeros12) as ClientId;
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20) return (mappedPrefix + latin1(packet, 12, 4)) as ClientId;
  if (version === 6 && packet.length >= 40) return latin1(packet, 8, 16) as ClientId;
  return undefined;
}

/** `mac0`, `mac1`: as in `Meta`. */
export function clientByMac(ifindex: number, mac0: number, mac1: number): ClientId {
  return (le32(ifindex) + "\0\0" + le32(mac0) + le16(mac1) + "\0\0\0\0") as ClientId;
}

const zeros12 = "\0".repeat(12);
const mappedPrefix = "\0".repeat(10) + "\xff\xff";

function latin1(bytes: Uint8Array, offset: number, length: number): string {
  let out = "";
  for (let i = offset; i < offset + length; i++) out += String.fromCharCode(bytes[i] as number);
  return out;
}

function le32(value: number): string {
  return String.fromCharCode(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

function le16(value: number): string {
  return String.fromCharCode(value & 0xff, (value >>> 8) & 0xff);
}
