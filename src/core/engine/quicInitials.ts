/**
 * Opening a client's Initials. Their keys come from a connection id that isn't always in the packet, they are no secret, and AES-GCM doesn't commit to
 * one key: a packet can be made that opens under two, with another hello each. So it is tried with every key that a server may take, and whoever
 * judges it looks at all that came out.
 */
import type { QuicDatagram, QuicPacket } from "../wire/quicDatagram.js";
import { initialKeys, type InitialKeys } from "../wire/quicKeys.js";
import { openInitial } from "../wire/quicOpen.js";
import { quicVersion } from "../wire/quicVersions.js";

/** Keys of the connection that the Initial with this destination connection id begins, of the versions that came. */
export class ConnectionKeys {
  /** Latin-1. */
  readonly dcid: string;
  readonly #bytes: Uint8Array;
  /** By version: a client may change it after the server's answer and keep the connection id (RFC 9369 4.1). */
  readonly #versions = new Map<number, { readonly keys: InitialKeys; largest: number }>();

  constructor(dcid: string) {
    this.dcid = dcid;
    this.#bytes = Uint8Array.from(dcid, (char) => char.charCodeAt(0));
  }

  /** The frames; "decrypt": it isn't of this connection; "reserved": it is, and its server refuses it. */
  open(bytes: Uint8Array, packet: QuicPacket): Uint8Array | "decrypt" | "reserved" {
    let known = this.#versions.get(packet.version);
    if (!known) {
      known = { keys: initialKeys(quicVersion(packet.version)!, this.#bytes), largest: -1 };
      this.#versions.set(packet.version, known);
    }
    const opened = openInitial(bytes, packet, known.keys, known.largest);
    if (opened.kind === "invalid") return opened.code === "decrypt" ? "decrypt" : "reserved";
    known.largest = Math.max(known.largest, opened.value.packetNumber);
    return opened.value.frames;
  }
}

/** One reading of one Initial. */
export interface InitialReading {
  /** Of a connection that is known, or of the one that this packet begins. */
  readonly keys: ConnectionKeys;
  readonly frames: Uint8Array;
}

/**
 * Every reading of every Initial of a datagram, at least one of each. A string: why there is an Initial without one that a server and this box must agree
 * on. Up to `known.length` + 1 trials a packet.
 */
export function openInitials(
  bytes: Uint8Array,
  { packets, count }: QuicDatagram,
  known: readonly ConnectionKeys[],
): InitialReading[] | string {
  const out: InitialReading[] = [];
  /** A connection that an Initial before this one in the same datagram begins. */
  let begun: ConnectionKeys | undefined;
  for (let i = 0; i < count; i++) {
    const packet = packets[i]!;
    if (packet.type !== "initial") continue;
    const before = out.length;
    const own = dcidOf(bytes, packet);
    if (begun?.dcid !== own) begun = undefined;
    const all = known.some((one) => one.dcid === own) ? known : [...known, (begun ??= new ConnectionKeys(own))];
    for (const keys of all) {
      const frames = keys.open(bytes, packet);
      if (frames === "reserved") return "Initial with reserved bits";
      if (frames !== "decrypt") out.push({ keys, frames });
    }
    if (out.length === before) return "Initial that opens under no known key";
  }
  return out;
}

function dcidOf(bytes: Uint8Array, packet: QuicPacket): string {
  let text = "";
  for (let i = packet.dcidStart; i < packet.dcidEnd; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}
