import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { flowIdOf } from "../../../src/core/engine/voice.js";
import { KeyHash } from "../../../src/core/flow/keyHash.js";
import { parseAddr, type Addr } from "../../../src/core/net/address.js";

describe("KeyHash", () => {
  const ends: [number, number, number, Addr, Addr][] = [
    [1, 40_000, 443, parseAddr("192.0.2.1")!, parseAddr("198.51.100.7")!],
    [0xffff, 65_535, 1, parseAddr("2001:db8::1")!, parseAddr("2001:db8::2")!],
  ];

  it("gives a flow and its id one hash", () => {
    const hash = new KeyHash(Buffer.from("seed"));
    for (const flow of ends) assert.equal(hash.ofFlow(...flow), hash.of(flowIdOf(...flow)));
  });

  it("gives another one with another seed, and when source and destination change places", () => {
    const [one, two] = [new KeyHash(Buffer.from("seed")), new KeyHash(Buffer.from("feed"))];
    const [policy, sport, dport, src, dst] = ends[0]!;
    assert.notEqual(one.ofFlow(...ends[0]!), two.ofFlow(...ends[0]!));
    assert.notEqual(one.ofFlow(policy, sport, dport, src, dst), one.ofFlow(policy, sport, dport, dst, src));
  });
});
