/** The ClientHello in a QUIC client's CRYPTO stream (RFC 9001 4 and 8): the handshake message without records. */
import type { ClientHello } from "./clientHello.js";
import type { QuicHelloCode } from "./quicCodes.js";
import { invalid, needMore, type Parsed } from "./result.js";
import { parseHelloMessage } from "./tls.js";

/**
 * `stream`: the client's CRYPTO stream of Initial packets from its very first byte up to the first gap. `maxBytes`: the most that it may have.
 *
 * It is one hello, or two if the server asked for another by HelloRetryRequest; the second one must say the same. Anything behind is refused: "done" means
 * that all bytes are judged, so it doesn't say so while a message is incomplete.
 */
export function parseQuicHello(stream: Uint8Array, maxBytes: number): Parsed<ClientHello, QuicHelloCode> {
  const first = readHello(stream, 0, maxBytes);
  if (first.kind !== "done" || first.value.length === stream.length) return first;
  const { serverName, ech, length } = first.value;
  const second = readHello(stream, length, maxBytes - length);
  if (second.kind !== "done") return second;
  // RFC 8446 4.1.2: but for the key share and some others, none of which is one of these.
  if (second.value.serverName !== serverName || second.value.ech !== ech) return invalid("hello-changed", length);
  const end = length + second.value.length;
  return end === stream.length ? first : invalid("third-hello", end);
}

function readHello(stream: Uint8Array, start: number, maxBytes: number): Parsed<ClientHello, QuicHelloCode> {
  if (start === stream.length) return needMore;
  const result = parseHelloMessage(stream, start, maxBytes);
  if (result.kind !== "done") return result;
  const hello = result.value;
  // RFC 9001 8.4: clients must not, servers may refuse it. No client known does it, and a server that reads on is one that few have tested.
  if (hello.sessionId !== 0) return invalid("quic-session-id", start);
  if (!hello.quic) return invalid("no-transport-parameters", start);
  if (!hello.tls13) return invalid("no-tls13", start);
  return result;
}
