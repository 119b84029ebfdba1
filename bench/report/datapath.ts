/** `npm run bench:datapath`: what was measured, as a table. */
import Table from "cli-table3";

/** One line of the table. */
export interface Row {
  readonly what: string;
  readonly measured: string;
  /** What it is compared with, measured in the same run. */
  readonly against?: string;
  readonly ratio?: number;
  /** Text of the target; without one the line is there to explain the others. */
  readonly target?: string;
  /** undefined: has no target, or (with one) could not be measured. */
  readonly reached?: boolean;
}

export interface FigureResult {
  readonly title: string;
  readonly how: string;
  readonly rows: readonly Row[];
  /** Every single measurement. */
  readonly raw: unknown;
}

export function renderFigure(result: FigureResult): string {
  const table = new Table({
    head: ["figure", "measured", "against, in the same run", "ratio", "target", ""],
    colWidths: [38, 30, 34, 7, 18, 14],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  for (const row of result.rows) {
    table.push([
      row.what,
      row.measured,
      row.against ?? "",
      row.ratio === undefined ? "" : row.ratio.toFixed(2),
      row.target ?? "",
      verdictOf(row),
    ]);
  }
  return `${result.title}\n${result.how}\n${table.toString()}`;
}

function verdictOf(row: Row): string {
  if (row.target === undefined) return "";
  if (row.reached === undefined) return "NOT MEASURED";
  return row.reached ? "reached" : "MISSED";
}
