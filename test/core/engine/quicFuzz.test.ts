/**
 * A client that tries anything, and the server behind the gateway: of all that passes, whatever gets lost on its way, no server must ever read a name
 * that is in no rule. Seeded: a failure names the seed that shows it again.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import { MARK_ALLOW } from "../../../src/core/engine/voice.js";
import { parseHelloMessage } from "../../../src/core/wire/tls.js";
import { udp } from "../../packets.js";
import { frame, keysOf, longPacket, quicHello, shortPacket, V1, V2 } from "../../quic.js";
import { hex, mutate, Random, u16be } from "../wire/bytes.js";
import { alpn, ext, sni, versions } from "../wire/hello.js";
import { addr, CLIENT, CLIENT_ID, Playbook, SITE } from "./playbook.js";

const limits = { quicFlows: 2, quicBytes: 20_000, quicHeldPerFlow: 4, held: 6, helloSegments: 8 };
const allowed = ["www.x.io", "a.y.io"];
const names = ["www.x.io", "www.x.io", "a.y.io", "evil.io", "b.y.io"];
const ids = ["0011223344556677", "8394c8f03e515708", "deadbeef00c0ffee"].map((hex) => Buffer.from(hex, "hex"));
/** The connection id that the server gives itself in answer to one. */
const serverId = (id: Buffer) => Buffer.from(id).reverse();

/**
 * Two hellos that say an allowed name, and of which the beginning of the first with the end of the second, cut within 300 bytes, says another one: an extension that nobody
 * knows is longer in the second.
 */
const halves = (() => {
  const [good, evil] = [sni("www.x.io"), sni("evil.io")];
  const before = [versions(0x0304), alpn("h3"), ext(57, hex("0408ffffffffffffffff05048000ffff"))];
  const short = [ext(0x7a7a, Buffer.alloc(300)), good, ext(0x8a8a, Buffer.alloc(evil.length))];
  const inside = [Buffer.alloc(300), evil, u16be(0x8a8a), u16be(good.length)];
  const long = [ext(0x7a7a, Buffer.concat(inside)), good];
  return [short, long].map((behind) => quicHello({ extensions: Buffer.concat([...before, ...behind]) }));
})();

interface Initial {
  readonly dcid: string;
  /** Whose keys it is under. */
  readonly keys: string;
  readonly version: number;
  readonly frames: readonly { readonly offset: number; readonly bytes: Uint8Array }[];
}

interface Connection {
  readonly begunBy: string;
  readonly ids: ReadonlySet<string>;
  readonly stream: Map<number, number>;
  readonly begun: number;
}

/** As RFC 9000 has it; `keepsFirst`: which copy of a byte counts. It loses some of what comes, and gives up a connection after a minute. */
class Server {
  readonly read = new Set<string>();
  readonly #connections: Connection[] = [];

  constructor(
    readonly random: Random,
    readonly keepsFirst: boolean,
    readonly loses: number,
  ) {}

  receive(initials: readonly Initial[], now: number): void {
    if (this.random.below(100) < this.loses) return;
    for (const initial of initials) this.#initial(initial, now);
  }

  #initial({ dcid, keys, frames }: Initial, now: number): void {
    let connection = this.#connections.find((one) => one.ids.has(dcid) && now - one.begun < 60_000);
    if (!connection) {
      if (keys !== dcid) return;
      const own = serverId(Buffer.from(dcid, "hex")).toString("hex");
      connection = { begunBy: dcid, ids: new Set([dcid, own]), stream: new Map<number, number>(), begun: now };
      this.#connections.push(connection);
    }
    if (keys !== connection.begunBy) return;
    for (const { offset, bytes } of frames) {
      bytes.forEach((byte, i) => {
        if (!this.keepsFirst || !connection.stream.has(offset + i)) connection.stream.set(offset + i, byte);
      });
    }
    this.#hellos(connection.stream);
  }

  #hellos(stream: Map<number, number>): void {
    const bytes: number[] = [];
    while (stream.has(bytes.length)) bytes.push(stream.get(bytes.length)!);
    const whole = Uint8Array.from(bytes);
    for (let at = 0; at < whole.length;) {
      const hello = parseHelloMessage(whole, at, 16_384);
      if (hello.kind !== "done") return;
      if (hello.value.serverName !== undefined) this.read.add(hello.value.serverName);
      at += hello.value.length;
    }
  }
}

class Fuzzer {
  readonly play = new Playbook({}, limits);
  readonly random: Random;
  readonly servers: readonly Server[];
  /** By packet id: what a server may make of it. */
  readonly #sent: (readonly Initial[])[] = [[]];
  #seen = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.servers = [0, 0, 30, 30, 70].map((loses, i) => new Server(new Random(seed * 10 + i), i % 2 === 0, loses));
    this.learn();
  }

  learn(): void {
    const { play } = this;
    const base = { type: "restored", policy: 1, client: CLIENT_ID, address: addr(SITE) } as const;
    for (const name of allowed) play.event({ ...base, name, chain: [name], expires: play.now + 600_000 });
  }

  step(): void {
    const { random, play } = this;
    switch (random.below(40)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        // Also what ends a denial.
        play.evict();
        break;
      case 5:
        play.wait(this.pick([1, 500, 6_000, 11_000, 61_000]));
        this.learn();
        break;
      default:
        this.datagram();
    }
    this.deliver();
  }

  datagram(): void {
    const { random } = this;
    const initials: Initial[] = [];
    const parts: Buffer[] = [];
    const dcid = this.pick([...ids, ...ids.map(serverId)]);
    const merged = random.below(5) === 0;
    let hidden = false;
    for (let i = this.pick([1, 1, 1, 2, 3]); i > 0; i--) {
      const kind = random.below(10);
      if (kind === 0) parts.push(longPacket(Buffer.alloc(60), { type: this.pick(["handshake", "0-rtt"]), dcid }));
      else if (kind === 1) parts.push(shortPacket(30));
      // Behind a short header nothing is read (RFC 9000 12.2), unless it is a datagram of its own.
      else parts.push(this.initial(dcid, hidden ? [] : initials));
      hidden ||= kind === 1 && !merged;
    }
    const bytes = Buffer.concat(parts);
    const mutated = random.below(12) === 0;
    // What was changed opens nowhere.
    this.#sent.push(mutated ? [] : initials);
    const packet = udp(
      { src: CLIENT, dst: SITE },
      // A server goes by the id alone.
      { sport: this.pick([40_000, 40_000, 40_001]), dport: 443 },
      mutated ? Buffer.from(mutate(bytes, random)) : bytes,
    );
    this.play.packet(packet, { merged, checksumPending: true });
  }

  initial(dcid: Buffer, into: Initial[]): Buffer {
    const { random } = this;
    const owner = this.pick([dcid, dcid, serverId(dcid), this.pick(ids)]);
    const version = this.pick([V1, V1, V1, V2]);
    const plain = quicHello({ name: this.pick(names), more: this.pick([0, 0, 900]) });
    const first = this.pick([plain, ...halves]);
    const stream = random.below(5) === 0 ? Buffer.concat([first, quicHello({ name: this.pick(names) })]) : first;
    const frames = Array.from({ length: this.pick([1, 1, 2, 3]) }, () => {
      const [from, to] = this.pick([[0, stream.length], [0, random.below(stream.length)], [random.below(stream.length), stream.length]] as const); // prettier-ignore
      return { offset: from, bytes: stream.subarray(from, to) };
    });
    const content = frames.map(({ offset, bytes }) => frame.crypto(offset, bytes));
    into.push({ dcid: dcid.toString("hex"), keys: owner.toString("hex"), version, frames });
    return longPacket(Buffer.concat([frame.ping(), ...content, frame.padding(8)]), {
      version,
      dcid,
      keys: keysOf(version, owner),
      pn: random.below(3),
    });
  }

  /** What has passed since. */
  deliver(): void {
    for (; this.#seen < this.play.all.length; this.#seen++) {
      const command = this.play.all[this.#seen]!;
      if (command.type !== "verdict" || command.action !== "accept" || command.mark !== MARK_ALLOW) continue;
      for (const server of this.servers) server.receive(this.#sent[command.id]!, this.play.now);
    }
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)] as T;
  }
}

const read = new Set<string>();

for (let seed = 1; seed <= 12; seed++) {
  it(`seed ${seed}`, () => {
    const fuzzer = new Fuzzer(seed);
    for (let i = 0; i < 2_000; i++) {
      fuzzer.step();
      const stats = fuzzer.play.engine.stats();
      assert.ok(stats.quicFlows <= limits.quicFlows && stats.quicHeld <= limits.held, JSON.stringify(stats));
      for (const server of fuzzer.servers) {
        for (const name of server.read) assert.ok(allowed.includes(name), `step ${i}: a server read ${name}`);
      }
    }
    fuzzer.play.finish();
    for (const server of fuzzer.servers) for (const name of server.read) read.add(name);
  });
}

it("servers read both names that are allowed, or nothing was tried", () => {
  assert.deepEqual([...read].sort(), [...allowed].sort());
});
