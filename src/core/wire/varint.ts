/** Variable-length integers of QUIC (RFC 9000 16). */

/** Bytes that the number takes which begins with this one: 1, 2, 4 or 8. */
export function varintSize(first: number): number {
  return 1 << (first >> 6);
}

/**
 * The number at `at`; that all its bytes are there is the caller's to check. Exact below 2^53; larger ones are rounded, so comparisons with
 * anything below stay right.
 */
export function varintAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const size = varintSize(first);
  let value = first & 0x3f;
  // No shifts: they would cut at 32 bits.
  for (let i = 1; i < size; i++) value = value * 256 + bytes[at + i]!;
  return value;
}
