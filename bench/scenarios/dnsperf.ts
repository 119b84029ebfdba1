/** What dnsperf prints at its end. */

export interface DnsperfReport {
  readonly completed: number;
  readonly lost: number;
  /** Answers with a code other than NOERROR. */
  readonly refused: number;
  readonly seconds: number;
}

/** undefined: it has not measured anything. */
export function parseDnsperf(text: string): DnsperfReport | undefined {
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? NaN);
  const completed = number(/Queries completed:\s+(\d+)/);
  const seconds = number(/Run time \(s\):\s+([\d.]+)/);
  if (!(completed > 0) || !(seconds > 0)) return undefined;
  const ok = /NOERROR (\d+)/.exec(text)?.[1] ?? "0";
  return { completed, seconds, lost: number(/Queries lost:\s+(\d+)/) || 0, refused: completed - Number(ok) };
}
