/** The part of the command line that makes a policy. */
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
