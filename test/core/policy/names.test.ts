import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseDomain } from "../../../src/core/policy/namePattern.js";
import { NameIndex } from "../../../src/core/policy/nameIndex.js";
import type { NamePattern } from "../../../src/core/policy/types.js";
import { policyOf, Random } from "./random.js";

describe("each form and its neighbours", () => {
  const NAMES = [
    "ome.com",
    "home.com",
    "www.rome.com",
    "www.ome.com",
    "ome.com.evil.io",
    "ome.co",
    "me.com",
    "x.io",
    "a.x.io",
    "b.a.x.io",
    "ax.io",
    "b.ax.io",
    "x.io.evil.io",
    "a.x.iox",
    "y.io",
    "io",
    "",
  ];
  const cases: readonly (readonly [flag: "domain" | "cn", pattern: string, matches: readonly string[]])[] = [
    ["domain", "x.io", ["x.io"]],
    ["domain", "a.x.io", ["a.x.io"]],
    ["domain", "*.x.io", ["a.x.io", "b.a.x.io"]],
    ["domain", ".x.io", ["x.io", "a.x.io", "b.a.x.io"]],
    ["domain", "suffix:x.io", ["x.io", "a.x.io", "b.a.x.io", "ax.io", "b.ax.io"]],
    ["domain", "suffix:.x.io", ["a.x.io", "b.a.x.io"]],
    ["domain", "*.io", NAMES.filter((name) => name.endsWith(".io"))],
    ["domain", ".io", NAMES.filter((name) => name === "io" || name.endsWith(".io"))],
    ["cn", "ome.com", ["ome.com", "home.com", "www.rome.com", "www.ome.com"]],
    ["cn", ".ome.com", ["www.ome.com"]],
    ["cn", "io", NAMES.filter((name) => name.endsWith("io"))],
  ];
  for (const [flag, pattern, matches] of cases) {
    test(`--${flag} ${pattern}`, () => {
      const policy = policyOf({ [flag]: [pattern] });
      assert.deepEqual(
        NAMES.filter((name) => policy.matchName(name) !== undefined),
        matches,
      );
    });
  }
});

test("the rule that is reported is the most specific one", () => {
  const domain = ["suffix:io", "suffix:x.io", "suffix:b.x.io", ".io", "*.x.io", ".x.io", "a.x.io", "*.b.x.io"];
  const policy = policyOf({ domain });
  const reported = (name: string) => policy.ruleText(policy.matchName(name)?.rule ?? 0).replace("--domain ", "");
  assert.equal(reported("a.x.io"), "a.x.io");
  assert.equal(reported("c.x.io"), "*.x.io");
  assert.equal(reported("x.io"), ".x.io");
  assert.equal(reported("a.b.x.io"), "*.b.x.io");
  assert.equal(reported("b.x.io"), "*.x.io");
  assert.equal(reported("y.io"), ".io");
  assert.equal(reported("bio"), "suffix:io");
  assert.equal(reported("io.com"), "no rule");
  assert.deepEqual(
    policy.matchingRules("a.b.x.io").map((rule) => domain[rule - 1]),
    ["*.b.x.io", "*.x.io", ".x.io", ".io", "suffix:b.x.io", "suffix:x.io", "suffix:io"],
  );
});

test("of two equal patterns the first counts", () => {
  for (const kind of ["exact", "below", "apexAndBelow", "suffix"] as const) {
    const pattern = { kind, name: "x.io" };
    const index = new NameIndex([
      { pattern, rule: 7 },
      { pattern, rule: 8 },
    ]);
    assert.equal(index.match(kind === "exact" ? "x.io" : "a.x.io"), 7, kind);
  }
});

test("names of 127 labels and of odd bytes", () => {
  const policy = policyOf({ domain: ["*.x.io", "suffix:ome.com"] });
  assert.ok(policy.matchName(`${"a.".repeat(124)}x.io`));
  assert.equal(policy.matchName(`${"a.".repeat(124)}y.io`), undefined);
  const deep = `${"a.".repeat(120)}x.io`;
  assert.ok(policyOf({ domain: [`*.${deep}`] }).matchName(`b.${deep}`));
  assert.equal(policyOf({ domain: [`*.${deep}`] }).matchName(deep), undefined);
  // What a client may put on the wire: matched as bytes, never a reason to throw.
  assert.ok(policy.matchName("~!.x.io"));
  assert.ok(policy.matchName("\u00ffome.com"));
  assert.equal(policy.matchName("."), undefined);
  assert.equal(policy.matchName(".."), undefined);
});

test("a name is never matched as a number or a property of an object", () => {
  const policy = policyOf({ domain: ["x.io"] });
  for (const name of ["constructor", "__proto__", "toString", "0", "hasownproperty"]) {
    assert.equal(policy.matchName(name), undefined, name);
  }
  assert.ok(policyOf({ domain: ["constructor", "__proto__"] }).matchName("__proto__"));
});

/** The definition, word for word. */
function matches(pattern: NamePattern, name: string): boolean {
  switch (pattern.kind) {
    case "exact":
      return name === pattern.name;
    case "below":
      return name.endsWith(`.${pattern.name}`);
    case "apexAndBelow":
      return name === pattern.name || name.endsWith(`.${pattern.name}`);
    case "suffix":
      return name.endsWith(pattern.name);
  }
}

/** Greater is more specific: exact, then dots by length (`*.` before `.`), then suffix by length. */
function specificity(pattern: NamePattern): number {
  const kind = { exact: 3000, below: 2000, apexAndBelow: 2000, suffix: 1000 }[pattern.kind];
  return kind + 2 * pattern.name.length + (pattern.kind === "below" ? 1 : 0);
}

test("property: the index answers as the definition does", () => {
  let hits = 0;
  for (let seed = 0; seed < 60; seed++) {
    const random = new Random(seed);
    // Two letters and short labels: most names have several patterns that match.
    const name = () =>
      Array.from({ length: 1 + random.int(4) }, () => random.pick(["a", "b", "ab", "ba", "bb"])).join(".");
    const names = Array.from({ length: 1 + random.int(40) }, (_, i) => {
      const kind = random.pick(["exact", "below", "apexAndBelow", "suffix"] as const);
      return { pattern: { kind, name: (kind === "suffix" && random.chance(3) ? "." : "") + name() }, rule: i + 1 };
    });
    const index = new NameIndex(names);
    for (let i = 0; i < 300; i++) {
      const asked = name();
      const all = names
        .filter(({ pattern }) => matches(pattern, asked))
        .sort((a, b) => specificity(b.pattern) - specificity(a.pattern) || a.rule - b.rule)
        .filter(
          (one, j, list) => j === 0 || specificity(one.pattern) !== specificity((list[j - 1] as typeof one).pattern),
        );
      if (all.length > 0) hits++;
      assert.equal(index.match(asked), all[0]?.rule ?? 0, `seed ${seed}: ${asked}`);
      assert.deepEqual(
        index.matchAll(asked),
        all.map((one) => one.rule),
        `seed ${seed}: ${asked}`,
      );
    }
  }
  assert.ok(hits > 5000, `${hits} names matched`);
});

test("property: the longest ending among thousands, of every kind", () => {
  const random = new Random(99);
  const text = (max: number) =>
    Array.from({ length: 1 + random.int(max) }, () => random.pick(["a", "b", "c", ".", "-"])).join("");
  for (const kind of ["exact", "below", "apexAndBelow", "suffix"] as const) {
    const names = Array.from({ length: 5000 }, (_, i) => ({ pattern: { kind, name: text(9) }, rule: i + 1 }));
    const rules = new Map<string, number>();
    for (const one of names) if (!rules.has(one.pattern.name)) rules.set(one.pattern.name, one.rule);
    const index = new NameIndex(names);
    let hits = 0;
    for (let i = 0; i < 5000; i++) {
      const name = text(14);
      let expected = 0;
      for (let at = name.length - 1; at >= 0; at--) {
        const ending = name.slice(at);
        if (matches({ kind, name: ending }, name)) expected = rules.get(ending) ?? expected;
      }
      if (expected > 0) hits++;
      assert.equal(index.match(name), expected, `${kind} ${name}`);
    }
    assert.ok(hits > 500, `${kind}: ${hits} hits`);
  }
});

test("patterns with one text and different kinds are told apart", () => {
  const rules = { exact: 1, below: 2, apexAndBelow: 3, suffix: 4 } as const;
  const kinds = ["exact", "below", "apexAndBelow", "suffix"] as const;
  for (const absent of kinds) {
    const present = kinds.filter((kind) => kind !== absent);
    const index = new NameIndex(present.map((kind) => ({ pattern: { kind, name: "x.io" }, rule: rules[kind] })));
    assert.ok(!index.matchAll("x.io").includes(rules[absent]), absent);
    assert.ok(!index.matchAll("a.x.io").includes(rules[absent]), absent);
    assert.equal(index.match("x.io"), absent === "exact" ? 3 : 1);
    assert.equal(index.match("a.x.io"), absent === "below" ? 3 : 2);
    assert.equal(index.match("ax.io"), absent === "suffix" ? 0 : 4);
  }
});

test("an empty index", () => {
  const index = new NameIndex([]);
  assert.equal(index.match("x.io"), 0);
  assert.equal(index.match(""), 0);
  assert.deepEqual(index.matchAll("x.io"), []);
});

describe("the patterns behind the rules", () => {
  const patterns = ["www.x.io", "*.x.io", ".x.io", "suffix:x.io", "y.io"].map((text) => {
    const parsed = parseDomain(text);
    assert.ok(parsed.ok);
    return parsed.value;
  });
  const index = new NameIndex(patterns.map((pattern, i) => ({ pattern, rule: 1000 + i })));

  test("each rule knows its own, also in the memory that another thread is given", () => {
    for (const one of [index, NameIndex.of(index.memory)]) {
      patterns.forEach((pattern, i) => assert.deepEqual(one.patternOf(1000 + i), pattern));
      for (const rule of [0, 1, 999, 1005, 2 ** 32 - 1]) assert.equal(one.patternOf(rule), undefined, `${rule}`);
      assert.equal(one.match("a.x.io"), 1001);
    }
    assert.equal(new NameIndex([]).patternOf(1), undefined);
  });

  test("has: this pattern, of this kind", () => {
    for (const pattern of patterns) assert.ok(index.has(pattern));
    assert.ok(!index.has({ kind: "below", name: "y.io" }));
    assert.ok(!index.has({ kind: "exact", name: "x.io" }));
    assert.ok(!index.has({ kind: "exact", name: "ww.x.io" }));
  });
});
