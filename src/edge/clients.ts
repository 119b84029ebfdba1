/**
 * Who sent a packet, by the same rules as the kernel's (`enum l7_client_by`): the answers must be equal, or a name learned here
 * would not be found there.
 */
import { ClientBy } from "../core/abi.generated.js";
import type { ClientId } from "../core/engine/events.js";
import { addrFromBytes } from "../core/net/address.js";

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
  if (by === ClientBy.MAC) return hasMac ? clientByMac(ifindex, mac0, mac1) : undefined;
  if (by === ClientBy.INTERFACE) return recent(ifindex, 0, INTERFACE_KIND);
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20) return recent(addressWord(packet), 0, ADDRESS_KIND);
  if (version === 6 && packet.length >= 40) return addrFromBytes(packet, 8, 16) as string as ClientId;
  return undefined;
}

/** `mac0`, `mac1`: as in `Meta`. */
export function clientByMac(ifindex: number, mac0: number, mac1: number): ClientId {
  return recent(ifindex, mac0, mac1 & 0xffff);
}

/** In place of a MAC's last two bytes, for clients without one. */
const INTERFACE_KIND = 0x10000;
const ADDRESS_KIND = 0x20000;

/**
 * Clients whose packets came lately, one place for each hash: the same string again costs six concatenations less, and nobody has to hash it anew where
 * it is a key. The zeros at the start are true: interface 0 and a MAC of zeros are a client of zeros.
 */
const RECENT = 256;
const words = new Uint32Array(RECENT * 3);
const clients: ClientId[] = Array<ClientId>(RECENT).fill("\0".repeat(16) as ClientId);

/** By what tells them apart, in three words: `interface, MAC`, `interface, 0, INTERFACE_KIND` or `address, 0, ADDRESS_KIND`. */
function recent(first: number, second: number, third: number): ClientId {
  const place = Math.imul(Math.imul(Math.imul(first, 31) + second, 31) + third, 0x9e3779b1) >>> 24;
  const at = place * 3;
  // Words as they lie there: unsigned.
  if (words[at] === first >>> 0 && words[at + 1] === second >>> 0 && words[at + 2] === third) return clients[place]!;
  words[at] = first;
  words[at + 1] = second;
  words[at + 2] = third;
  return (clients[place] = clientText(first, second, third));
}

function clientText(first: number, second: number, third: number): ClientId {
  if (third === INTERFACE_KIND) return (le32(first) + zeros12) as ClientId;
  if (third === ADDRESS_KIND) return (mappedPrefix + be32(first)) as ClientId;
  return (le32(first) + "\0\0" + le32(second) + le16(third) + "\0\0\0\0") as ClientId;
}

const zeros12 = "\0".repeat(12);
const mappedPrefix = "\0".repeat(10) + "\xff\xff";

/** Source address of an IPv4 header. */
function addressWord(packet: Uint8Array): number {
  return (packet[12]! << 24) | (packet[13]! << 16) | (packet[14]! << 8) | packet[15]!;
}

function be32(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

function le32(value: number): string {
  return String.fromCharCode(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

function le16(value: number): string {
  return String.fromCharCode(value & 0xff, (value >>> 8) & 0xff);
}
