/** docs/policy.md promises things; they are held against the code. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Reason, reasonName } from "../../../src/core/abi.generated.js";
import { formatCidr } from "../../../src/core/policy/cidr.js";
import { compilePolicies } from "../../../src/core/policy/compile.js";
import { formatRange } from "../../../src/core/policy/ports.js";
import { policyOf, specOf } from "./random.js";

const text = readFileSync(new URL("../../../docs/policy.md", import.meta.url), "utf8");

/** Rows of the table behind a heading, without its head: cells as text. */
function table(headline: string): string[][] {
  const section = text.split(headline)[1] ?? "";
  const lines = section.slice(section.indexOf("\n|") + 1).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(0, end).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test("every reason stands in the table once, and nothing else does", () => {
  const documented = table("## Reasons")
    .slice(2)
    .map((row) => (row[0] as string).replaceAll("`", ""));
  const known = Object.values(Reason)
    .filter((code) => code !== Reason.MAX)
    .map(reasonName);
  assert.deepEqual(documented, known);
});

test("the truth table of name forms", () => {
  const [head, , ...rows] = table("## Names") as [string[], string[], ...string[][]];
  const names = head.slice(1, -1).map((cell) => cell.replaceAll("`", ""));
  assert.equal(names.length, 5);
  assert.equal(rows.length, 6);
  for (const [written, ...cells] of rows) {
    const [, flag, pattern] = /^`--(\w+) (.+)`$/.exec(written as string) as unknown as [
      string,
      "cn" | "domain",
      string,
    ];
    const policy = policyOf({ [flag]: [pattern] });
    names.forEach((name, i) => {
      assert.equal(policy.matchName(name) ? "yes" : "no", cells[i], `${written} and ${name}`);
    });
  }
});

test("the worked example of push-down", () => {
  const line = /^ {4}(--cidr .*)$/m.exec(text)?.[1] as string;
  const given = (flag: string) =>
    [...line.matchAll(new RegExp(`--${flag} (\\S+)`, "g"))].map((match) => match[1] as string);
  const spec = specOf({
    cidr: given("cidr"),
    denyCidr: given("deny-cidr"),
    resolver: given("resolver"),
    port: given("port"),
  });
  const { tables } = compilePolicies([spec]);
  const rows = tables.cidrs.map((entry) => {
    const ranges = tables.portSets[entry.ports] as NonNullable<(typeof tables.portSets)[number]>;
    const closed = ranges.some((range) => range.proto === 0);
    const rest =
      entry.verdict === "deny" ? "deny (`deny-cidr`)" : entry.strict ? "deny (`port`)" : closed ? "" : "names";
    return [
      `\`${formatCidr(entry)}\``,
      ranges.map((range) => `${range.verdict} ${formatRange(range)}`).join(", "),
      rest,
    ];
  });
  assert.deepEqual(
    table("the entries are")
      .slice(2)
      .map((row) => row.slice(0, 3)),
    rows,
  );
});
