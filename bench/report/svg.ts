/**
 * The plots of a report, made from its results and nothing else: the same results give the same bytes. For each scenario, as far as it has what they show:
 * ratios to plain forwarding as bars, latencies as distributions, growth as curves.
 *
 * Made here instead of with a library: those that draw charts need a browser's DOM or a canvas, and the few shapes below are less than their set-up.
 */
import type { Results, ScenarioInfo } from "../harness/results.js";
import type { Row } from "../harness/types.js";
import { renderBars, type BarPanel, type Style } from "./plot/bars.js";
import { countedOf, curveKey } from "./points.js";
import { renderCurves, renderLatencies, type Line, type LinePanel } from "./plot/lines.js";

export interface Plot {
  /** File name. */
  readonly name: string;
  readonly title: string;
  /** Of `ScenarioInfo.name`. */
  readonly scenario: string;
  readonly svg: string;
}

/** Panels of one plot: with more nobody would look at them. */
const MOST_PANELS = 8;
const MOST_LINES = 10;
const PLAIN = "plain";

export function renderPlots(results: Results): Plot[] {
  const style = styleOf(results);
  return results.scenarios.flatMap((scenario) => {
    const rows = results.rows.filter((row) => row.scenario === scenario.name);
    return [...ratios(scenario, rows, style), ...latencies(scenario, rows, style), ...growth(scenario, rows, style)];
  });
}

function ratios(scenario: ScenarioInfo, rows: readonly Row[], style: Style): Plot[] {
  const panels: BarPanel[] = [];
  for (const [, ofMetric] of groupBy(rows, ({ metric }) => metric)) {
    const points = [...groupBy(ofMetric, ({ point }) => point)].filter(([, all]) => all.some(isComparable));
    for (const [point, all] of withoutCurves(points)) {
      const plain = all.find(isComparable)!;
      const same = all.filter(({ unit }) => unit === all[0]!.unit);
      panels.push({ metric: all[0]!.metric, point, plain, rows: same });
    }
  }
  return plot(scenario, "ratios", panels, (title, how, some) => renderBars(title, how, some, style));
}

/** Of points that make a curve (three or more that differ in nothing but a number) the largest; all others. */
function withoutCurves(points: readonly [string, Row[]][]): [string, Row[]][] {
  const key = ([point, rows]: [string, Row[]]) => (rows[0]!.x === undefined ? point : curveKey(rows[0]!));
  return [...groupBy(points, key).values()].flatMap((some) => {
    const rising = [...some].sort(([, [a]], [, [b]]) => (a!.x ?? 0) - (b!.x ?? 0));
    return some.length > 2 ? rising.slice(-1) : some;
  });
}

function isComparable({ system, median, unit }: Row): boolean {
  return system === PLAIN && median !== null && median > 0 && unit !== "MiB";
}

function latencies(scenario: ScenarioInfo, rows: readonly Row[], style: Style): Plot[] {
  const panels: LinePanel[] = [];
  for (const [, ofMetric] of groupBy(rows, ({ metric }) => metric)) {
    const points = [...groupBy(ofMetric, ({ point }) => point)];
    for (const [point, all] of points) {
      const lines = all.flatMap((row): Line[] =>
        row.latency && row.latency.length > 1
          ? [{ label: style.titleOf(row.system), colour: style.colourOf(row.system), points: row.latency }]
          : [],
      );
      const heading = `${all[0]!.metric}: ${point}`;
      if (lines.length > 0) panels.push({ heading, xName: "latency, µs", yName: "percentile", lines });
    }
  }
  return plot(scenario, "latency", panels, renderLatencies);
}

function growth(scenario: ScenarioInfo, rows: readonly Row[], style: Style): Plot[] {
  const drawn = rows.filter((row) => row.x !== undefined && row.median !== null && row.median > 0);
  const oneSystem = new Set(drawn.map(({ system }) => system)).size === 1;
  // Several systems: a panel for each metric. One alone: what grows by the same thing and has the same unit stands side by side.
  const key = (row: Row) => `${oneSystem ? "" : row.metric}\0${row.unit}\0${curveKey(row)}`;
  const panels: LinePanel[] = [];
  for (const [, all] of groupBy(drawn, key)) {
    const lines = [...groupBy(all, ({ metric, system }) => (oneSystem ? metric : system))].flatMap(
      ([name, some], i) => {
        const points = some.map(({ x, median }) => [x!, median!] as const).sort(([a], [b]) => a - b);
        if (points.length < 2) return [];
        const label = oneSystem ? name : style.titleOf(name);
        return [{ label, colour: oneSystem ? i : style.colourOf(name), points }];
      },
    );
    const { metric, unit, better } = all[0]!;
    const { thing, rest } = countedOf(all.reduce((most, row) => (row.x! > most.x! ? row : most)));
    const what = oneSystem && lines.length > 1 ? scenario.title : metric;
    const heading = `${what}${rest === "" ? "" : `: ${rest}`} (${better} is better)`;
    for (let at = 0; at < lines.length; at += MOST_LINES) {
      const part = lines.slice(at, at + MOST_LINES);
      panels.push({ heading, xName: thing, yName: unit, lines: part });
    }
  }
  return plot(scenario, "growth", panels, renderCurves);
}

/** Nothing to show: no plot. Too much for one file: several. */
function plot<P>(
  { name, title, how }: ScenarioInfo,
  kind: string,
  panels: readonly P[],
  render: (title: string, how: string, panels: readonly P[]) => string,
): Plot[] {
  const plots: Plot[] = [];
  for (let at = 0; at < panels.length; at += MOST_PANELS) {
    const number = panels.length > MOST_PANELS ? `-${at / MOST_PANELS + 1}` : "";
    const svg = render(title, how, panels.slice(at, at + MOST_PANELS));
    plots.push({ name: `${name}-${kind}${number}.svg`, title: `${title}: ${kind}`, scenario: name, svg });
  }
  return plots;
}

/** Colours stay with their system, whichever of them a plot shows. */
function styleOf({ systems }: Results): Style {
  const order = systems.map(({ name }) => name).filter((name) => name !== PLAIN);
  return {
    titleOf: (system) => systems.find(({ name }) => name === system)?.title ?? system,
    colourOf: (system) => (system === PLAIN ? -1 : Math.max(order.indexOf(system), 0)),
  };
}

function groupBy<T>(list: readonly T[], key: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of list) {
    const group = groups.get(key(one));
    if (group) group.push(one);
    else groups.set(key(one), [one]);
  }
  return groups;
}
