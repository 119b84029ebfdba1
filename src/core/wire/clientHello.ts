/** What a ClientHello says (RFC 8446 4.1.2, RFC 6066 3), and what can be wrong with it. */

export interface ClientHello {
  /** Normal form. */
  readonly serverName: string | undefined;
  /** Why there is no `serverName`: no such extension, or an address stands in it (RFC 6066 3 forbids that). */
  readonly noNameWhy: undefined | "absent" | "ip-literal";
  /** An encrypted_client_hello extension is there (real or GREASE: nobody between can tell), or the older encrypted SNI. */
  readonly ech: boolean;
  /** Application data may follow before the server has answered (RFC 8446 4.2.10). */
  readonly earlyData: boolean;
  /** supported_versions has TLS 1.3. */
  readonly tls13: boolean;
  /** A quic_transport_parameters extension is there (RFC 9001 8.2). */
  readonly quic: boolean;
  /** Bytes of legacy_session_id, 0 to 32. */
  readonly sessionId: number;
  /** Bytes of the stream that the hello took: record headers included, where there are records. */
  readonly length: number;
}

export type TlsCode =
  /** SSL 2 hello */
  | "sslv2"
  /** not a handshake record, at the beginning or before the hello is complete */
  | "record-type"
  /** record version other than SSL 3.0 to TLS 1.3 */
  | "record-version"
  /** record without content (RFC 8446 5.1 forbids it for handshakes) */
  | "record-empty"
  /** more than 2^14 bytes in a record */
  | "record-too-large"
  /** first handshake message is another one */
  | "not-client-hello"
  /** `maxBytes` can't hold it */
  | "too-large"
  /** something else in the same record behind the hello */
  | "trailing-handshake"
  /** lengths inside the hello that contradict each other, without a code of their own */
  | "malformed"
  /** bytes behind the extensions or behind an extension's content */
  | "trailing"
  /** legacy_version outside SSL 3.0 to TLS 1.2 */
  | "version"
  /** session id of more than 32 bytes */
  | "session-id"
  /** no cipher suite, or an odd number of bytes */
  | "cipher-suites"
  /** compression methods other than exactly "null" (RFC 8446 4.1.2; stricter for TLS 1.2, whose compression nobody should use) */
  | "compression"
  /** the same extension twice (RFC 8446 4.2) */
  | "duplicate-extension"
  /** two server_name extensions */
  | "two-server-names"
  /** server_name with two host_names */
  | "two-host-names"
  /** server_name without a name, or of another type than host_name */
  | "server-name"
  /** name with NUL, non-ASCII or anything but letters, digits, `-`, `_` */
  | "server-name-character"
  /** name with an empty label, a label of more than 63 or a total of more than 253 characters */
  | "server-name-length"
  /** ALPN list that is empty or has an empty name */
  | "alpn"
  /** supported_versions that is empty or odd */
  | "supported-versions"
  /** pre_shared_key isn't the last extension (RFC 8446 4.2.11) */
  | "psk-not-last"
  /** more than 100 extensions */
  | "too-many-extensions";
