/**
 * What a DNS message is, once it is read.
 */
import type { Addr } from "../net/address.js";
import type { Writable } from "../writable.js";

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
  /** The first question as it stood (name, type, class), for the 0x20 comparison. Empty without a question. A copy of the message's bytes, made when asked. */
  readonly questionBytes: Uint8Array;
}

/** Records that stay for the next message. */
const KEPT = 64;
const NO_BYTES: Uint8Array = new Uint8Array(0);

/** A message in objects that are used again for the next one that is read into it (`readDns`). */
export class DnsReading implements DnsMessage {
  id = 0;
  response = false;
  opcode = 0;
  authoritative = false;
  truncated = false;
  recursionDesired = false;
  checkingDisabled = false;
  rcode = 0;
  readonly questions: Writable<DnsQuestion>[] = [];
  readonly records: Writable<DnsRecord>[] = [];
  edns = false;
  dnssecOk = false;
  readonly #spareQuestions: Writable<DnsQuestion>[] = [];
  readonly #spareRecords: Writable<DnsRecord>[] = [];
  #bytes = NO_BYTES;
  #questionAt = 0;
  #questionEnd = 0;

  /** No questions, no records. */
  clear(): void {
    for (let one = this.questions.pop(); one; one = this.questions.pop()) {
      if (this.#spareQuestions.length < KEPT) this.#spareQuestions.push(one);
    }
    for (let one = this.records.pop(); one; one = this.records.pop()) {
      if (this.#spareRecords.length < KEPT) this.#spareRecords.push(one);
    }
    this.setQuestion(NO_BYTES, 0, 0);
  }

  addQuestion(): Writable<DnsQuestion> {
    const question = this.#spareQuestions.pop() ?? { name: "", type: 0, class: 0 };
    this.questions.push(question);
    return question;
  }

  addRecord(): Writable<DnsRecord> {
    const record = this.#spareRecords.pop() ?? emptyRecord();
    this.records.push(record);
    return record;
  }

  /** The first question is `bytes` [at, end). */
  setQuestion(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes;
    this.#questionAt = at;
    this.#questionEnd = end;
  }

  get questionBytes(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, this.#questionAt, this.#questionEnd);
  }

  get questionLength(): number {
    return this.#questionEnd - this.#questionAt;
  }

  /** `questionBytes` into the first `questionLength` of `target`. */
  copyQuestion(target: Uint8Array): void {
    for (let i = 0; i < this.questionLength; i++) target[i] = this.#bytes[this.#questionAt + i]!;
  }

  /** Are `bytes` the first question as it stood? */
  isQuestion(bytes: Uint8Array): boolean {
    if (bytes.length !== this.questionLength) return false;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== this.#bytes[this.#questionAt + i]) return false;
    return true;
  }
}

// One literal, so that all records have one shape.
function emptyRecord(): Writable<DnsRecord> {
  return {
    section: "answer",
    name: "",
    type: 0,
    class: 0,
    ttl: 0,
    address: undefined,
    target: undefined,
    dataOffset: 0,
    dataLength: 0,
  };
}
