import type { TlsCode } from "./clientHello.js";

/** What can be wrong with a client's datagram, one of its packets, or its Initial packet's content. */
export type QuicCode =
  /** a datagram without a byte */
  | "empty"
  /** the packet's header or its Length goes beyond the datagram */
  | "truncated"
  /** neither version 1 nor 2 */
  | "unknown-version"
  /** version 0: only servers send Version Negotiation (RFC 9000 17.2.1) */
  | "version-negotiation"
  /** only servers send Retry (RFC 9000 17.2.5) */
  | "retry"
  /** fixed bit 0, before the server can have said that it may be (RFC 9000 17.2, RFC 9287 3) */
  | "fixed-bit"
  /** connection id of more than 20 bytes (RFC 9000 17.2) */
  | "cid-length"
  /** coalesced with a packet for another connection (RFC 9000 12.2) */
  | "other-connection"
  /** too short for a sample of header protection (RFC 9001 5.4.2) */
  | "too-short"
  /** more than 16 coalesced packets (stricter than RFC 9000, which knows no bound; clients send up to 4) */
  | "too-many-packets"
  /** doesn't open with these keys */
  | "decrypt"
  /** reserved bits that aren't 0 (RFC 9000 17.2) */
  | "reserved-bits"
  /** an Initial packet without a frame (RFC 9000 12.4) */
  | "no-frames"
  /** frame that Initial packets may not carry, or an overlong type (RFC 9000 12.4) */
  | "frame-type"
  /** a frame that goes beyond its packet */
  | "frame-length"
  /** ACK of packets before number 0 (RFC 9000 19.3.1) */
  | "ack-range"
  /** CRYPTO beyond 2^62 - 1 (RFC 9000 19.6) */
  | "crypto-offset"
  /** more than 512 CRYPTO frames in a packet (stricter than RFC 9000; each of its bytes could have one of its own) */
  | "too-many-crypto-frames";

/** What can be wrong with the ClientHello that the CRYPTO frames carry. */
export type QuicHelloCode =
  | TlsCode
  /** session id: its middlebox compatibility mode is forbidden (RFC 9001 8.4) */
  | "quic-session-id"
  /** no quic_transport_parameters (RFC 9001 8.2) */
  | "no-transport-parameters"
  /** TLS 1.3 isn't offered (RFC 9001 4.2) */
  | "no-tls13"
  /** something behind the second hello; HelloRetryRequest asks for one */
  | "third-hello"
  /** a second hello with another name than the first one, or with ECH when that had none (RFC 8446 4.1.2) */
  | "hello-changed";
