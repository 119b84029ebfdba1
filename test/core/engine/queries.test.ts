/** Questions that wait are objects that are used again: nothing of the old one may be in the new one, and each is found by all that an answer must match. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defaultLimits } from "../../../src/core/engine/limits.js";
import { Queries, type PendingQuery } from "../../../src/core/engine/queries.js";
import { DnsReading, readDns } from "../../../src/core/wire/dns.js";
import { fixture, Random } from "../wire/bytes.js";
import { addr, CLIENT, CLIENT6, RESOLVER, SITE } from "./playbook.js";

const seed = Buffer.from("seed");
const make = (limits: { queries?: number; queryMs?: number } = {}) =>
  new Queries({ ...defaultLimits, ...limits }, seed);
const [client, client6, resolver, other] = [addr(CLIENT), addr(CLIENT6), addr(RESOLVER), addr(SITE)];

describe("Queries", () => {
  it("finds a question by addresses, port and id, until exactly its time", () => {
    const queries = make({ queryMs: 100 });
    const query = queries.ask(client, 5000, resolver, 7, 10.5);
    const get = (now: number, source = client, port = 5000, from = resolver, id = 7) =>
      queries.get(source, port, from, id, now);
    assert.equal(get(110), query);
    assert.deepEqual([get(0, other), get(0, client, 5001), get(0, client, 5000, other), get(0, client, 5000, resolver, 8)], [undefined, undefined, undefined, undefined]); // prettier-ignore
    assert.equal(get(110.5), undefined);
    queries.expire(110);
    assert.equal(queries.size, 1);
    queries.expire(110.5);
    assert.equal(queries.size, 0);
  });

  it("keeps a copy of the question, in the same buffer as long as it fits", () => {
    const queries = make();
    const message = new DnsReading();
    const read = (name: string) => {
      const bytes = Buffer.from(fixture(name));
      assert.equal(readDns(bytes, 0, bytes.length, message), undefined);
      return bytes;
    };
    const bytes = read("dns-query-a");
    const query = queries.ask(client, 1, resolver, 1, 0);
    query.setQuestion(message);
    bytes.fill(0);
    read("dns-query-a");
    assert.deepEqual([...query.questionBytes], [...message.questionBytes]);
    const { questionBytes } = query;
    queries.end(query);
    const again = queries.ask(client, 2, resolver, 2, 0);
    again.setQuestion(message);
    assert.deepEqual([again === query, again.questionBytes === questionBytes], [true, true], "else it is made anew");
  });

  it("gives no object to two questions, also if one was ended twice", () => {
    const queries = make();
    const one = queries.ask(client, 1, resolver, 1, 0);
    queries.end(one);
    queries.end(one);
    assert.notEqual(queries.ask(client, 2, resolver, 2, 0), queries.ask(client, 3, resolver, 3, 0));
    assert.equal(queries.size, 2);
  });

  it("does what a Map in the order of age would do", () => {
    for (const [max, ids] of [[1, 3], [7, 20], [64, 50], [300, 1_000]] as const) compare(max, ids); // prettier-ignore
  });
});

function compare(max: number, ids: number): void {
  const random = new Random(max);
  const queryMs = 100;
  const queries = make({ queries: max, queryMs });
  const map = new Map<string, { readonly query: PendingQuery; readonly expires: number }>();
  let now = 0;
  let full = 0;
  for (let step = 0; step < 20_000; step++) {
    now += random.below(3) * 0.5;
    const [source, id, port] = [random.below(2) === 0 ? client : client6, random.below(ids), random.below(2)];
    const key = `${source} ${id} ${port}`;
    const known = map.get(key);
    if (random.below(2) === 0) {
      map.delete(key);
      const oldest = map.keys().next().value;
      if (map.size >= max) {
        map.delete(oldest!);
        full++;
      }
      map.set(key, { query: queries.ask(source, port, resolver, id, now), expires: now + queryMs });
    } else if (random.below(50) === 0) {
      queries.expire(now);
      for (const [old, { expires }] of map) if (expires <= now) map.delete(old);
    } else {
      const query = queries.get(source, port, resolver, id, now);
      assert.equal(query, known && known.expires > now ? known.query : undefined, `max ${max}, step ${step}`);
      if (query && random.below(2) === 0) {
        queries.end(query);
        map.delete(key);
      }
    }
    assert.equal(queries.size, map.size, `max ${max}, step ${step}`);
  }
  assert.ok(full > 20 || max > 64, `only ${full} had to go for others`);
}
