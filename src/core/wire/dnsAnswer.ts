/**
 * What an answer says of the name that was asked for, and the answer that a denied question gets.
 */
import type { Addr } from "../net/address.js";
import { put16 } from "./bytes.js";
import { DnsType, type DnsMessage, type DnsRecord } from "./dnsMessage.js";

export interface ResolvedAddress {
  readonly address: Addr;
  /** Seconds: the least of the address record and all CNAME records that led to it. */
  readonly ttl: number;
  /** Names from the question (first) to the owner of the address (last). */
  readonly chain: string[];
}

export interface ResolvedChain {
  /** The name that was asked for; "" if the message doesn't have exactly one question in class IN. */
  readonly name: string;
  /** In the order of the answer; the same address twice only if it stands there twice. */
  readonly addresses: ResolvedAddress[];
  /**
   * A, AAAA, CNAME and DNAME records of the answer section that the question doesn't lead to. The other sections are never
   * learned from and not listed: glue stands there by right.
   */
  readonly offChain: DnsRecord[];
}

/**
 * Follow the answer's own CNAME records, in whatever order they stand, from the question; at most 16 (loops end earlier). A name with two
 * different CNAMEs leads nowhere: which of them a client follows can't be known (RFC 2181 10.1 forbids it). A DNAME record is
 * not followed itself: its CNAME, which every server adds (RFC 6672 3.1), is what leads on.
 */
export function resolveChain(message: DnsMessage): ResolvedChain {
  const question = message.questions[0];
  const learnable = message.records.filter((record) => record.section === "answer" && isLearnable(record));
  if (message.questions.length !== 1 || question?.class !== CLASS_IN) {
    return { name: "", addresses: [], offChain: learnable };
  }
  // Most answers have no CNAME.
  let links: Map<string, { target: string; ttl: number; unique: boolean }> | undefined;
  for (const { type, name, target, ttl } of learnable) {
    if (type !== DnsType.CNAME || target === undefined) continue;
    links ??= new Map<string, { target: string; ttl: number; unique: boolean }>();
    const known = links.get(name);
    if (!known) links.set(name, { target, ttl, unique: true });
    else if (known.target !== target) known.unique = false;
    else known.ttl = Math.min(known.ttl, ttl);
  }
  const chain = [question.name];
  /** The least TTL on the way to each name of the chain. */
  const ttls = [Infinity];
  for (let at = 0; at < MAX_LINKS; at++) {
    const link = links?.get(chain[at]!);
    if (!link?.unique || chain.includes(link.target)) break;
    chain.push(link.target);
    ttls.push(Math.min(ttls[at]!, link.ttl));
  }
  const addresses: ResolvedAddress[] = [];
  const offChain: DnsRecord[] = [];
  for (const record of learnable) {
    const depth = chain.indexOf(record.name);
    if (record.address !== undefined && depth >= 0) {
      const least = Math.min(ttls[depth]!, record.ttl);
      addresses.push({ address: record.address, ttl: least, chain: chain.slice(0, depth + 1) });
    } else if (record.type === DnsType.DNAME ? !chain.some((link) => isBelow(link, record.name)) : depth < 0) {
      offChain.push(record);
    }
  }
  return { name: question.name, addresses, offChain };
}

/**
 * The answer to a query that is denied: its id, question, opcode, RD and CD bits as they came, no records but, if the query had EDNS,
 * an OPT record with an Extended DNS Error (RFC 8914: 15 Blocked, 17 Filtered, 18 Prohibited) and `text` (cut to 200 bytes).
 * rcode 3 is NXDOMAIN, 5 REFUSED. `queryBytes` isn't needed: everything is in `query`.
 */
export function buildDnsDenial(
  query: DnsMessage,
  _queryBytes: Uint8Array,
  rcode: 3 | 5,
  ede: number,
  text: string,
): Uint8Array {
  const question = query.questionBytes;
  const extra = query.edns ? cutText(text) : undefined;
  const out = new Uint8Array(12 + question.length + (extra ? 11 + 6 + extra.length : 0));
  put16(out, 0, query.id);
  const flags = FLAG_QR | FLAG_RA | (query.opcode << 11) | rcode;
  put16(out, 2, flags | (query.recursionDesired ? FLAG_RD : 0) | (query.checkingDisabled ? FLAG_CD : 0));
  put16(out, 4, question.length > 0 ? 1 : 0);
  out.set(question, 12);
  if (extra) {
    put16(out, 10, 1);
    let at = 12 + question.length;
    at++; // owner: the root
    put16(out, at, DnsType.OPT);
    put16(out, at + 2, UDP_SIZE);
    put16(out, at + 6, query.dnssecOk ? 0x8000 : 0);
    put16(out, at + 8, 6 + extra.length);
    at += 10;
    put16(out, at, OPTION_EDE);
    put16(out, at + 2, 2 + extra.length);
    put16(out, at + 4, ede);
    out.set(extra, at + 6);
  }
  return out;
}

const CLASS_IN = 1;
const MAX_LINKS = 16;
const MAX_TEXT = 200;
/** What fits into one packet everywhere (DNS flag day 2020). */
const UDP_SIZE = 1232;
const OPTION_EDE = 15;
const FLAG_QR = 0x8000;
const FLAG_RD = 0x0100;
const FLAG_RA = 0x0080;
const FLAG_CD = 0x0010;

function isLearnable(record: DnsRecord): boolean {
  return record.address !== undefined || record.target !== undefined;
}

/** encodeInto never cuts through a character. */
function cutText(text: string): Uint8Array {
  const out = new Uint8Array(MAX_TEXT);
  return out.subarray(0, new TextEncoder().encodeInto(text, out).written);
}

function isBelow(name: string, apex: string): boolean {
  return apex === "" || name.endsWith(`.${apex}`);
}
