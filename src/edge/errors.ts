/**
 * What is wrong with the request or the machine, found before anything was changed: one line each, exit code 2.
 * Anything else that is thrown is a failure at work (exit code 1).
 */
export class UsageError extends Error {
  readonly lines: readonly string[];

  constructor(lines: readonly string[] | string) {
    const all = typeof lines === "string" ? [lines] : lines;
    super(all.join("\n"));
    this.name = "UsageError";
    this.lines = all;
  }
}

/** An error's message with its causes, on one line. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const first = error.message.replaceAll("\n", " ");
  return error.cause === undefined ? first : `${first}: ${describe(error.cause)}`;
}

export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
