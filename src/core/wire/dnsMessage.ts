/**
 * What a DNS message is, once it is read.
 */
import type { Addr } from "../net/address.js";

export const DnsType = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  AAAA: 28,
  DNAME: 39,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
} as const;

export interface DnsQuestion {
  /** Normal form; "" for the root. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface DnsRecord {
  readonly section: "answer" | "authority" | "additional";
  /** Normal form of the owner. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Seconds; 0 if the top bit is set (RFC 2181 8). */
  readonly ttl: number;
  /** Of A and AAAA in class IN. */
  readonly address?: Addr | undefined;
  /** Of CNAME and DNAME in class IN; normal form. */
  readonly target?: string | undefined;
  /** Of the RDATA, in `bytes`. */
  readonly dataOffset: number;
  readonly dataLength: number;
}

export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  /** With the upper bits from the OPT record, if there is one. */
  readonly rcode: number;
  readonly questions: readonly DnsQuestion[];
  /** All sections in order, the OPT record included. */
  readonly records: readonly DnsRecord[];
  readonly edns: boolean;
  /** The DO bit (RFC 3225). */
  readonly dnssecOk: boolean;
  /** The first question as it stood (name, type, class), for the 0x20 comparison. A copy. Empty without a question. */
  readonly questionBytes: Uint8Array;
}
