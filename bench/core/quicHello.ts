/** What a gateway does with the first datagram of a QUIC connection, with all that it keeps used again. */
import { BufferPool } from "../../src/core/flow/bufferPool.js";
import { CryptoStream } from "../../src/core/flow/cryptoStream.js";
import { QuicDatagram, readDatagram } from "../../src/core/wire/quicDatagram.js";
import { InitialFrames, readInitialFrames } from "../../src/core/wire/quicFrames.js";
import { initialKeys } from "../../src/core/wire/quicKeys.js";
import { openInitial } from "../../src/core/wire/quicOpen.js";
import { quicVersion } from "../../src/core/wire/quicVersions.js";

export class QuicHello {
  readonly #datagram = new QuicDatagram();
  readonly #frames = new InitialFrames();
  readonly #stream = new CryptoStream({ maxBytes: 16_384, maxSegments: 64, pool: new BufferPool(4_096, 1) });

  /** The server's name; undefined: something went wrong. Keys are derived anew: every connection has its own. */
  read(bytes: Uint8Array): string | undefined {
    if (readDatagram(bytes, 0, bytes.length, this.#datagram).kind !== "done") return undefined;
    const packet = this.#datagram.packets[0]!;
    const keys = initialKeys(quicVersion(packet.version)!, bytes.subarray(packet.dcidStart, packet.dcidEnd));
    const opened = openInitial(bytes, packet, keys);
    if (opened.kind !== "done") return undefined;
    const { frames } = opened.value;
    if (readInitialFrames(frames, this.#frames).kind !== "done") return undefined;
    this.#stream.add(frames, this.#frames);
    const hello = this.#stream.read();
    this.#stream.release();
    return hello.kind === "done" ? hello.value.serverName : undefined;
  }
}
