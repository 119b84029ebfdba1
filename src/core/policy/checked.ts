/**
 * What a person wrote is either a value or one line that says what is wrong and what would be right.
 */
export type Checked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

export function good<T>(value: T): Checked<T> {
  return { ok: true, value };
}

export function bad(error: string): { readonly ok: false; readonly error: string } {
  return { ok: false, error };
}

const SHOWN = 100;

/** A value as it is quoted in a message: as written where that is unambiguous, escaped where it would break the line. */
export function show(value: string): string {
  const cut = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
  return value !== "" && /^[^\s"\p{C}]+$/u.test(value) ? cut : JSON.stringify(cut);
}

/** At most `max` lines, and then one that says how many were left out. */
export function atMost(lines: readonly string[], max: number, noun: string): string[] {
  if (lines.length <= max) return [...lines];
  return [...lines.slice(0, max), `… and ${lines.length - max} more ${noun}`];
}
