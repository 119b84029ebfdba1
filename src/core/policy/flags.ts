/** What makes a policy: a part of the command line, or a file (policyFile.ts). */
/** Raw strings, in the order of the command line. undefined or empty: the default that `parsePolicy` documents. */
export interface PolicyFlags {
  readonly cidr: readonly string[];
  readonly denyCidr: readonly string[];
  readonly cn: readonly string[];
  readonly domain: readonly string[];
  /** Empty: none in the spec; the caller adds the box's own (`withResolvers`). */
  readonly resolver: readonly string[];
  /** Limits every allow rule; empty: everywhere. */
  readonly port: readonly string[];
  /** Empty: tcp/80, 443, 8080, 8443 and udp/443. */
  readonly namePort: readonly string[];
  /** dns | sni | both; default both. */
  readonly verify?: string | undefined;
  /** rst | drop; default rst. */
  readonly reject?: string | undefined;
  /** drop | refused | nxdomain; default refused. */
  readonly dnsDeny?: string | undefined;
  /** inspect | deny; default inspect. */
  readonly quic?: string | undefined;
}

/** Where the values of a policy come from. */
export interface Origin {
  /** What a flag is called there: `--deny-cidr`, `deny-cidr`. */
  word(flag: keyof PolicyFlags): string;
  /** What an error begins with: nothing, or `policy.yaml:3:5: `. `index`: of the value; `flag` undefined: the whole. */
  place(flag: keyof PolicyFlags | undefined, index: number): string;
  /** A message that speaks of flags, as it is said there. */
  wording(message: string): string;
}

export const commandLine: Origin = {
  word: (flag) => `--${keyOf(flag)}`,
  place: () => "",
  wording: (message) => message,
};

/** `denyCidr` → `deny-cidr` */
export function keyOf(flag: keyof PolicyFlags): string {
  return flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
