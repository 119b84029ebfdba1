import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HeldPackets } from "../../../src/core/flow/held.js";

describe("HeldPackets", () => {
  it("lets the oldest go in order, all but those to keep", () => {
    const held = new HeldPackets<string>(100);
    held.hold("a", 100, 110);
    held.hold("b", 110, 120);
    held.hold("c", 120, 130);
    assert.deepEqual(held.releaseInOrder(1), ["a", "b"]);
    assert.equal(held.count, 1);
    assert.ok(held.hasReleased(120));
    assert.ok(!held.hasReleased(121));
  });

  it("lets nothing go behind a gap, and what was late once the gap is closed", () => {
    const held = new HeldPackets<string>(100);
    held.hold("late", 110, 120);
    assert.deepEqual(held.releaseInOrder(0), []);
    held.hold("first", 100, 110);
    assert.deepEqual(held.releaseInOrder(0), ["first", "late"]);
  });

  it("lets go what ends before a point, and remembers how far that is", () => {
    const held = new HeldPackets<string>(0xfffffff0);
    held.hold("a", 0xfffffff0, 0);
    held.hold("b", 0, 10);
    assert.deepEqual(held.releaseUpTo(9), ["a"]);
    assert.ok(held.hasReleased(0));
    assert.ok(!held.hasReleased(1));
    assert.deepEqual(held.takeAll(), ["b"]);
    assert.equal(held.count, 0);
  });

  it("does not go back when an old packet is released", () => {
    const held = new HeldPackets<string>(100);
    held.hold("a", 100, 130);
    held.hold("again", 100, 110);
    held.releaseInOrder(0);
    assert.ok(held.hasReleased(130));
  });
});
