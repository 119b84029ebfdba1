/** TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4). */

/** `a - b` as a signed distance in [-2^31, 2^31). */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

/** Unsigned. */
export function seqAdd(seq: number, count: number): number {
  return (seq + count) >>> 0;
}

/** Does `seq` lie in [start, end)? */
export function seqIn(seq: number, start: number, end: number): boolean {
  return (seq - start) >>> 0 < (end - start) >>> 0;
}
