/** Command line of the benchmark. */
import { parseArgs } from "node:util";

export const figureNames = ["throughput", "classifier", "queue", "connections"] as const;
export type FigureName = (typeof figureNames)[number];

export interface BenchOptions {
  /** Fewer and shorter rounds: under 90 s, and a wider spread. */
  readonly quick: boolean;
  readonly only: readonly FigureName[];
  /** File that gets all numbers. */
  readonly json: string | undefined;
}

export const usage = `npm run bench:datapath -- [--quick] [--only NAME]... [--json FILE]

  --quick      fewer and shorter rounds: under 90 s instead of under 5 minutes
  --only NAME  only this figure; repeatable: ${figureNames.join(", ")}
  --json FILE  also write every single measurement to FILE
`;

/** Throws an Error with one line that says what is wrong. undefined: help was asked for. */
export function readOptions(words: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...words],
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const only = (values.only ?? figureNames).map((name) => {
    const known = figureNames.find((figure) => figure === name);
    if (!known) throw new Error(`--only ${name}: one of ${figureNames.join(", ")}`);
    return known;
  });
  return { quick: values.quick, only, json: values.json };
}
