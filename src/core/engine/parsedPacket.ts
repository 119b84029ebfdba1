/** The packet at hand, in objects that each packet fills anew; and a copy of one, for who must keep it. */
import type { Policy } from "../policy/types.js";
import type { IpPacket } from "../wire/ip.js";
import type { TcpSegment } from "../wire/tcp.js";
import type { Writable } from "../writable.js";
import type { ClientId, PacketEvent, PacketId } from "./events.js";
import type { TcpPacket } from "./flowState.js";
import type { ClientPacket } from "./voice.js";

const NO_BYTES = new Uint8Array(0);
/** Stands where no packet has come yet. */
export const NO_POLICY = {} as Policy;

/** `Tcp`: TcpSegment for a TCP packet, undefined for any other. */
export class ParsedPacket<Tcp extends TcpSegment | undefined> implements ClientPacket {
  id = 0 as PacketId;
  bytes: Uint8Array = NO_BYTES;
  client = "" as ClientId;
  policy = NO_POLICY;
  sport = 0;
  dport = 0;
  toThisBox = false;
  ifindexOut = 0;

  /** `ip`, `tcp`: who fills the packet fills them, too. */
  constructor(
    readonly ip: Writable<IpPacket>,
    readonly tcp: Tcp,
  ) {}

  /** All but what its headers say. */
  begin(event: PacketEvent, policy: Policy, client: ClientId): void {
    this.id = event.id;
    this.bytes = event.bytes;
    this.client = client;
    this.policy = policy;
    this.sport = this.dport = 0;
    this.toThisBox = event.hook === "input";
    this.ifindexOut = event.ifindexOut;
  }

  /** ICMP echo: the identifier in both. */
  setPorts(sport: number, dport: number): this {
    this.sport = sport;
    this.dport = dport;
    return this;
  }
}

/** All of `packet` but its bytes, in which `bytes` stand. */
export function copyPacket(packet: TcpPacket, bytes: Uint8Array, to: ParsedPacket<Writable<TcpSegment>>): void {
  to.id = packet.id;
  to.bytes = bytes;
  to.client = packet.client;
  to.policy = packet.policy;
  to.sport = packet.sport;
  to.dport = packet.dport;
  to.toThisBox = packet.toThisBox;
  to.ifindexOut = packet.ifindexOut;
  copyIp(packet.ip, to.ip);
  copyTcp(packet.tcp, to.tcp);
}

// Field by field: this is done for most hellos that come in pieces, and Object.assign takes several times as long.
function copyIp(from: IpPacket, to: Writable<IpPacket>): void {
  to.family = from.family;
  to.src = from.src;
  to.dst = from.dst;
  to.proto = from.proto;
  to.payloadOffset = from.payloadOffset;
  to.payloadEnd = from.payloadEnd;
  to.fragment = from.fragment;
  to.ttl = from.ttl;
  to.cut = from.cut;
}

function copyTcp(from: TcpSegment, to: Writable<TcpSegment>): void {
  to.sport = from.sport;
  to.dport = from.dport;
  to.seq = from.seq;
  to.ack = from.ack;
  to.flags = from.flags;
  to.window = from.window;
  to.payloadOffset = from.payloadOffset;
  to.payloadEnd = from.payloadEnd;
  to.urgent = from.urgent;
  to.md5 = from.md5;
}
