/**
 * What an answer says of the name that was asked for, and the answer that a denied question gets.
 */
import { put16 } from "./bytes.js";
import { DnsType, type DnsMessage, type DnsRecord } from "./dnsMessage.js";

/**
 * The names that an answer's own CNAME records lead to from the question, in whatever order they stand; at most 16 (loops end earlier). A name with two
 * different CNAMEs leads nowhere: which of them a client follows can't be known (RFC 2181 10.1 forbids it). A DNAME record is
 * not followed itself: its CNAME, which every server adds (RFC 6672 3.1), is what leads on.
 */
export class AnswerChain {
  /** From the question (first) on; none if the message doesn't have exactly one question in class IN. */
  readonly names: string[] = [];
  /** The least TTL on the way to each of them. */
  readonly #ttls: number[] = [];

  /** Forget the message before, follow this one. */
  follow({ questions, records }: DnsMessage): void {
    while (this.names.length > 0) {
      this.names.pop();
      this.#ttls.pop();
    }
    const question = questions[0];
    if (questions.length !== 1 || question?.class !== CLASS_IN) return;
    this.names.push(question.name);
    this.#ttls.push(Infinity);
    for (let at = 0; at < MAX_LINKS; at++) {
      let target: string | undefined;
      let least = this.#ttls[at]!;
      let unique = true;
      for (const record of records) {
        if (record.type !== DnsType.CNAME || record.name !== this.names[at] || !isLearnable(record)) continue;
        if (record.target !== (target ??= record.target)) unique = false;
        least = Math.min(least, record.ttl);
      }
      if (target === undefined || !unique || this.names.includes(target)) return;
      this.names.push(target);
      this.#ttls.push(least);
    }
  }

  /** Where in the chain the record's owner stands; -1: nowhere. The other sections are never learned from: glue stands there by right. */
  depthOf(record: DnsRecord): number {
    return this.names.indexOf(record.name);
  }

  /** Seconds: the least of an address record and all that led to it. */
  ttlOf(record: DnsRecord, depth: number): number {
    return Math.min(this.#ttls[depth]!, record.ttl);
  }

  /** The question doesn't lead to this record. */
  isOff(record: DnsRecord, depth: number): boolean {
    return record.type === DnsType.DNAME ? !this.names.some((name) => isBelow(name, record.name)) : depth < 0;
  }
}

/** A record of the answer section that a name may be learned by: an address or an alias. */
export function isLearnable({ section, address, target }: DnsRecord): boolean {
  return section === "answer" && (address !== undefined || target !== undefined);
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

/** encodeInto never cuts through a character. */
function cutText(text: string): Uint8Array {
  const out = new Uint8Array(MAX_TEXT);
  return out.subarray(0, new TextEncoder().encodeInto(text, out).written);
}

function isBelow(name: string, apex: string): boolean {
  return apex === "" || name.endsWith(`.${apex}`);
}
