/** Ratios, cells, the page: what an engineer reads. */
import assert from "node:assert/strict";
import test from "node:test";
import { row, noRow } from "../../../bench/harness/results.js";
import type { Row } from "../../../bench/harness/types.js";
import { cellsOf } from "../../../bench/report/cells.js";
import { stemOf } from "../../../bench/report/files.js";
import { bestPeer, groupsOf, isPeer, ratioOf, ratiosOf } from "../../../bench/report/groups.js";
import { markdownTable, renderMarkdown } from "../../../bench/report/markdown.js";
import { renderTables } from "../../../bench/report/table.js";
import { results } from "./results.js";

const head = { scenario: "s", metric: "m", point: "p", unit: "connections/s", better: "higher" } as const;
const of = (system: string, ...samples: number[]): Row => row({ ...head, system }, samples);
const rows = [of("plain", 100, 200), of("l7egg-both", 120, 120), of("nginx", 60), of("haproxy", 90), of("direct", 300)];
const none = noRow({ ...head, system: "squid" }, "not installed");

test("a group is what has the same scenario, metric and point; who has no figure is listed by reason", () => {
  const also = noRow({ ...head, system: "sniproxy" }, "not installed");
  const other = row({ ...head, point: "q", system: "plain" }, [1]);
  const groups = groupsOf([...rows, none, other, also]);
  assert.deepEqual(groups.map(({ point, rows: inside }) => [point, inside.length]), [["p", 5], ["q", 1]]); // prettier-ignore
  assert.deepEqual(groups[0]!.missing, [{ reason: "not installed", systems: ["squid", "sniproxy"] }]);
});

test("ratios: to plain forwarding and to the best peer; neither l7egg nor the generators alone are peers", () => {
  const [group] = groupsOf(rows);
  assert.equal(bestPeer(group!)?.system, "haproxy");
  const ratios = Object.fromEntries(rows.map((one) => [one.system, ratiosOf(one, group!)]));
  assert.deepEqual(ratios["plain"], {});
  assert.deepEqual(ratios["l7egg-both"], {
    plain: { median: (120 / 100 + 120 / 200) / 2, low: 120 / 200, high: 120 / 100 },
    peer: { median: 120 / 90, low: 120 / 90, high: 120 / 90 },
  });
  assert.deepEqual(ratios["haproxy"], { plain: { median: 0.9, low: 0.9, high: 0.9 } });
  assert.ok(!isPeer("l7egg-sni") && !isPeer("plain") && !isPeer("direct") && isPeer("npm-nfqueue"));
});

test("where less is better, the best peer is the one with least", () => {
  const [group] = groupsOf(rows.map((one) => ({ ...one, better: "lower" as const })));
  assert.equal(bestPeer(group!)?.system, "nginx");
});

test("a ratio is of the rounds, not of the medians: a slow round is slow for both", () => {
  // The medians are both 500.
  const [plain, one] = [of("plain", 1_000, 100, 500), of("l7egg-both", 500, 60, 600)];
  assert.deepEqual(ratioOf(one, plain), { median: 0.6, low: 0.5, high: 1.2 });
  // A round that had no time any more has no ratio.
  assert.equal(ratioOf(of("l7egg-both", 800, 90), plain)?.high, 0.9);
  assert.equal(ratioOf(plain, none), undefined);
});

test("no peer, no plain forwarding: no ratio, instead of one to nothing", () => {
  const alone = of("l7egg-both", 5);
  assert.deepEqual(ratiosOf(alone, { rows: [alone], better: "higher" }), {});
  const zero = of("plain", 0);
  assert.deepEqual(ratiosOf(alone, { rows: [zero, alone], better: "higher" }), {});
});

test("cells: columns that nobody fills are left out, reasons stand below", () => {
  const [group] = groupsOf([...rows, none]);
  const { head: columns, lines, remarks } = cellsOf({ systems: [] }, group!);
  assert.deepEqual(columns, ["", "connections/s", "range", "× plain", "× best peer"]);
  assert.deepEqual(lines[0], ["plain", "150", "100 – 200", "", ""]);
  assert.deepEqual(lines[1], ["l7egg-both", "120", "120 – 120", "0.90 (0.60–1.20)", "1.33"]);
  assert.deepEqual(lines[3], ["haproxy", "90", "", "0.90", "best peer"]);
  assert.equal(remarks.length, 1);
  assert.match(remarks[0]!, /\bsquid: not installed$/);
});

test("cells: latency, processor time, memory and notes where there are any; times are not shortened", () => {
  const latency = [50, 99, 99.9].map((percentile, i) => [percentile, 1_234.4 * 10 ** i] as const);
  const extras = { latency, cpuUsPerUnit: 61.25, peakRssKiB: 92_160, note: "3 failed" };
  const [group] = groupsOf([row({ ...head, unit: "µs", better: "lower", system: "nginx" }, [1_234.4], extras)]);
  const { lines } = cellsOf({ systems: [] }, group!);
  assert.deepEqual(lines[0], ["nginx", "1,234", "best peer", "1,234 / 12,344 / 123,440", "61.3", "90", "3 failed"]);
});

test("cells: where a time is the figure, what is added to plain forwarding", () => {
  const time = (system: string, p50: number, p99: number) =>
    row({ ...head, unit: "µs", better: "lower", system }, [p50], { latency: [[50, p50], [99, p99], [99.9, p99]] }); // prettier-ignore
  const { head: columns, lines } = cellsOf({ systems: [] }, groupsOf([time("plain", 80, 200), time("l7egg-both", 95.4, 190)])[0]!); // prettier-ignore
  const at = columns.indexOf("µs added p50 / p99");
  assert.deepEqual([lines[0]![at], lines[1]![at]], ["", "15 / -10"]);
});

test("Markdown: what would break a table or become markup is escaped", () => {
  assert.equal(markdownTable(["", "note"], [["a|b", "*.x\ny"]]), "|  | note |\n| --- | --- |\n| a\\|b | \\*.x y |");
});

test("the page names machine, command, every system with its note, every scenario, every reason; plots stand with their scenario", () => {
  const page = renderMarkdown(results, [{ file: "plot.svg", title: "A plot", scenario: results.scenarios[0]!.name }]);
  for (const text of [results.command, results.machine.kernel, results.machine.cpu, "![A plot](plot.svg)"]) {
    assert.ok(page.includes(text), text);
  }
  for (const { title, how } of results.scenarios) assert.ok(page.includes(title) && page.includes(how), title);
  for (const { title, version } of results.systems) assert.ok(page.includes(title) && page.includes(version), title);
  assert.ok(page.includes("no registry carries it"));
});

test("the terminal's tables hold the same", () => {
  const text = renderTables({ ...results, scenarios: [...results.scenarios, { ...results.scenarios[0]!, name: "x", error: "no server" }] }); // prettier-ignore
  for (const { title } of results.scenarios) assert.ok(text.includes(title));
  assert.match(text, /NOT MEASURED: no server/);
  assert.match(text, /best peer/);
});

test("file names: date, processor, and whether it was quick", () => {
  const date = "2026-01-02T03:04:05.000Z";
  const stem = (cpu: string, quick = false) => stemOf({ date, quick, machine: { cpu } });
  assert.equal(stem("AMD EPYC"), "2026-01-02-amd-epyc");
  assert.equal(stem("Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz", true), "2026-01-02-intel-xeon-e5-2670-v3-quick");
  assert.equal(stem("???"), "2026-01-02-cpu");
});
