/** The plots say what the results say, the same each time, in files that every viewer can read. */
import assert from "node:assert/strict";
import test from "node:test";
import { renderPlots } from "../../../bench/report/svg.js";
import { logDomain, logarithmic, nines, numberText } from "../../../bench/report/plot/scale.js";
import { results } from "./results.js";

const plots = renderPlots(results);
const plotOf = (name: string) => {
  const found = plots.find((plot) => plot.name === name);
  assert.ok(found, `no plot ${name}`);
  return found.svg;
};
/** Texts in their order, entities as they are. */
const textsOf = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);

test("one file for each thing that a scenario can show, none for one that failed", () => {
  assert.deepEqual(
    plots.map(({ name }) => name),
    ["connections-ratios.svg", "connections-latency.svg", "connections-growth.svg", "ebpf-growth.svg"],
  );
});

test("the same results give the same bytes", () => {
  assert.deepEqual(renderPlots(structuredClone(results)), plots);
});

test("well-formed: tags are closed in their order, texts are escaped, no number is missing", () => {
  for (const { svg } of plots) {
    const open: string[] = [];
    for (const [tag, end, name, self] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
      if (end) assert.equal(open.pop(), name, tag);
      else if (!self) open.push(name!);
    }
    assert.deepEqual(open, []);
    assert.equal(
      svg.replaceAll(/<\/?[a-z]+(?: [a-zA-Z][a-zA-Z0-9:-]*="[^"<>]*")*\/?>/g, "").match(/[<>]|&(?!amp;|lt;|gt;|quot;)/),
      null,
    );
    assert.doesNotMatch(svg, /NaN|Infinity|undefined|null/);
  }
});

test("ratios: the figure of each system with its unit, the reason where there is none", () => {
  const texts = textsOf(plotOf("connections-ratios.svg"));
  // A curve's largest point stands for it.
  assert.ok(texts.includes("new connections: whole hello, 256 clients, IPv4"), texts.join("\n"));
  assert.ok(texts.includes("ratio to plain forwarding, and connections/s; higher is better"), texts.join("\n"));
  assert.ok(texts.includes("0.65   (13.7 k)"), texts.join("\n"));
  assert.ok(texts.includes("not measured: not on the PATH &amp; no registry carries it &lt;egress-eddie&gt;"));
});

test("a bar is as long as its ratio", () => {
  const svg = plotOf("connections-ratios.svg");
  const widths = [...svg.matchAll(/<rect x="276" y="[\d.]+" width="([\d.]+)"/g)].map(([, width]) => Number(width));
  assert.equal(widths.length, 5);
  const [plain, dns, , nginx] = widths as [number, number, number, number];
  assert.ok(Math.abs(dns / plain - 0.98) < 0.002, `${dns} of ${plain}`);
  assert.ok(Math.abs(nginx / plain - 0.65) < 0.002, `${nginx} of ${plain}`);
});

test("latencies and growth: axes are named with their units, every line is in the legend", () => {
  const latency = textsOf(plotOf("connections-latency.svg"));
  for (const text of ["latency, µs", "percentile", "99.9 %", "nginx", "plain forwarding", "100", "1k"]) {
    assert.ok(latency.includes(text), `${text} is missing: ${latency.join("\n")}`);
  }
  const clients = textsOf(plotOf("connections-growth.svg"));
  for (const text of ["clients", "connections/s", "new connections: whole hello, IPv4 (higher is better)"]) {
    assert.ok(clients.includes(text), `${text} is missing: ${clients.join("\n")}`);
  }
  const growth = textsOf(plotOf("ebpf-growth.svg"));
  for (const text of ["CIDRs", "ns", "packet denied by a CIDR", "0", "1k", "100k"]) {
    assert.ok(growth.includes(text), `${text} is missing: ${growth.join("\n")}`);
  }
});

test("a system keeps its colour in every plot; plain forwarding is grey", () => {
  const one = renderPlots({
    ...results,
    rows: results.rows.filter(({ system }) => ["plain", "nginx"].includes(system)),
  });
  assert.match(one[0]!.svg, /class="fill s2"/);
  assert.match(plots[0]!.svg, /class="fill s2"/);
  assert.match(one[0]!.svg, /class="fill plain"/);
});

test("readable on a dark ground as on a light one", () => {
  for (const { svg } of plots) {
    assert.match(svg, /\.ground\{fill:#ffffff\}/);
    assert.match(svg, /@media \(prefers-color-scheme:dark\)\{\.ground\{fill:#0d1117\}/);
  }
});

test("scales", () => {
  const log = logarithmic([1, 1_000], { from: 0, to: 300 });
  assert.deepEqual(
    [1, 10, 100, 1_000, 5_000].map((value) => Math.round(log(value))),
    [0, 100, 200, 300, 300],
  );
  assert.deepEqual(
    log.ticks.map(({ text }) => text),
    ["1", "10", "100", "1k"],
  );
  const withZero = logarithmic([1_000, 100_000], { from: 0, to: 300 }, true);
  assert.equal(withZero(0), 0);
  assert.ok(withZero(1_000) > 30 && Math.round(withZero(100_000)) === 300);
  const percentiles = nines({ from: 0, to: 400 });
  assert.deepEqual(
    [0, 90, 99, 99.9].map((value) => Math.round(percentiles(value))),
    [0, 100, 200, 300],
  );
  assert.deepEqual(logDomain([3, 70]), [2, 100]);
  assert.deepEqual(logDomain([5, 5]), [2.5, 10]);
  assert.deepEqual([0.05, 12, 1_500, 2e6].map(numberText), ["0.05", "12", "1.5k", "2M"]);
});
