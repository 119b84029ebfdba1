/**
 * Figures of docs/policy.md, not a test: `node --expose-gc --import tsx test/core/policy/measure.ts`.
 */
import { addrFromBytes, type Addr } from "../../../src/core/net/address.js";
import { compilePolicies } from "../../../src/core/policy/compile.js";
import { NameIndex, type IndexedName } from "../../../src/core/policy/nameIndex.js";
import { parsePolicy } from "../../../src/core/policy/parse.js";
import type { NamePattern } from "../../../src/core/policy/types.js";
import { noFlags, Random } from "./random.js";

const NAMES = 1_000_000;
const CIDRS = 100_000;

function heap(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + Math.max(external, arrayBuffers);
}

function ms(what: () => void): number {
  const start = process.hrtime.bigint();
  what();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

/** ns for one call: best of twenty rounds over the same list. */
function perCall<T>(questions: readonly T[], ask: (question: T) => unknown): string {
  let best = Infinity;
  for (let round = 0; round < 20; round++) {
    best = Math.min(
      best,
      ms(() => {
        for (const question of questions) ask(question);
      }),
    );
  }
  return `${Math.round((best * 1e6) / questions.length)} ns`;
}

/** A string of its own, as one that was just cut out of a packet: flat, its hash not computed yet. */
function fresh(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

const random = new Random(1);
const SYLLABLES = [
  "ka",
  "to",
  "mi",
  "re",
  "su",
  "lo",
  "ne",
  "va",
  "po",
  "di",
  "gra",
  "ster",
  "flo",
  "bri",
  "com",
  "net",
];
const TLDS = ["com", "net", "org", "io", "de", "co.uk"];
function word(n: number): string {
  return Array.from({ length: n }, () => random.pick(SYLLABLES)).join("");
}
function domain(i: number): string {
  return `${word(2 + random.int(3))}${i.toString(36)}.${random.pick(TLDS)}`;
}

for (const kind of ["exact", "below", "suffix"] as const) {
  const names = Array.from({ length: NAMES }, (_, i) => fresh(kind === "exact" ? `www.${domain(i)}` : domain(i)));
  const bytes = names.reduce((sum, name) => sum + name.length, 0) / NAMES;
  const patterns: IndexedName[] = names.map((name, i) => ({
    pattern: { kind, name } satisfies NamePattern,
    rule: i + 1,
  }));
  const before = heap();
  let index = new NameIndex([]);
  const build = ms(() => (index = new NameIndex(patterns)));
  const size = heap() - before;
  // New strings for every round would measure their making; so each is asked once a round and hashed in the first.
  const hits = Array.from({ length: 200_000 }, () => fresh((kind === "exact" ? "" : "a.b.") + random.pick(names)));
  const warm = Array.from({ length: 200_000 }, (_, i) => hits[i % 1000] as string);
  const misses = Array.from({ length: 200_000 }, (_, i) => fresh(`www.${domain(NAMES + i)}`));
  console.log(
    `${NAMES} ${kind} names of ${bytes.toFixed(1)} bytes: index ${(size / NAMES).toFixed(0)} bytes a name, built in ${build.toFixed(0)} ms; ` +
      `hit ${perCall(hits, (name) => index.match(name))} (the same 1,000 names again and again: ` +
      `${perCall(warm, (name) => index.match(name))}), miss ${perCall(misses, (name) => index.match(name))}, ` +
      `new string each time ${perCall(hits, (name) => index.match(fresh(name)))} of which the string ${perCall(hits, fresh)}`,
  );
}

{
  const domains = Array.from({ length: NAMES }, (_, i) => fresh(`www.${domain(i)}`));
  const before = heap();
  let parsed: ReturnType<typeof parsePolicy> | undefined;
  const parse = ms(() => (parsed = parsePolicy({ ...noFlags, domain: domains })));
  if (!parsed?.ok) throw new Error("can't be parsed");
  const { spec } = parsed;
  const afterParse = heap();
  let compiled: ReturnType<typeof compilePolicies> | undefined;
  const compile = ms(() => (compiled = compilePolicies([spec])));
  const size = heap() - afterParse;
  console.log(
    `${NAMES} names from the command line: parse ${parse.toFixed(0)} ms, ${((afterParse - before) / NAMES).toFixed(0)} bytes a name; ` +
      `compile ${compile.toFixed(0)} ms, ${(size / NAMES).toFixed(0)} bytes more (${compiled?.rules.length} rules)`,
  );
}

for (const width of [4, 16] as const) {
  const seen = new Set<string>();
  while (seen.size < CIDRS) {
    const length = width === 4 ? 16 + random.int(17) : 32 + random.int(97);
    const bytes = Buffer.from(Uint8Array.from({ length: width }, () => random.int(256)));
    for (let bit = length; bit < width * 8; bit++) bytes[bit >> 3] = (bytes[bit >> 3] as number) & ~(0x80 >> (bit & 7));
    if (width === 4) seen.add(`${bytes.join(".")}/${length}`);
    else seen.add(`${(bytes.toString("hex").match(/..../g) as string[]).join(":")}/${length}`);
  }
  const cidrs = [...seen];
  const half = CIDRS / 2;
  let parsed: ReturnType<typeof parsePolicy> | undefined;
  const flags = { ...noFlags, cidr: cidrs.slice(0, half), denyCidr: cidrs.slice(half), port: ["tcp/443"] };
  const parse = ms(() => (parsed = parsePolicy(flags)));
  if (!parsed?.ok) throw new Error(parsed?.errors.join("\n"));
  const { spec } = parsed;
  const before = heap();
  let compiled: ReturnType<typeof compilePolicies> | undefined;
  const compile = ms(() => (compiled = compilePolicies([spec])));
  const size = heap() - before;
  const policy = compiled?.policies[0];
  const rules = spec.rules.flatMap((rule) => (rule.kind === "cidr" ? [rule.cidr.addr] : []));
  const hits = Array.from({ length: 200_000 }, () => random.pick(rules));
  const any: Addr[] = hits.map(() =>
    addrFromBytes(
      Uint8Array.from({ length: width }, () => random.int(256)),
      0,
      width,
    ),
  );
  console.log(
    `${CIDRS} IPv${width === 4 ? 4 : 6} CIDRs: parse ${parse.toFixed(0)} ms, compile ${compile.toFixed(0)} ms, ${(size / CIDRS).toFixed(0)} bytes a CIDR ` +
      `(entries, table, rule); decide: inside ${perCall(hits, (addr) => policy?.decideAddress(addr, 6, 443))}, ` +
      `anywhere ${perCall(any, (addr) => policy?.decideAddress(addr, 6, 443))}`,
  );
}
