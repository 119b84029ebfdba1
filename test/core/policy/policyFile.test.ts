/** A policy as a file: what it may say, and every error with its place. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { keyOf } from "../../../src/core/policy/flags.js";
import { parsePolicy } from "../../../src/core/policy/parse.js";
import { maxEntries, readPolicyText, type ListReader } from "../../../src/core/policy/policyFile.js";
import type { PolicySpec } from "../../../src/core/policy/types.js";
import { noFlags } from "./random.js";

const identity = { id: 1, name: "default" };
const lists: Record<string, string> = {
  "names.txt": "# comment\nwww.x.io\n\n  api.x.io  # why\n*.y.io\t# tab\r\n",
  "bad.txt": "a.io\n  b..io # no\na.io\n",
  "empty.txt": "# nothing\n",
};
const readList: ListReader = (path) =>
  path in lists
    ? { ok: true, name: `lists/${path}`, text: lists[path] as string }
    : { ok: false, error: "no such file" };
const read = (text: string) => readPolicyText("p.yaml", text, readList, identity);

function specOf(text: string): PolicySpec {
  const parsed = read(text);
  assert.ok(parsed.ok, parsed.ok ? "" : parsed.errors.join("\n"));
  return parsed.spec;
}

function errorsOf(text: string): readonly string[] {
  const parsed = read(text);
  assert.ok(!parsed.ok, "it was taken for good");
  return parsed.errors;
}

const rulesOf = (text: string) => specOf(text).rules.map((rule) => rule.text);

describe("what a file may say", () => {
  it("the same as the flags, key by key", () => {
    const flags = {
      ...noFlags,
      cidr: ["10.0.0.0/8", "2001:db8::/32"],
      denyCidr: ["10.66.0.0/16"],
      cn: [".ubuntu.com"],
      domain: ["api.x.io", "*.y.io"],
      resolver: ["192.0.2.53"],
      port: ["tcp/443", "udp/100-200"],
      namePort: ["8443"],
      verify: "sni",
      reject: "drop",
      dnsDeny: "nxdomain",
    } as const;
    const text = Object.entries(flags)
      .map(
        ([flag, value]) =>
          `${keyOf(flag as keyof typeof flags)}: ${typeof value === "string" ? value : JSON.stringify(value)}\n`,
      )
      .join("");
    const fromFlags = parsePolicy(flags, identity);
    assert.ok(fromFlags.ok);
    const rules = fromFlags.spec.rules.map((rule) => ({ ...rule, text: rule.text.slice(2) }));
    assert.deepEqual(specOf(text), { ...fromFlags.spec, rules });
  });

  it("lists in either form, one entry without a list, comments, CRLF, a byte order mark", () => {
    assert.deepEqual(rulesOf("domain: a.io\ncidr: [10.0.0.0/8]\n"), ["cidr 10.0.0.0/8", "domain a.io"]);
    assert.deepEqual(rulesOf("# why\r\ndomain:\r\n  - a.io # so\r\n  - 'b.io'\r\n"), ["domain a.io", "domain b.io"]);
    assert.deepEqual(rulesOf("\uFEFFdomain: a.io"), ["domain a.io"]);
    assert.deepEqual(rulesOf("domain:\n  # - later.io\ncidr: 10.0.0.0/8\n"), ["cidr 10.0.0.0/8"]);
  });

  it("everything is text: no is a name, 443 a port, 1e3.io a name", () => {
    assert.deepEqual(rulesOf("domain: [no, true.io, 1e3.io]\nport: 443\n"), [
      "domain no",
      "domain true.io",
      "domain 1e3.io",
    ]);
    assert.deepEqual(
      specOf("domain: a.io\nport: [443]\n").ports.map(({ low }) => low),
      [443, 443],
    );
  });

  it("lists in files of their own, beside entries", () => {
    assert.deepEqual(rulesOf("domain: a.io\ndomain-file: names.txt\n"), [
      "domain a.io",
      "domain www.x.io",
      "domain api.x.io",
      "domain *.y.io",
    ]);
    assert.deepEqual(rulesOf("domain-file: [names.txt, empty.txt]\n").length, 3);
  });

  it("the example in docs/ is good, and has every key", () => {
    const text = readFileSync(new URL("../../../docs/policy.example.yaml", import.meta.url), "utf8");
    assert.ok(specOf(text).rules.length > 3);
    // Each key stands there, if only in a comment; and with the comments taken away it is good as well.
    const all = text.replace(/^# ?(?=[a-z-]+:|  - )/gm, "");
    for (const key of [
      "cidr",
      "deny-cidr",
      "cn",
      "domain",
      "resolver",
      "port",
      "name-port",
      "verify",
      "reject",
      "dns-deny",
    ]) {
      assert.match(all, new RegExp(`^${key}:`, "m"));
    }
    assert.ok(specOf(all.replace(/^[a-z-]+-file:.*\n(  - .*\n)*/gm, "")).rules.length > 3);
  });
});

describe("errors: one line each, with line and column", () => {
  const cases: readonly (readonly [title: string, text: string, errors: readonly string[]])[] = [
    ["nothing", "", ["p.yaml:1:1: no rules at all: nothing could pass; give at least one cidr, cn or domain"]],
    ["only comments", "\n# a\n", ["p.yaml:1:1: no rules at all: nothing could pass; give at least one cidr, cn or domain"]],
    ["a tab", "domain:\n\t- a.io\n", ["p.yaml:2:1: a tab at the beginning of a line; indent with spaces"]],
    ["no end", "domain: 'a.io\n", ["p.yaml:2:1: Missing closing 'quote"]],
    ["a list", "- a.io\n", ["p.yaml:1:1: a policy is a list of keys and values, such as `domain: [api.example.com]`"]],
    ["a word", "a.io\n", ["p.yaml:1:1: a policy is a list of keys and values, such as `domain: [api.example.com]`"]],
    ["an unknown key", "domian: a.io\n", ["p.yaml:1:1: domian: no such key; did you mean domain?"]],
    ["another spelling", "deny_cidr: 10.0.0.0/8\nDomain: a.io\n", ["p.yaml:1:1: deny_cidr: no such key; did you mean deny-cidr?", "p.yaml:2:1: Domain: no such key; did you mean domain?"]],
    ["a key of nobody's", "domain: a.io\nxyzzy: 1\n", ["p.yaml:2:1: xyzzy: no such key; there are cidr, cidr-file, deny-cidr, deny-cidr-file, cn, cn-file, domain, domain-file, resolver, port, name-port, verify, reject, dns-deny, quic"]],
    ["an option of the command line", "domain: a.io\nqueue: 3\n", ["p.yaml:2:1: queue: no such key; there are cidr, cidr-file, deny-cidr, deny-cidr-file, cn, cn-file, domain, domain-file, resolver, port, name-port, verify, reject, dns-deny, quic"]],
    ["a key twice", "domain: a.io\ndomain: b.io\n", ["p.yaml:2:1: domain: stands here for the second time; put its entries into one list"]],
    ["a map for a list", "domain: {a: b}\n", ["p.yaml:1:9: domain: give one entry, or a list of them"]],
    ["a map in a list", "domain:\n  - a.io\n  - b: c\n", ["p.yaml:3:5: domain: give one entry, or a list of them"]],
    ["a list for a word", "domain: a.io\nverify: [dns]\n", ["p.yaml:2:9: verify: give one word"]],
    ["an unknown word", "domain: a.io\nverify: dsn\n", ["p.yaml:2:9: verify dsn: unknown; one of dns, sni, both"]],
    ["an empty word", "domain: a.io\nverify:\n", ["p.yaml:2:1: verify: nothing is given; leave the key out, or give a word"]],
    ["an empty entry", 'domain: ""\n', ["p.yaml:1:1: domain: nothing is given; leave the key out, or give entries"]],
    ["no port: not every port by accident", "domain: a.io\nport:\n  # - tcp/443\nname-port: []\nresolver:\n", ["p.yaml:2:1: port: nothing is given; leave the key out, or give entries", "p.yaml:4:1: name-port: nothing is given; leave the key out, or give entries", "p.yaml:5:1: resolver: nothing is given; leave the key out, or give entries"]],
    ["an anchor and an alias", "domain: &a a.io\ncn: *a\n", ["p.yaml:1:12: anchors and aliases are not taken here; write it out", "p.yaml:2:5: anchors and aliases are not taken here; write it out"]],
    ["a tag", "domain: !!str a.io\n", ["p.yaml:1:15: tags are not taken here; everything is text"]],
    ["a merge key", "domain: a.io\n<<: {cn: b.io}\n", ["p.yaml:2:1: <<: no such key; there are cidr, cidr-file, deny-cidr, deny-cidr-file, cn, cn-file, domain, domain-file, resolver, port, name-port, verify, reject, dns-deny, quic"]],
    ["two documents", "domain: a.io\n---\ncn: b.io\n", ["p.yaml:2:1: a second document begins here; a policy is one"]],
    ["a bad name and a bad network", "domain:\n  - good.io\n  - a..io\ncidr: [10.0.0.1/8]\n", ["p.yaml:4:8: cidr 10.0.0.1/8: host bits are set; the network is 10.0.0.0/8", "p.yaml:3:5: domain a..io: an empty label: a dot too many, or nothing but a dot"]],
    ["a hint that speaks of flags", "cidr: x.io\n", ["p.yaml:1:7: cidr x.io: not an address; if x.io is a name, use domain for it"]],
    ["given twice", "domain:\n  - a.io\n  - a.io\n", ["p.yaml:3:5: domain a.io: given twice"]],
    ["a contradiction", "cidr: 10.0.0.0/8\ndeny-cidr: 10.0.0.0/8\n", ["p.yaml:1:7: cidr 10.0.0.0/8: contradicts deny-cidr 10.0.0.0/8; keep one of them"]],
    ["in a list of its own", "domain-file: bad.txt\n", ["lists/bad.txt:2:3: domain b..io: an empty label: a dot too many, or nothing but a dot", "lists/bad.txt:3:1: domain a.io: given twice"]],
    ["a list that isn't there", "cn-file: nowhere.txt\n", ["p.yaml:1:10: cn-file nowhere.txt: no such file"]],
  ]; // prettier-ignore
  for (const [title, text, errors] of cases) {
    it(title, () => assert.deepEqual(errorsOf(text), errors));
  }

  it("a hundred lines at most, however many keys are wrong", () => {
    const errors = errorsOf(Array.from({ length: 50_000 }, (_, i) => `key${i}: x\n`).join(""));
    assert.ok(errors.length <= 101, `${errors.length}`);
  });

  it("a bomb of aliases is refused where it begins, and nothing is multiplied", () => {
    const bomb = `a: &a [${"x, ".repeat(9)}x]\n${Array.from({ length: 8 }, (_, i) => `${"bcdefghi"[i]}: &${"bcdefghi"[i]} [${`*${"abcdefgh"[i]}, `.repeat(9)}*${"abcdefgh"[i]}]\n`).join("")}`;
    const begun = performance.now();
    assert.match(errorsOf(bomb)[0] as string, /^p\.yaml:1:1: a: no such key/);
    assert.ok(performance.now() - begun < 1_000);
  });

  it("a key of a mebibyte is refused at once", () => {
    const begun = performance.now();
    assert.match(errorsOf(`? ${"a".repeat(2 ** 20)}\n: x\n`)[0] as string, /^p\.yaml:1:3: a{20,}….*: no such key/);
    assert.ok(performance.now() - begun < 1_000);
  });

  it("too many entries are one line, not memory", () => {
    const line = "a.io\n";
    const many: ListReader = () => ({ ok: true, name: "many.txt", text: line.repeat(maxEntries + 5) });
    const parsed = readPolicyText("p.yaml", "domain-file: many.txt\n", many, identity);
    assert.ok(!parsed.ok);
    assert.deepEqual(parsed.errors, [`many.txt:${maxEntries + 1}:1: more than 4,000,000 entries`]);
  });
});
