/** The same without `readonly`: for the one who fills an object that others only read. */
export type Writable<T> = { -readonly [K in keyof T]: T[K] };
