/** Argument checks of the wrappers: TypeError for a wrong type, RangeError for a wrong value, both with the argument's name. */

export function integer(value: unknown, name: string, low: number, high: number): number {
  if (typeof value !== "number") throw new TypeError(`${name} must be a number, not ${describe(value)}`);
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`${name} must be an integer from ${low} to ${high}, not ${value}`);
  }
  return value;
}

export function flag(value: unknown, name: string): boolean {
  if (typeof value !== "boolean") throw new TypeError(`${name} must be a boolean, not ${describe(value)}`);
  return value;
}

/** Length exact unless undefined. */
export function bytes(value: unknown, name: string, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError(`${name} must be a Uint8Array, not ${describe(value)}`);
  if (length !== undefined && value.length !== length) {
    throw new RangeError(`${name} must have ${length} bytes, not ${value.length}`);
  }
  return value;
}

export function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw new TypeError(`${name} must be a string, not ${describe(value)}`);
  if (value.length === 0) throw new RangeError(`${name} must not be empty`);
  if (value.includes("\0")) throw new RangeError(`${name} must not contain NUL`);
  return value;
}

export function path(value: unknown, name: string): string {
  const checked = text(value, name);
  // PATH_MAX counts the terminating NUL (path_resolution(7)).
  if (Buffer.byteLength(checked) > 4095) throw new RangeError(`${name} must be shorter than 4096 bytes`);
  return checked;
}

export function callable<T>(value: T, name: string): T {
  if (typeof value !== "function") throw new TypeError(`${name} must be a function, not ${describe(value)}`);
  return value;
}

export function record(value: unknown, name: string): void {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(`${name} must be an object, not ${describe(value)}`);
  }
}

export function oneOf<T extends string>(value: T, name: string, choices: readonly T[]): T {
  if (!choices.includes(value)) throw new RangeError(`${name} must be one of ${choices.join(", ")}, not ${value}`);
  return value;
}

export const U32 = 0xffffffff;

function describe(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
}
