/**
 * The journal of learned names: what lets a gateway that was killed start again without forgetting who may go where.
 * One JSON line for each (policy, client, name, address), appended **before** the answer that taught it is released; replayed at
 * start if the machine has not been rebooted since (times are CLOCK_MONOTONIC) and the line has not expired.
 *
 * Bounded: when the file holds more than twice the lines that are alive (and at least `slack`), it is written anew beside and
 * renamed into place, a slice each turn of the event loop. Past `maxBytes` appending stops (counted in `lost`) until a compaction
 * made room: a lost line costs a client one more DNS query after the next kill -9, nothing else.
 */
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import type { LearnCommand } from "../core/engine/commands.js";
import type { ClientId, RestoredEvent } from "../core/engine/events.js";
import type { Addr } from "../core/net/address.js";
import { describe, errnoOf } from "./errors.js";

export interface JournalEntry {
  readonly policy: number;
  readonly client: ClientId;
  readonly name: string;
  readonly address: Addr;
  readonly chain: readonly string[];
  readonly expires: number;
}

export interface JournalOptions {
  readonly path: string;
  readonly bootId: string;
  /** Everything alive, for compaction. */
  readonly alive: () => Iterable<JournalEntry>;
  /** Lines beyond twice the living that are tolerated, default 4,096. */
  readonly slack?: number;
  /** Default 64 MiB. */
  readonly maxBytes?: number;
  readonly onError?: (message: string) => void;
}

export interface JournalStats {
  readonly lines: number;
  readonly bytes: number;
  readonly lost: number;
  readonly compactions: number;
}

const version = 1;
const sliceEntries = 1000;
const maxRestored = 1_048_576;

export class Journal {
  readonly #options: JournalOptions;
  readonly #slack: number;
  readonly #maxBytes: number;
  #fd: number;
  #pending: string[] = [];
  #lines = 0;
  #bytes = 0;
  #lost = 0;
  #compactions = 0;
  #living = 0;
  /** Lines appended while a compaction runs: they go into both files. */
  #tail: string[] | undefined;
  #closed = false;

  /** Starts an empty journal in place of the old one: replay (`readJournal`) first, what is restored is appended again. */
  constructor(options: JournalOptions) {
    this.#options = options;
    this.#slack = options.slack ?? 4096;
    this.#maxBytes = options.maxBytes ?? 64 * 1024 * 1024;
    const { fd, bytes } = startFile(`${options.path}.new`, options.bootId);
    this.#fd = fd;
    this.#bytes = bytes;
  }

  /** The new file replaces the old one: call it when everything restored has been appended. */
  commit(): void {
    this.flush();
    renameSync(`${this.#options.path}.new`, this.#options.path);
  }

  append(entry: LearnCommand | JournalEntry): void {
    this.#pending.push(encode(entry));
  }

  /** Write what was appended. Cheap when there is nothing. Never throws: see `lost`. */
  flush(): void {
    if (this.#pending.length === 0 || this.#closed) return;
    const lines = this.#pending;
    this.#pending = [];
    const text = lines.join("");
    this.#tail?.push(text);
    if (this.#bytes + text.length > this.#maxBytes) {
      this.#lost += lines.length;
    } else {
      try {
        writeAll(this.#fd, text);
        this.#bytes += text.length;
        this.#lines += lines.length;
      } catch (error) {
        this.#lost += lines.length;
        this.#options.onError?.(`the journal of learned names can't be written: ${describe(error)}`);
      }
    }
    if (this.#tail === undefined && this.#lines > 2 * this.#living + this.#slack) void this.compact();
  }

  /** Write the living entries beside, then rename. Resolves when done; never rejects. */
  async compact(): Promise<void> {
    if (this.#tail !== undefined || this.#closed) return;
    this.#tail = [];
    const path = `${this.#options.path}.compact`;
    let fd: number | undefined;
    try {
      const file = startFile(path, this.#options.bootId);
      fd = file.fd;
      let { bytes } = file;
      let lines = 0;
      let slice: string[] = [];
      for (const entry of this.#options.alive()) {
        slice.push(encode(entry));
        if (slice.length < sliceEntries) continue;
        bytes += writeAll(fd, slice.join(""));
        lines += slice.length;
        slice = [];
        await new Promise((resolve) => setImmediate(resolve));
        if (this.#isClosed()) throw new Error("closed");
      }
      bytes += writeAll(fd, slice.join(""));
      lines += slice.length;
      const tail = this.#tail.join("");
      bytes += writeAll(fd, tail);
      renameSync(path, this.#options.path);
      closeSync(this.#fd);
      this.#fd = fd;
      fd = undefined;
      this.#bytes = bytes;
      this.#living = lines;
      this.#lines = lines;
      this.#compactions++;
    } catch (error) {
      if (!this.#isClosed())
        this.#options.onError?.(`the journal of learned names can't be compacted: ${describe(error)}`);
      // Not again for every line: only when it has doubled once more.
      this.#living = this.#lines;
      rmSync(path, { force: true });
    } finally {
      if (fd !== undefined) closeSync(fd);
      this.#tail = undefined;
    }
  }

  stats(): JournalStats {
    return { lines: this.#lines, bytes: this.#bytes, lost: this.#lost, compactions: this.#compactions };
  }

  /** A call, so that the compiler doesn't believe the answer beyond an await. */
  #isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    closeSync(this.#fd);
  }
}

/**
 * What a previous run of this instance learned and still holds at `now` (ms of CLOCK_MONOTONIC). Lines that don't parse (a write
 * that kill -9 cut short) are skipped; a journal of another boot or version is empty.
 */
export function readJournal(path: string, bootIdNow: string, now: number): RestoredEvent[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
  const lines = text.split("\n");
  const head = parseObject(lines[0] ?? "");
  if (head?.["v"] !== version || head["boot"] !== bootIdNow) return [];
  const out = new Map<string, RestoredEvent>();
  for (let i = 1; i < lines.length && out.size < maxRestored; i++) {
    const entry = decode(lines[i] as string);
    // The last line for the same thing is the newest.
    if (entry) out.set(`${entry.policy} ${entry.client} ${entry.address} ${entry.name}`, entry);
  }
  return [...out.values()].filter((entry) => entry.expires > now);
}

function startFile(path: string, boot: string): { fd: number; bytes: number } {
  const fd = openSync(path, "w", 0o640);
  return { fd, bytes: writeAll(fd, `${JSON.stringify({ v: version, boot })}\n`) };
}

function writeAll(fd: number, text: string): number {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  return bytes.length;
}

function encode(entry: LearnCommand | JournalEntry): string {
  return `${JSON.stringify({
    p: entry.policy,
    c: Buffer.from(entry.client, "latin1").toString("hex"),
    n: entry.name,
    a: Buffer.from(entry.address, "latin1").toString("hex"),
    ch: entry.chain,
    e: Math.round(entry.expires),
  })}\n`;
}

function decode(line: string): RestoredEvent | undefined {
  const raw = parseObject(line);
  if (!raw) return undefined;
  const { p, c, n, a, ch, e } = raw;
  if (typeof p !== "number" || typeof n !== "string" || typeof e !== "number" || !Array.isArray(ch)) return undefined;
  if (typeof c !== "string" || !/^[0-9a-f]{32}$/.test(c)) return undefined;
  if (typeof a !== "string" || !/^([0-9a-f]{8}|[0-9a-f]{32})$/.test(a)) return undefined;
  if (!ch.every((name) => typeof name === "string")) return undefined;
  return {
    type: "restored",
    policy: p,
    client: Buffer.from(c, "hex").toString("latin1") as ClientId,
    name: n,
    address: Buffer.from(a, "hex").toString("latin1") as Addr,
    chain: ch,
    expires: e,
  };
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
