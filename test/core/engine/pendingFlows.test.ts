/** Objects of flows that are over are used again: nothing of the old flow may be in the new one, and no two flows may share one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PacketId } from "../../../src/core/engine/events.js";
import type { CachedFlow, TcpPacket } from "../../../src/core/engine/flowState.js";
import type { LearnedEntry } from "../../../src/core/engine/learned.js";
import { defaultLimits } from "../../../src/core/engine/limits.js";
import { ParsedPacket } from "../../../src/core/engine/parsedPacket.js";
import { PendingFlows, type PendingFlow } from "../../../src/core/engine/pendingFlows.js";
import type { FlowEnds } from "../../../src/core/flow/keyHash.js";
import type { Policy } from "../../../src/core/policy/types.js";
import { parseIp } from "../../../src/core/wire/ip.js";
import { parseTcp } from "../../../src/core/wire/tcp.js";
import { clientHello, tcp } from "../../packets.js";
import { Random, valueOf } from "../wire/bytes.js";
import { addr, CLIENT, CLIENT6, CLIENT_ID, Playbook, SITE, SITE6 } from "./playbook.js";

const opened = (judgedStart: number, fast = false): CachedFlow => ({
  verdict: "pending",
  reason: 0,
  final: false,
  opened: true,
  released: false,
  fast,
  openedAt: 7,
  judgedStart,
  judgedEnd: judgedStart,
});

const siteOf = (src: string) => (src === CLIENT6 ? SITE6 : SITE);

const endsOf = (sport: number, src = CLIENT): FlowEnds => ({
  policy: 1,
  sport,
  dport: 443,
  src: addr(src),
  dst: addr(siteOf(src)),
});

const packetOf = (sport: number, src = CLIENT): TcpPacket => {
  const bytes = tcp({ src, dst: siteOf(src) }, { sport, dport: 443 });
  const ip = valueOf(parseIp(bytes, bytes.length));
  const packet = new ParsedPacket(ip, valueOf(parseTcp(bytes, ip))).setPorts(sport, 443);
  packet.bytes = bytes;
  packet.policy = { id: 1 } as Policy;
  return packet;
};

describe("PendingFlows", () => {
  it("gives an object out again with nothing of the flow before", () => {
    const flows = new PendingFlows(defaultLimits, Buffer.from("seed"));
    const name = "www.x.io";
    const learned: LearnedEntry = { policy: 1, client: CLIENT_ID, address: addr(SITE), name, chain: [name], rule: 1, ports: 0, expires: 9 }; // prettier-ignore
    const old = flows.begin(packetOf(1), opened(1000, true), learned, 0);
    old.stream.add(1000, Buffer.from("first"));
    old.stream.add(1100, Buffer.from("behind a gap"));
    old.held.hold(1 as PacketId, 1000, 1005);
    old.held.hold(2 as PacketId, 1100, 1112);
    old.held.releaseInOrder(1);
    old.released = true;
    old.keepLast(packetOf(1));
    assert.equal(old.last?.sport, 1);
    flows.end(old);
    assert.deepEqual([flows.size, flows.get(endsOf(1)), flows.oldest], [0, undefined, undefined]);
    assert.deepEqual([old.last, old.learned], [undefined, undefined]);

    const fresh = flows.begin(packetOf(2), opened(5000), undefined, 100);
    assert.equal(fresh, old, "else this test shows nothing");
    const { firstSeq, opened: openedAt, fast, deadline, released, last, stream, held } = fresh;
    assert.deepEqual([firstSeq, openedAt, fast, released, last, fresh.learned], [5000, 7, false, false, undefined, undefined]); // prettier-ignore
    assert.equal(deadline, 100 + defaultLimits.helloMs);
    assert.deepEqual([stream.firstSeq, stream.bufferedBytes, stream.pendingSegments], [5000, 0, 0]);
    assert.equal(stream.contiguous().length, 0);
    assert.deepEqual(
      [held.count, held.takeAll(), held.hasReleased(5001), held.hasReleased(5000)],
      [0, [], false, true],
    );
    held.hold(3 as PacketId, 5000, 5010);
    assert.deepEqual([held.idAt(0), held.takeAll()], [3, [3]]);
    assert.deepEqual([flows.get(endsOf(1)), flows.get(endsOf(2))], [undefined, fresh]);
  });

  it("gives no object to two flows, also if one was ended twice", () => {
    const flows = new PendingFlows(defaultLimits, Buffer.from("seed"));
    const one = flows.begin(packetOf(1), opened(1), undefined, 0);
    flows.end(one);
    flows.end(one);
    const [b, c] = [2, 3].map((sport) => flows.begin(packetOf(sport), opened(sport), undefined, 0));
    assert.notEqual(b, c);
    assert.deepEqual([b?.firstSeq, c?.firstSeq, flows.size], [2, 3, 2]);
  });

  it("finds each of many, in order of age, whichever begin and end", () => {
    const flows = new PendingFlows(defaultLimits, Buffer.from("seed"));
    const random = new Random(7);
    /** In order of age. */
    const known = new Map<string, PendingFlow>();
    const sources = [CLIENT, "192.168.77.3", CLIENT6];
    for (let i = 0; i < 20_000; i++) {
      const [sport, src] = [random.below(400), sources[random.below(3)]!];
      const id = `${sport} ${src}`;
      const flow = flows.get(endsOf(sport, src));
      assert.equal(flow, known.get(id));
      // First more and more, then fewer and fewer.
      if (flow && random.below(20_000) < i) {
        flows.end(flow);
        known.delete(id);
      } else if (!flow && random.below(20_000) >= i) {
        known.set(id, flows.begin(packetOf(sport, src), opened(sport), undefined, i));
      }
      assert.deepEqual([flows.size, flows.oldest], [known.size, known.values().next().value]);
    }
    for (let flow = flows.oldest; flow; flow = flows.oldest) {
      const [id, oldest] = known.entries().next().value!;
      assert.equal(flow, oldest);
      known.delete(id);
      flows.end(flow);
    }
    assert.deepEqual([known.size, flows.size], [0, 0]);
  });
});

describe("a connection after another one that was over amid its hello", () => {
  const ends = { src: CLIENT, dst: SITE };
  const denied = clientHello(["www.evil.io"]);
  const allowed = clientHello(["www.x.io"]);

  /** The first half of a hello on one port; what ends it; then the second half of a hello on another port, alone. */
  for (const [how, end] of [
    ["reset for other bytes", (play: Playbook) => play.packet(tcp(ends, { sport: 1, seq: 1000 }, denied.subarray(0, 60)))], // prettier-ignore
    ["timed out", (play: Playbook) => (play.wait(20_000), play.event({ type: "tick" }))],
  ] as const) {
    it(`${how}: starts from nothing`, () => {
      const play = new Playbook();
      const chain = ["www.x.io"];
      play.event({ type: "restored", policy: 1, client: CLIENT_ID, name: "www.x.io", address: addr(SITE), chain, expires: play.now + 100_000 }); // prettier-ignore
      for (const sport of [1, 2]) play.packet(tcp(ends, { sport, seq: 999, flags: "S" }));
      play.answer();
      // All but the last bytes of an allowed hello.
      assert.deepEqual(play.packet(tcp(ends, { sport: 1, seq: 1000 }, allowed.subarray(0, -10))), []);
      assert.equal(play.engine.stats().pendingFlows, 1);
      end(play);
      assert.equal(play.engine.stats().pendingFlows, 0);
      // Its last bytes on another connection complete nothing.
      const rest = tcp(ends, { sport: 2, seq: 1000 + allowed.length - 10 }, allowed.subarray(-10));
      assert.deepEqual(play.packet(rest), []);
      const { pendingFlows, heldPackets } = play.engine.stats();
      assert.deepEqual([pendingFlows, heldPackets], [1, 1]);
      play.finish();
    });
  }
});

it("what an earlier connection on the same ports was allowed by is forgotten with the one that came after it", () => {
  const ends = { src: CLIENT, dst: SITE };
  const hello = clientHello(["www.x.io"]);
  const play = new Playbook();
  const connect = (seq: number) => {
    play.packet(tcp(ends, { sport: 1, seq: seq - 1, flags: "S" }));
    play.answer();
  };
  const chain = ["www.x.io"];
  play.event({ type: "restored", policy: 1, client: CLIENT_ID, name: "www.x.io", address: addr(SITE), chain, expires: play.now + 100_000 }); // prettier-ignore
  connect(1000);
  assert.ok(play.packet(tcp(ends, { sport: 1, seq: 1000 }, hello)).includes("ALLOW allow-name www.x.io"));
  connect(5000);
  assert.deepEqual(play.packet(tcp(ends, { sport: 1, seq: 5000 }, hello.subarray(0, 60))), []);
  assert.ok(play.wait(20_000).includes("DENY hello-timeout"));
  play.evict();
  // Behind the judged bytes of the first connection, which would be allowed if these were still known.
  const stale = play.packet(tcp(ends, { sport: 1, seq: 1000 + hello.length }, Buffer.from("data")));
  assert.ok(stale.includes("DENY mid-flow"), stale.join("; "));
  play.finish();
});
