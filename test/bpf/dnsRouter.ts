/** A router whose clients may ask a trusted resolver in both families, for tests of what eBPF lets pass of DNS. */
import assert from "node:assert/strict";
import * as abi from "../../src/core/abi.generated.js";
import { NameHasher } from "../../src/core/names/hash.js";
import { udp, type Endpoints, type UdpOptions } from "../packets.js";
import { A } from "./dnsMessages.js";
import { Datapath, marked, now, type DeviceName, type Router } from "./harness.js";
import { address16, frame } from "./packets.js";

export const v4 = { src: "10.1.0.10", dst: "192.0.2.53" };
export const v6 = { src: "fd00:1::10", dst: "2001:db8:53::1" };
export const NAME = "www.x.io";
export const seed = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
export const hasher = new NameHasher(seed);

const SECOND = 1_000_000_000n;
/** What a time to live of 0 gets (core/engine/limits.ts). */
export const GRACE = BigInt(abi.TTL_GRACE_MS) * 1_000_000n;

export class DnsRouter extends Datapath {
  readonly #router: Router;

  constructor(router: Router, maxEntries: Readonly<Record<string, number>> = {}) {
    super(router, { questions: 4096, asked: 4096, ...maxEntries });
    this.#router = router;
    this.config({ hashSeed: seed });
    this.governed(router.lan0.ifindex);
    this.policy(1, abi.Verify.BOTH);
    this.portSet(3, [{ proto: 17, verdict: abi.Verdict.INSPECT, low: 53, high: 53, rule: 0 }]);
    this.cidr(1, v4.dst, 32, { verdict: abi.Verdict.NONE, ports: 3 });
    this.cidr(1, v6.dst, 128, { verdict: abi.Verdict.NONE, ports: 3 });
  }

  /** TypeScript has allowed this question of `ends.src` to `ends.dst`. */
  allow(
    change: Partial<abi.AbiQuestion & { policy: number; client: Uint8Array; name: string; type: number }> = {},
    ends: Endpoints = v4,
  ): void {
    const { policy = 1, client = address16(ends.src), name = NAME, type = A, ...value } = change;
    const resolver = address16(ends.dst);
    this.put(
      "questions",
      abi.encodeQuestionKey({ policy, client, resolver, nameHash: hasher.hash(name), type }),
      abi.encodeQuestion({ expiresNs: now() + 600n * SECOND, generation: 1, rule: 9, ports: 0, ...value }),
    );
  }

  /** The client has learned it until the time to live `ttl` of an answer of now ends. */
  learn(address: string, name = NAME, ttl = 3_600, ends: Endpoints = v4): void {
    const expiresNs = now() + BigInt(ttl) * SECOND + GRACE;
    this.name(1, address16(ends.src), address, { expiresNs, rule: 9 });
    this.binding(1, address16(ends.src), address, name, { expiresNs, rule: 9 });
  }

  /** true: it passed by itself. false: it climbs. Nothing else may happen. */
  ask(payload: Uint8Array, ends: Endpoints = v4, options: UdpOptions = {}, gsoSegs = 0): boolean {
    return this.askPacket(udp(ends, options, payload), gsoSegs);
  }

  askPacket(packet: Uint8Array, gsoSegs = 0): boolean {
    const outcome = this.classify(packet, "lan0", 0, {}, gsoSegs);
    const passed = outcome.counted["allow-query"] === 1;
    assert.deepEqual(outcome.counted, passed ? { "allow-query": 1 } : { inspect: 1 });
    assert.equal(outcome.mark, marked(passed ? abi.Verdict.ALLOW : abi.Verdict.INSPECT));
    assert.equal(this.flowCount(), 0);
    return passed;
  }

  /** An answer to `ends.src` that came in by `from`. true: user space need not see it. */
  answer(payload: Uint8Array, ends: Endpoints = v4, options: UdpOptions = {}, from: DeviceName = "wan0"): boolean {
    const back = { src: ends.dst, dst: ends.src };
    return this.answerPacket(udp(back, { sport: 53, dport: 40_000, ...options }, payload), from);
  }

  answerPacket(packet: Uint8Array, from: DeviceName = "wan0", gsoSegs = 0): boolean {
    const { value, counted } = this.run("answer", frame(packet), this.#router[from].ifindex, 0, 0, gsoSegs);
    assert.deepEqual(counted, value === 1 ? { "allow-answer": 1 } : {});
    return value === 1;
  }

  asked(): { key: abi.AbiAskedKey; value: abi.AbiAsked }[] {
    const { count, keys, values } = this.map("asked").entries();
    return Array.from({ length: count }, (_, i) => ({
      key: abi.decodeAskedKey(keys, i * abi.ASKED_KEY_SIZE),
      value: abi.decodeAsked(values, i * abi.ASKED_SIZE),
    }));
  }
}
