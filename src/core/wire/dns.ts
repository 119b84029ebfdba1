/**
 * DNS messages (RFC 1035, RFC 6891), read strictly: whatever two readers could take for two things is invalid.
 */
import { addrFromBytes, type Addr } from "../net/address.js";
import { u16, u32, u8 } from "./bytes.js";
import { DnsReading, DnsType, type DnsMessage, type DnsQuestion, type DnsRecord } from "./dnsMessage.js";
import { appendLabel, nameText } from "./dnsName.js";
import type { Writable } from "../writable.js";
import { done, invalid, type Invalid, type Parsed } from "./result.js";

export { AnswerChain, buildDnsDenial, isLearnable } from "./dnsAnswer.js";
export { DnsReading, DnsType, type DnsMessage, type DnsQuestion, type DnsRecord } from "./dnsMessage.js";

export type DnsCode =
  /** ends inside the header, a name or a record */
  | "truncated"
  /** says more questions and records than its bytes could hold */
  | "counts"
  /** label of a type that isn't in use (RFC 6891 5) */
  | "label-type"
  /** compression pointer that points at itself, forwards, into the header, or over more than 64 others */
  | "pointer"
  /** more than 255 bytes on the wire */
  | "name-too-long"
  /** a label with a dot, NUL, or anything else that isn't printable ASCII */
  | "character"
  /** data of an A, AAAA, CNAME or DNAME record that isn't exactly RDLENGTH long */
  | "rdata"
  /** OPT record outside the additional section, twice, with an owner, or with options that don't fit */
  | "opt"
  /** bytes behind the last record */
  | "trailing";

/** One whole message in `bytes` [offset, end). Over TCP without its length. Never needMore: a message is whole or broken. */
export function parseDns(bytes: Uint8Array, offset: number, end: number): Parsed<DnsMessage, DnsCode> {
  const message = new DnsReading();
  return readDns(bytes, offset, end, message) ?? done(message);
}

/** `parseDns` into `message`, for who reads many. Something: why it is invalid; then what stands in `message` means nothing. */
export function readDns(
  bytes: Uint8Array,
  offset: number,
  end: number,
  message: DnsReading,
): Invalid<DnsCode> | undefined {
  message.clear();
  if (end > bytes.length || end - offset < HEADER) return invalid("truncated", Math.min(end, bytes.length));
  const questionCount = u16(bytes, offset + 4);
  const recordCount = u16(bytes, offset + 6) + u16(bytes, offset + 8) + u16(bytes, offset + 10);
  // The shortest question is the root with type and class, the shortest record adds TTL and RDLENGTH.
  if (questionCount * 5 + recordCount * 11 > end - offset - HEADER) return invalid("counts", offset + 4);

  const cursor = CURSOR;
  cursor.begin(bytes, offset, end);
  for (let i = 0; i < questionCount; i++) {
    const name = cursor.name();
    if (name === null || !cursor.has(4)) return cursor.invalid();
    const question = message.addQuestion();
    question.name = name;
    question.type = u16(bytes, cursor.at);
    question.class = u16(bytes, cursor.at + 2);
    cursor.at += 4;
    if (i === 0) message.setQuestion(bytes, offset + HEADER, cursor.at);
  }
  let opt: DnsRecord | undefined;
  for (let section = 0; section < 3; section++) {
    for (let i = u16(bytes, offset + 6 + 2 * section); i > 0; i--) {
      const start = cursor.at;
      const record = message.addRecord();
      if (!readRecord(cursor, SECTIONS[section]!, record)) return cursor.invalid();
      if (record.type === DnsType.OPT) {
        // RFC 6891 6.1.1: one, in the additional section, owned by the root.
        if (opt || section !== 2 || u8(bytes, start) !== 0 || !optionsFit(bytes, record)) return invalid("opt", start);
        opt = record;
      }
    }
  }
  if (cursor.at !== end) return invalid("trailing", cursor.at);

  const flags = u16(bytes, offset + 2);
  // The TTL of an OPT record is {extended rcode, version, flags}; it stands 6 bytes before the data.
  const optTtl = opt ? u32(bytes, opt.dataOffset - 6) : 0;
  message.id = u16(bytes, offset);
  message.response = (flags & 0x8000) !== 0;
  message.opcode = (flags >> 11) & 15;
  message.authoritative = (flags & 0x0400) !== 0;
  message.truncated = (flags & 0x0200) !== 0;
  message.recursionDesired = (flags & 0x0100) !== 0;
  message.checkingDisabled = (flags & 0x0010) !== 0;
  message.rcode = ((optTtl >>> 24) << 4) | (flags & 15);
  message.edns = opt !== undefined;
  message.dnssecOk = (optTtl & 0x8000) !== 0;
  return undefined;
}

/** A question by itself: name, type, class, without compression. undefined: it isn't one. */
export function parseQuestion(bytes: Uint8Array): DnsQuestion | undefined {
  const message = new Uint8Array(HEADER + bytes.length);
  message[5] = 1;
  message.set(bytes, HEADER);
  const parsed = parseDns(message, 0, message.length);
  return parsed.kind === "done" ? parsed.value.questions[0] : undefined;
}

const HEADER = 12;
const CLASS_IN = 1;
const MAX_JUMPS = 64;
const SECTIONS = ["answer", "authority", "additional"] as const;

/** false: it is broken, and the cursor says how. */
function readRecord(cursor: Cursor, section: DnsRecord["section"], record: Writable<DnsRecord>): boolean {
  const { bytes } = cursor;
  const name = cursor.name();
  if (name === null || !cursor.has(10)) return false;
  const type = u16(bytes, cursor.at);
  const class_ = u16(bytes, cursor.at + 2);
  const ttl = u32(bytes, cursor.at + 4);
  const dataLength = u16(bytes, cursor.at + 8);
  cursor.at += 10;
  if (!cursor.has(dataLength)) return false;
  const dataOffset = cursor.at;
  cursor.at += dataLength;
  let address: Addr | undefined;
  let target: string | undefined;
  if (class_ === CLASS_IN) {
    if (type === DnsType.A || type === DnsType.AAAA) {
      const size = type === DnsType.A ? 4 : 16;
      if (dataLength !== size) return cursor.refuse("rdata", dataOffset);
      address = addrFromBytes(bytes, dataOffset, size);
    } else if (type === DnsType.CNAME || type === DnsType.DNAME) {
      const behind = cursor.at;
      cursor.at = dataOffset;
      const alias = cursor.name();
      if (alias === null) return false;
      if (cursor.at !== behind) return cursor.refuse("rdata", dataOffset);
      target = alias;
    }
  }
  record.section = section;
  record.name = name;
  record.type = type;
  record.class = class_;
  record.ttl = ttl > 0x7fffffff ? 0 : ttl;
  record.address = address;
  record.target = target;
  record.dataOffset = dataOffset;
  record.dataLength = dataLength;
  return true;
}

/** RFC 6891 6.1.2: {code, length, data} until the end, exactly. */
function optionsFit(bytes: Uint8Array, record: DnsRecord): boolean {
  const end = record.dataOffset + record.dataLength;
  let at = record.dataOffset;
  while (at + 4 <= end) at += 4 + u16(bytes, at + 2);
  return at === end;
}

class Cursor {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  at = 0;
  #error: DnsCode = "truncated";
  #errorAt = 0;
  /** The last name that was nothing but a pointer: a hundred address records of one owner are the usual answer. */
  #memoTarget = -1;
  #memoName = "";

  /** A message in `bytes` [start, end). */
  begin(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.at = start + HEADER;
    this.#error = "truncated";
    this.#errorAt = end;
    this.#memoTarget = -1;
  }

  invalid(): Invalid<DnsCode> {
    return invalid(this.#error, this.#errorAt);
  }

  fail(code: DnsCode, at: number): null {
    this.#error = code;
    this.#errorAt = at;
    return null;
  }

  refuse(code: DnsCode, at: number): false {
    this.fail(code, at);
    return false;
  }

  /** Without an error set, what is missing is bytes: `invalid()` says "truncated". */
  has(length: number): boolean {
    return this.at + length <= this.end;
  }

  /**
   * RFC 1035 4.1.4, stricter: a pointer must point before the beginning of the labels that led to it, so every jump goes further
   * back and none can loop.
   */
  name(): string | null {
    const { bytes, end } = this;
    let at = this.at;
    let limit = at;
    let behind = -1;
    let length = 0;
    let jumps = 0;
    let memo = -1;
    for (;;) {
      if (at >= end) return this.fail("truncated", end);
      const size = bytes[at]!;
      if (size === 0) break;
      if (size >= 0xc0) {
        if (at + 1 >= end) return this.fail("truncated", end);
        const target = this.start + (((size & 0x3f) << 8) | bytes[at + 1]!);
        if (target < this.start + HEADER || target >= limit || ++jumps > MAX_JUMPS) return this.fail("pointer", at);
        if (behind < 0) behind = at + 2;
        if (at === this.at) {
          if (target === this.#memoTarget) {
            this.at = behind;
            return this.#memoName;
          }
          memo = target;
        }
        at = limit = target;
        continue;
      }
      if (size > 63) return this.fail("label-type", at);
      const next = at + 1 + size;
      if (next > end) return this.fail("truncated", end);
      const result = appendLabel(SCRATCH, length, bytes, at + 1, next);
      if (typeof result === "string") {
        return this.fail(result === "name-too-long" ? "name-too-long" : "character", at);
      }
      length = result;
      at = next;
    }
    this.at = behind < 0 ? at + 1 : behind;
    const name = nameText(SCRATCH, length);
    if (memo >= 0) {
      this.#memoTarget = memo;
      this.#memoName = name;
    }
    return name;
  }
}

/** Filled and read within one call. */
const SCRATCH = Buffer.alloc(256);
const CURSOR = new Cursor();
