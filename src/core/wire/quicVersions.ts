/** The QUIC versions that can be read (RFC 9000, RFC 9369), and in what they differ. All others are refused, so that their clients fall back to TCP. */

export type LongType = "initial" | "0-rtt" | "handshake" | "retry";

export interface QuicVersion {
  readonly number: number;
  /** Meaning of the two type bits of a long header. */
  readonly types: readonly [LongType, LongType, LongType, LongType];
  /** Salt of the Initial secret (RFC 9001 5.2, RFC 9369 3.3.1). */
  readonly salt: Uint8Array;
  /** What the labels of packet protection keys begin with, behind "tls13 ". */
  readonly label: string;
}

export const QUIC_V1: QuicVersion = {
  number: 1,
  types: ["initial", "0-rtt", "handshake", "retry"],
  salt: Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex"),
  label: "quic ",
};

/** RFC 9369 3.2: the same packets under other types, so that nobody gets used to those of version 1. */
export const QUIC_V2: QuicVersion = {
  number: 0x6b3343cf,
  types: ["retry", "initial", "0-rtt", "handshake"],
  salt: Buffer.from("0dede3def700a6db819381be6e269dcbf9bd2ed9", "hex"),
  label: "quicv2 ",
};

/** undefined: one that can't be read. */
export function quicVersion(number: number): QuicVersion | undefined {
  if (number === QUIC_V1.number) return QUIC_V1;
  return number === QUIC_V2.number ? QUIC_V2 : undefined;
}
