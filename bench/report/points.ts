/** What the words of a point say: "names never seen, 64 clients, IPv4" counts clients. */
import type { Row } from "../harness/types.js";

export interface Counted {
  /** "clients"; the point itself where nothing is counted. */
  readonly thing: string;
  /** What else the point says: "names never seen, IPv4". Rows that differ in nothing but their number make a curve. */
  readonly rest: string;
}

export function countedOf({ point, x }: Pick<Row, "point" | "x">): Counted {
  const parts = point.split(", ");
  const number = x === undefined ? /^\d[\d,.]* / : new RegExp(`^${x.toLocaleString("en").replaceAll(".", "\\.")} `);
  const at = parts.findIndex((part) => number.test(part));
  if (at < 0) return { thing: point, rest: "" };
  return { thing: parts[at]!.replace(/^[\d,.]+ /, ""), rest: parts.filter((_, i) => i !== at).join(", ") };
}

/** The same for "1 name" as for "2 names". */
export function curveKey(row: Pick<Row, "point" | "x">): string {
  const { thing, rest } = countedOf(row);
  return `${thing.replace(/^(\w*?)s\b/, "$1").replace(/s$/, "")}\0${rest}`;
}
