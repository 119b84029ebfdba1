import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { JudgedBytes, type JudgedFlow } from "../../../src/core/flow/judgedBytes.js";
import type { FlowEnds } from "../../../src/core/flow/keyHash.js";
import type { Addr } from "../../../src/core/net/address.js";
import { Random } from "../wire/bytes.js";

const hashSeed = Buffer.from("judged bytes");
const make = (options: { max?: number; bytes?: number; ttl?: number } = {}) =>
  new JudgedBytes({ max: 3, bytes: 100, ttl: 1_000, hashSeed, ...options });
const b = (text: string) => Buffer.from(text);
const flow = (firstSeq = 1_000): JudgedFlow => ({ firstSeq, reason: 2, rule: 7, fast: false });
const address = (...bytes: number[]) => String.fromCharCode(...bytes) as Addr;

/** Flows that differ in a port. */
const named = (name: string): FlowEnds => ({
  policy: 1,
  sport: name.charCodeAt(0),
  dport: 443,
  src: address(192, 0, 2, 1),
  dst: address(198, 51, 100, 7),
});

/** `bytes` stand in the middle of others, as in a packet. */
function put(
  table: JudgedBytes,
  ends: string | FlowEnds,
  flow: JudgedFlow,
  bytes: Uint8Array,
  now: number,
  before = 3,
): void {
  const packet = Buffer.concat([Buffer.alloc(before, 0xee), bytes, Buffer.alloc(2, 0xee)]);
  table.set(
    { ...(typeof ends === "string" ? named(ends) : ends), ...flow },
    packet,
    before,
    before + bytes.length,
    now,
  );
  packet.fill(0);
}

/** What the table holds, read only by asking it. */
function has(table: JudgedBytes, ends: string | FlowEnds, text: string, now = 0): boolean {
  const found = table.get(typeof ends === "string" ? named(ends) : ends, now);
  return found?.length === text.length && table.same(found, 0, b(text), 0, text.length);
}

describe("JudgedBytes", () => {
  it("gives back what was put, until exactly its time", () => {
    const table = make();
    const known = { firstSeq: 0xffff_fffe, reason: 255, rule: 0xffff_ffff, fast: true };
    put(table, "a", known, b("hello"), 10.25);
    const { at: _, length, ...found } = table.get(named("a"), 1_010)!;
    assert.deepEqual([found, length], [known, 5]);
    assert.equal(table.get(named("a"), 1_010.25), undefined);
    assert.equal(table.get(named("b"), 10.25), undefined);
    assert.equal(table.size, 1, "until it is swept");
    table.expire(1_010);
    assert.equal(table.size, 1);
    table.expire(1_010.25);
    assert.deepEqual([table.size, table.evicted], [0, 0]);
  });

  it("compares as far as the bytes were judged, from any offset, on a part of a packet", () => {
    const table = make();
    put(table, "a", flow(), b("hello"), 0);
    const found = table.get(named("a"), 0)!;
    const same = (offset: number, text: string, from = 0, to = text.length) =>
      table.same(found, offset, b(text), from, to);
    assert.equal(same(0, "hello"), true, "a copy");
    assert.equal(same(0, "hell"), true);
    assert.equal(same(0, "hello and more"), true);
    assert.equal(same(3, "lo and more"), true);
    assert.equal(same(0, "Hello"), false);
    assert.equal(same(0, "hellO"), false);
    assert.equal(same(4, "O"), false);
    assert.equal(same(5, "anything"), true);
    assert.equal(same(500, "anything"), true);
    assert.equal(same(1, "..ell..", 2, 5), true);
    assert.equal(same(1, "..eXl..", 2, 5), false);
  });

  it("tells bytes apart that differ only in their upper bits, and flows that differ in one thing", () => {
    const table = make({ max: 8 });
    put(table, "a", flow(), Uint8Array.of(0, 0x80, 0xff), 0);
    const found = table.get(named("a"), 0)!;
    assert.equal(table.same(found, 0, Uint8Array.of(0, 0x80, 0xff), 0, 3), true);
    assert.equal(table.same(found, 0, Uint8Array.of(0, 0x00, 0xff), 0, 3), false);
    const one = { policy: 1, sport: 1, dport: 1, src: address(1, 1, 1, 1), dst: address(1, 1, 1, 1) };
    const flows: FlowEnds[] = [
      one,
      { ...one, policy: 0x101 },
      { ...one, sport: 0x101 },
      { ...one, dport: 0x101 },
      { ...one, src: address(1, 1, 1, 2) },
      { ...one, dst: address(1, 1, 1, 2) },
      { ...one, src: address(...Array<number>(16).fill(1)), dst: address(...Array<number>(16).fill(1)) },
    ];
    flows.forEach((ends, i) => put(table, ends, flow(i), b(String(i)), 0));
    flows.forEach((ends, i) => assert.ok(has(table, ends, String(i)), JSON.stringify(ends)));
  });

  it("the oldest goes when all places are taken, and is counted; an expired one is not", () => {
    const table = make({ max: 2 });
    put(table, "a", flow(), b("1"), 0);
    put(table, "b", flow(), b("2"), 500);
    put(table, "c", flow(), b("3"), 999);
    assert.deepEqual([table.get(named("a"), 999), has(table, "b", "2"), has(table, "c", "3")], [undefined, true, true]);
    assert.deepEqual([table.size, table.evicted], [2, 1]);
    put(table, "d", flow(), b("4"), 1_500);
    assert.deepEqual([table.size, table.evicted], [2, 1]);
  });

  it("the oldest go until the bytes are enough, and are counted", () => {
    const table = make({ bytes: 10 });
    put(table, "a", flow(), b("1234"), 0);
    put(table, "b", flow(), b("5678"), 0);
    put(table, "c", flow(), b("90"), 0);
    assert.deepEqual([table.size, table.evicted], [3, 0], "exactly full");
    put(table, "d", flow(), b("abcde"), 0);
    assert.deepEqual([table.size, table.evicted], [2, 2]);
    assert.ok(has(table, "c", "90") && has(table, "d", "abcde"), "over the end of the ring of bytes");
    put(table, "e", flow(), b("exactly 10"), 0);
    assert.deepEqual([table.size, table.evicted, has(table, "e", "exactly 10")], [1, 4, true]);
  });

  it("does not remember more bytes than it may have, nor what the key had before", () => {
    const table = make({ bytes: 10 });
    put(table, "a", flow(), b("1234"), 0);
    put(table, "b", flow(), b("5678"), 0);
    put(table, "a", flow(), b("12345678901"), 0);
    assert.deepEqual(
      [table.get(named("a"), 0), has(table, "b", "5678"), table.size, table.evicted],
      [undefined, true, 1, 1],
    );
  });

  it("overwrites with a fresh time", () => {
    const table = make({ max: 4 });
    put(table, "a", flow(), b("old"), 0);
    put(table, "b", flow(), b("b"), 0);
    put(table, "a", flow(5), b("newer"), 900);
    assert.equal(table.size, 2);
    table.expire(1_000);
    assert.deepEqual(
      [table.size, has(table, "a", "newer", 1_000), table.get(named("a"), 1_000)!.firstSeq],
      [1, true, 5],
    );
  });

  it("what is deleted in the middle gives its place back when those before it have gone", () => {
    const table = make({ max: 3 });
    put(table, "a", flow(), b("1"), 0);
    put(table, "b", flow(), b("2"), 0);
    table.delete(named("b"));
    table.delete(named("b"));
    put(table, "c", flow(), b("3"), 0);
    assert.deepEqual([table.size, table.evicted], [2, 0]);
    put(table, "d", flow(), b("4"), 0);
    assert.deepEqual([table.size, table.evicted, table.get(named("a"), 0)], [2, 1, undefined]);
    put(table, "e", flow(), b("5"), 0);
    assert.deepEqual([table.size, table.evicted], [3, 1], "the deleted one's place");
  });

  it("takes bytes out of packets of any size, short and longer than what it copies in one go", () => {
    const table = make({ max: 8, bytes: 20_000 });
    for (const before of [0, 1, 54, 2_040, 2_046, 2_047, 5_000]) {
      put(table, "a", flow(), b("in the middle"), 0, before);
      assert.ok(has(table, "a", "in the middle"), String(before));
    }
    const long = "all of it ".repeat(1_000);
    put(table, "b", flow(), b(long), 0);
    assert.ok(has(table, "b", long) && has(table, "a", "in the middle"));
  });

  it("refuses sizes that make no sense", () => {
    assert.throws(() => make({ max: 0 }), RangeError);
    assert.throws(() => make({ bytes: 0 }), RangeError);
    assert.throws(() => make({ bytes: 2 ** 30 + 1 }), RangeError);
  });

  it("tells keys apart that share their whole hash", () => {
    // Of 300,000 keys some ten pairs do, whatever the seed (32 bits).
    const count = 300_000;
    const table = make({ max: count, bytes: 4 * count });
    const bytes = Buffer.alloc(4);
    const key = (i: number) => ({
      policy: 1,
      sport: i & 0xffff,
      dport: 443,
      src: address(i >> 16, 2, 3, 4),
      dst: address(5, 6, 7, 8),
    });
    for (let i = 0; i < count; i++) {
      bytes.writeUInt32LE(i);
      table.set({ ...key(i), ...flow(i) }, bytes, 0, 4, 0);
    }
    assert.deepEqual([table.size, table.evicted], [count, 0]);
    const wrong = (from: number) => {
      let wrong = 0;
      for (let i = 0; i < count; i++) {
        bytes.writeUInt32LE(i);
        const found = table.get(key(i), 0);
        const is = found?.firstSeq === i && table.same(found, 0, bytes, 0, 4);
        if (is !== i >= from) wrong++;
      }
      return wrong;
    };
    assert.equal(wrong(0), 0);
    for (let i = 0; i < count / 2; i++) table.delete(key(i));
    assert.deepEqual([table.size, wrong(count / 2)], [count / 2, 0]);
  });

  it("does what a Map of the last entries would do, whatever the order", () => {
    // Few keys: overwritten and deleted often. Many: evicted. Few bytes: the ring of bytes turns faster than that of places.
    for (const [max, bytes, keys] of [
      [1, 40, 3],
      [2, 1_000, 5],
      [7, 60, 6],
      [16, 1_000, 40],
      [64, 300, 500],
      [100, 100_000, 120],
      [256, 4_099, 2_000],
    ] as const) {
      for (const seed of [1, 2, 3]) compare(max, bytes, keys, seed);
    }
  });
});

interface Known extends JudgedFlow {
  readonly bytes: Buffer;
  readonly expires: number;
  /** Running numbers of the entry and of its first byte. */
  readonly number: number;
  readonly firstByte: number;
}

/** A Map, and two running numbers: an entry is there as long as `max` entries or `bytes` bytes have not come after it. */
class Model {
  readonly map = new Map<string, Known>();
  evicted = 0;
  #entries = 0;
  #bytes = 0;
  readonly #max: number;
  readonly #most: number;
  constructor(max: number, most: number) {
    this.#max = max;
    this.#most = most;
  }

  set(key: string, flow: JudgedFlow, bytes: Buffer, now: number, ttl: number): void {
    this.map.delete(key);
    if (bytes.length > this.#most) {
      this.evicted++;
      return;
    }
    this.#entries++;
    this.#bytes += bytes.length;
    for (const [old, { number, firstByte, expires }] of this.map) {
      if (this.#entries - number < this.#max && this.#bytes - firstByte <= this.#most) continue;
      this.map.delete(old);
      if (expires > now) this.evicted++;
    }
    const firstByte = this.#bytes - bytes.length;
    this.map.set(key, { ...flow, bytes, expires: now + ttl, number: this.#entries, firstByte });
  }

  expire(now: number): void {
    for (const [key, { expires }] of this.map) if (expires <= now) this.map.delete(key);
  }
}

function compare(max: number, most: number, keys: number, seed: number): void {
  const random = new Random(seed * 1_000 + max);
  // Some expire first, some are evicted first.
  const ttl = 4 * max + 100;
  const table = new JudgedBytes({ max, bytes: most, ttl, hashSeed: Buffer.of(seed) });
  const model = new Model(max, most);
  let now = 0;
  let found = 0;
  for (let step = 0; step < 20_000; step++) {
    now += random.below(4) * 0.75;
    const ends = endsOf(random.below(keys));
    const key = Object.values(ends).join();
    const what = random.below(10);
    if (what < 5) {
      const bytes = Buffer.from(Array.from({ length: random.below(30) }, () => random.below(256)));
      const one = {
        firstSeq: (0xffff_fff0 + random.below(32)) >>> 0,
        reason: random.below(256),
        rule: random.below(2 ** 32),
        fast: random.below(2) === 1,
      };
      put(table, ends, one, bytes, now, random.below(8) === 0 ? 3_000 : random.below(60));
      model.set(key, one, bytes, now, ttl);
    } else if (what < 6) {
      table.delete(ends);
      model.map.delete(key);
    } else if (what < 7 && random.below(20) === 0) {
      table.expire(now);
      model.expire(now);
    } else {
      const is = table.get(ends, now);
      const known = model.map.get(key);
      const must = known && known.expires > now ? known : undefined;
      assert.equal(is !== undefined, must !== undefined, `step ${step}`);
      if (is && must) {
        found++;
        const { firstSeq, reason, rule, fast, length } = is;
        const { bytes } = must;
        assert.deepEqual(
          [firstSeq, reason, rule, fast, length],
          [must.firstSeq, must.reason, must.rule, must.fast, bytes.length],
          `step ${step}`,
        );
        assert.ok(table.same(is, 0, bytes, 0, bytes.length), `step ${step}`);
        if (bytes.length > 0) {
          const at = random.below(bytes.length);
          const other = Buffer.from(bytes);
          other[at]! ^= 1 << random.below(8);
          assert.ok(!table.same(is, 0, other, 0, other.length), `step ${step}`);
          assert.ok(!table.same(is, at, other, at, other.length), `step ${step}`);
          assert.ok(table.same(is, at + 1, other, at + 1, other.length), `step ${step}`);
        }
      }
    }
    assert.equal(table.evicted, model.evicted, `step ${step}`);
    // Expired ones count until they are swept; the ring sweeps none but for room, and so does the model.
    assert.equal(table.size, model.map.size, `step ${step}`);
  }
  assert.ok(found > 50, `max ${max}: nothing was ever found`);
  assert.ok(table.evicted > 50, `max ${max}: nothing was evicted`);
}

/** With addresses of 4 or 16 bytes. */
function endsOf(n: number): FlowEnds {
  const length = n % 2 === 0 ? 4 : 16;
  const ending = (last: number) => address(...Array<number>(length - 1).fill(0xfe), last);
  return { policy: 1, sport: 40_000 + (n >> 4), dport: 443, src: ending(n & 15), dst: ending(7) };
}
