/** Tables of what one system does at several points. */
import assert from "node:assert/strict";
import test from "node:test";
import { noRow, row } from "../../../bench/harness/results.js";
import { countedOf, curveKey } from "../../../bench/report/points.js";
import { pivotsOf } from "../../../bench/report/pivot.js";
import { renderTables } from "../../../bench/report/table.js";
import { renderMarkdown } from "../../../bench/report/markdown.js";
import { results } from "./results.js";

const head = (metric: string, point: string, x?: number, unit = "ms") => ({
  ...{ scenario: "startup", metric, point, system: "l7egg run", unit, better: "lower" as const },
  ...(x === undefined ? {} : { x }),
});
const rows = [
  row(head("start", "1,000 names", 1_000), [900, 950, 1_200]),
  row(head("start", "1 name", 1), [800]),
  row(head("memory", "1 name", 1, "MiB"), [75], { note: "idle" }),
  row(head("start", "100 CIDRs", 100), [810]),
  noRow(head("reload", "1 name"), "there is none"),
];

test("a table for each thing that is counted, its points in rising order, a line for each metric", () => {
  assert.deepEqual(pivotsOf(rows), [
    {
      title: "names",
      head: ["", "1 name", "1,000 names"],
      lines: [
        ["start, ms", "800", "950 (900–1,200)"],
        ["memory, MiB", "75", ""],
      ],
      remarks: ["memory, 1 name: idle", "no figure for reload, 1 name: there is none"],
    },
    { title: "CIDRs", head: ["", "100 CIDRs"], lines: [["start, ms", "810"]], remarks: [] },
  ]);
});

test("several systems are compared with each other instead; nothing measured is no table", () => {
  assert.equal(pivotsOf([...rows, { ...rows[0]!, system: "plain" }]), undefined);
  assert.equal(pivotsOf([]), undefined);
});

test("what a point counts, and what else it says", () => {
  const read = (point: string, x?: number) => countedOf({ point, ...(x === undefined ? {} : { x }) });
  assert.deepEqual(read("1,000 CIDRs, 16 flows"), { thing: "CIDRs", rest: "16 flows" });
  assert.deepEqual(read("1,000 CIDRs, 16 flows", 16), { thing: "flows", rest: "1,000 CIDRs" });
  assert.deepEqual(read("names never seen, 64 clients, IPv4", 64), {
    thing: "clients",
    rest: "names never seen, IPv4",
  });
  assert.deepEqual(read("warm"), { thing: "warm", rest: "" });
  assert.equal(curveKey({ point: "1 client, IPv4", x: 1 }), curveKey({ point: "256 clients, IPv4", x: 256 }));
  assert.equal(curveKey({ point: "1 name in the policy", x: 1 }), curveKey({ point: "10 names in the policy", x: 10 }));
  assert.notEqual(curveKey({ point: "1 client, IPv4", x: 1 }), curveKey({ point: "16 clients, IPv6", x: 16 }));
});

test("terminal and page show the same cells", () => {
  const scenarios = [{ letter: "k", name: "startup", title: "Start-up", how: "By the log.", seconds: 1 }];
  const all = { ...results, scenarios, rows };
  const [terminal, page] = [renderTables(all), renderMarkdown(all, [])];
  for (const text of ["950 (900–1,200)", "start, ms", "1,000 names", "no figure for reload, 1 name: there is none"]) {
    assert.ok(terminal.includes(text), `${text} is not in\n${terminal}`);
    assert.ok(page.includes(text), `${text} is not in\n${page}`);
  }
});
