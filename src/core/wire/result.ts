/**
 * The three outcomes of every parser: the thing, not yet, or never. A parser throws only for a bug of ours.
 */
export type Parsed<T, Code extends string = string> = Done<T> | NeedMore | Invalid<Code>;

export interface Done<T> {
  readonly kind: "done";
  readonly value: T;
}

/** The bytes so far are a valid prefix; give more of them (from the start again). */
export interface NeedMore {
  readonly kind: "needMore";
}

/** No continuation can make these bytes valid. */
export interface Invalid<Code extends string = string> {
  readonly kind: "invalid";
  readonly code: Code;
  /** Where, in bytes from the start of the input. */
  readonly offset: number;
}

export const needMore: NeedMore = Object.freeze({ kind: "needMore" });

export function done<T>(value: T): Done<T> {
  return { kind: "done", value };
}

export function invalid<Code extends string>(code: Code, offset: number): Invalid<Code> {
  return { kind: "invalid", code, offset };
}
