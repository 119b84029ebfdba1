/** What doesn't fit into the tables is said before anything is loaded, and what is laid out fits exactly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePolicies } from "../../src/core/policy/compile.js";
import { checkTables, layOut } from "../../src/edge/tables.js";
import { specOf } from "../core/policy/random.js";

const cidr = ["198.51.100.0/24", "2001:db8:1::/48", "2001:db8:3::/48", "2001:db8:5::/48"];
const { tables } = compilePolicies([specOf({ cidr })]);

test("each family has room for --max-cidrs of its own", () => {
  assert.deepEqual(checkTables(tables, 3), []);
  assert.deepEqual(checkTables(tables, 2), [
    "the rules need 3 IPv6 table entries, there is room for 2: raise --max-cidrs",
  ]);
  assert.equal(checkTables(tables, 0).length, 2);
});

test("maps have exactly the entries that the rules need, and never none", () => {
  // Ranges: what is before, between and behind the networks, and they. Slots of a /48 from 2001:db8:1:: to 2001:db8:6::.
  assert.deepEqual(layOut(tables).maxEntries, { cidr4: 3, cidr4_index: 4, cidr6: 7, cidr6_index: 6, cidr6_nodes: 1 });
  const none = layOut({ portSets: [], portSetBase: 0, cidrs: [], policies: [] }).maxEntries;
  assert.deepEqual(none, { cidr4: 1, cidr4_index: 1, cidr6: 1, cidr6_index: 1, cidr6_nodes: 1 });
});
