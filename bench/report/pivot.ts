/**
 * Scenarios that measure l7egg alone have nothing to compare but their own points: a table with a line for each thing measured and a column for each point,
 * instead of a table for each figure.
 */
import type { Row } from "../harness/types.js";
import { figure, type CellTable } from "./cells.js";
import { countedOf, curveKey } from "./points.js";

export interface Pivot extends CellTable {
  /** What the columns count: "CIDRs". */
  readonly title: string;
}

/** undefined: several systems, which are compared instead. */
export function pivotsOf(rows: readonly Row[]): Pivot[] | undefined {
  if (new Set(rows.map(({ system }) => system)).size !== 1) return undefined;
  const things = new Map<string, Row[]>();
  for (const row of rows) {
    const key = curveKey(row);
    things.set(key, [...(things.get(key) ?? []), row]);
  }
  return [...things.values()].map(pivotOf);
}

function pivotOf(rows: readonly Row[]): Pivot {
  const points = [...new Map(rows.map(({ point, x }) => [point, x ?? 0])).entries()]
    .sort(([, a], [, b]) => a - b)
    .map(([point]) => point);
  const lines = [...new Set(rows.map(({ metric, unit }) => JSON.stringify([metric, unit])))].map((key) => {
    const [metric, unit] = JSON.parse(key) as [string, string];
    const cells = points.map((point) => {
      const row = rows.find((one) => one.metric === metric && one.unit === unit && one.point === point);
      return row && row.median !== null ? cellOf(row) : "";
    });
    return [`${metric}, ${unit}`, ...cells];
  });
  const noted = rows.filter(({ note }) => note !== undefined);
  const remarks = noted.map(({ metric, point, median, note }) => `${median === null ? "no figure for " : ""}${metric}, ${point}: ${note!}`); // prettier-ignore
  return {
    title: titleOf(rows.find(({ point }) => point === points.at(-1))!),
    head: ["", ...points],
    // Without any figure its remark says all.
    lines: lines.filter(([, ...cells]) => cells.some((cell) => cell !== "")),
    remarks,
  };
}

function titleOf(row: Row): string {
  const { thing, rest } = countedOf(row);
  return rest === "" ? thing : `${thing}: ${rest}`;
}

function cellOf({ median, spread, unit }: Row): string {
  const [low, high] = spread!.map((value) => figure(value, unit)) as [string, string];
  const middle = figure(median!, unit);
  return low === high ? middle : `${middle} (${low}–${high})`;
}
