import assert from "node:assert/strict";
import { test } from "node:test";
import { legacyReasons, nftReasons } from "../../src/edge/otherRules.js";

const chain = (hook: string | undefined, more: object = {}) => ({
  chain: { family: "ip", table: "t", name: "c", ...(hook === undefined ? {} : { hook, policy: "accept" }), ...more },
});
const rule = (...expr: object[]) => ({ rule: { family: "ip", table: "t", chain: "c", expr } });
const drop = { drop: null };
const governed = ["lan0", "wan0"];

test("rules where a forwarded packet comes by are in the way, those beside are not", () => {
  for (const [hook, counts] of [
    ["prerouting", true],
    ["forward", true],
    ["postrouting", true],
    ["input", false],
    ["output", false],
    [undefined, false],
  ] as const) {
    const reasons = nftReasons([chain(hook), rule(drop)], governed);
    assert.deepEqual(reasons, counts ? ["rules in chain ip t c"] : [], hook);
  }
  assert.deepEqual(nftReasons([chain("forward")], governed), []);
  assert.deepEqual(nftReasons([chain("forward", { policy: "drop" })], governed), ["policy drop of chain ip t c"]);
  assert.deepEqual(nftReasons([chain("input", { policy: "drop" })], governed), []);
  assert.deepEqual(nftReasons([chain("forward", { family: "arp" }), rule(drop)], governed), []);
  const netdev = (dev: string) => nftReasons([chain("ingress", { family: "ip", dev }), rule(drop)], governed);
  assert.deepEqual([netdev("wan0").length, netdev("eth9").length], [1, 0]);
  assert.deepEqual(nftReasons([{ flowtable: { family: "inet", table: "f", name: "fast" } }], governed), [
    "nftables flowtable f fast",
  ]);
});

test("the jumps to l7egg's chains are not in the way, the jump to its NAT is, and so is whatever stands beside a jump", () => {
  const jump = (target: string) => ({ jump: { target } });
  const reasons = (...expr: object[]) => nftReasons([chain("forward"), rule(...expr)], governed);
  assert.deepEqual(reasons({ counter: { packets: 1 } }, jump("L7EGG-FWD-default")), []);
  assert.deepEqual(reasons({ counter: null }, jump("L7EGG-PRE-other-1")), []);
  assert.equal(reasons({ counter: null }, jump("L7EGG-NAT-default")).length, 1);
  assert.equal(reasons({ counter: null }, jump("DOCKER-USER")).length, 1);
  assert.equal(reasons({ xt: null }, jump("L7EGG-FWD-default")).length, 1);
  assert.equal(reasons({ counter: null }).length, 0);
});

test("iptables-legacy: the same by its own words", () => {
  const text = (...lines: string[]) => ["*filter", ":INPUT DROP [0:0]", ...lines, "COMMIT"].join("\n");
  const reasons = (...lines: string[]) => legacyReasons(text(...lines), "iptables-legacy-save");
  assert.deepEqual(reasons(":FORWARD ACCEPT [0:0]", "-A INPUT -j DROP", "-A FORWARD -j L7EGG-FWD-a"), []);
  assert.deepEqual(reasons(":FORWARD DROP [0:0]"), ["policy DROP in FORWARD of table filter (iptables-legacy-save)"]);
  assert.deepEqual(reasons("-A FORWARD -i lan0 -j L7EGG-FWD-a"), [
    "rules in FORWARD of table filter (iptables-legacy-save)",
  ]);
  assert.deepEqual(reasons("-A POSTROUTING -j L7EGG-NAT-a").length, 1);
  assert.deepEqual(reasons("-A FORWARD -j ACCEPT", "-A FORWARD -j DROP").length, 1);
});
