import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KeyHash, type FlowEnds } from "../../../src/core/flow/keyHash.js";
import { parseAddr } from "../../../src/core/net/address.js";

describe("KeyHash", () => {
  const four = { policy: 1, sport: 40_000, dport: 443, src: parseAddr("192.0.2.1")!, dst: parseAddr("198.51.100.7")! };
  const six = {
    policy: 0xffff,
    sport: 65_535,
    dport: 1,
    src: parseAddr("2001:db8::1")!,
    dst: parseAddr("2001:db8::2")!,
  };

  it("gives a flow one hash, whatever object says it", () => {
    const hash = new KeyHash(Buffer.from("seed"));
    for (const flow of [four, six]) assert.equal(hash.of(flow), hash.of({ ...flow }));
  });

  it("gives another one with another seed, and when one thing is another, or source and destination change places", () => {
    const [one, two] = [new KeyHash(Buffer.from("seed")), new KeyHash(Buffer.from("feed"))];
    assert.notEqual(one.of(four), two.of(four));
    const others: FlowEnds[] = [
      six,
      { ...four, policy: 2 },
      { ...four, sport: 40_001 },
      { ...four, dport: 444 },
      { ...four, src: parseAddr("192.0.2.2")! },
      { ...four, src: four.dst, dst: four.src },
    ];
    assert.equal(new Set([four, ...others].map((flow) => one.of(flow))).size, others.length + 1);
  });
});
