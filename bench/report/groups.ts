/** Rows that belong together, and how they compare. */
import type { Results } from "../harness/results.js";
import type { Row } from "../harness/types.js";
import { median } from "../stats.js";

/** All rows of one point: what a table shows. */
export interface Group {
  readonly scenario: string;
  readonly metric: string;
  readonly point: string;
  readonly unit: string;
  readonly better: Row["better"];
  /** With a figure, in the order of the run. */
  readonly rows: readonly Row[];
  /** Without one: the reason, and whom it stands for. */
  readonly missing: readonly { readonly reason: string; readonly systems: readonly string[] }[];
}

/** Of the rounds' ratios. */
export interface Ratio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface Ratios {
  /** This row's figure over that of plain forwarding. */
  readonly plain?: Ratio;
  /** Over that of the best peer: neither l7egg nor plain forwarding. */
  readonly peer?: Ratio;
}

export function groupsOf(rows: readonly Row[]): Group[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.scenario, row.metric, row.point]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((all) => {
    const { scenario, metric, point, unit, better } = all[0]!;
    const without = all.filter(({ median }) => median === null);
    const reasons = [...new Set(without.map(({ note }) => note ?? "no figure"))];
    return {
      scenario,
      metric,
      point,
      unit,
      better,
      rows: all.filter(({ median }) => median !== null),
      missing: reasons.map((reason) => ({
        reason,
        systems: without.filter(({ note }) => (note ?? "no figure") === reason).map(({ system }) => system),
      })),
    };
  });
}

export function isPeer(system: string): boolean {
  return system !== "plain" && system !== "direct" && !/^l7egg\b/.test(system);
}

export function bestPeer({ rows, better }: Pick<Group, "rows" | "better">): Row | undefined {
  const sign = better === "higher" ? 1 : -1;
  return rows
    .filter(({ system }) => isPeer(system))
    .reduce<Row | undefined>(
      (best, row) => (best && sign * best.median! >= sign * row.median! ? best : row),
      undefined,
    );
}

export function ratiosOf(row: Row, group: Pick<Group, "rows" | "better">): Ratios {
  const plain = group.rows.find(({ system }) => system === "plain");
  const peer = bestPeer(group);
  const toPlain = plain && row !== plain ? ratioOf(row, plain) : undefined;
  const toPeer = peer && row !== peer && row.system !== "plain" ? ratioOf(row, peer) : undefined;
  return { ...(toPlain ? { plain: toPlain } : {}), ...(toPeer ? { peer: toPeer } : {}) };
}

/**
 * One row's figure over another's, round by round: a machine that is slower for half a minute is so for both of a round, but not for both medians. undefined:
 * no round in common, or nothing to divide by.
 */
export function ratioOf({ samples }: Row, to: Row): Ratio | undefined {
  const ratios = samples.slice(0, to.samples.length).map((value, round) => value / to.samples[round]!);
  if (ratios.length === 0 || !ratios.every(Number.isFinite)) return undefined;
  return { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios) };
}

/** "l7egg --verify both", where the registry knows the name; else the name. */
export function titleOf(results: Pick<Results, "systems">, system: string): string {
  return results.systems.find(({ name }) => name === system)?.title ?? system;
}
