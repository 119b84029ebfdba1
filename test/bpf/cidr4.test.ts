/**
 * The IPv4 tables as the gateway writes them, asked by the real program; mostly at the gate, which asks them of every packet without a mark,
 * whatever its route. What must come out is said by models that look at every rule.
 */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { addrFromBytes, formatAddr, type Addr } from "../../src/core/net/address.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import type { Cidr } from "../../src/core/policy/types.js";
import { dotted, manyCidrs } from "../../bench/cidrs.js";
import { addressVectors } from "../core/policy/addressVectors.js";
import { Random, specOf } from "../core/policy/random.js";
import { ALLOW, INSPECT, bodyOf, cidrTables, reasonOf } from "./cidrTables.js";
import { makeRouter, ownNamespace, TC_ACT_SHOT, u32 } from "./harness.js";
import { frame, ip, PROTO } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
const { load, ask, close } = cidrTables(router);
afterEach(close);

function addressOf(number: number): Addr {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number >>> 0);
  return addrFromBytes(bytes, 0, 4);
}

/** Groups and the broadcast address are nobody's egress: the gate denies them before it asks. */
const isUnicast = (addr: Addr) => addr.charCodeAt(0) < 224;

test("100,000 CIDRs: random addresses, first and last ones and their neighbours, as looking at every CIDR says", () => {
  const cidrs = manyCidrs(100_000);
  // Wide denials around some of them, and one that holds only itself.
  const denied = ["20.0.0.0/8", "64.0.0.0/10", "100.64.0.0/16", "8.8.8.8/32"];
  const spec = specOf({ cidr: cidrs.map(({ address, prefix }) => `${dotted(address)}/${prefix}`), denyCidr: denied });
  const datapath = load(compilePolicies([spec]).tables);
  const model = modelOf(
    spec.rules.flatMap((rule) => (rule.kind === "cidr" ? [{ ...rule.cidr, action: rule.action }] : [])),
  );
  const random = new Random(7);
  const asked = new Set<number>();
  for (let i = 0; i < 2500; i++) {
    const { address, prefix } = cidrs[random.int(cidrs.length)]!;
    const size = 2 ** (32 - prefix);
    for (const at of [address - 1, address, address + size - 1, address + size, address + random.int(size)])
      asked.add(at);
    asked.add(random.int(224 * 2 ** 24)).add(random.pick([20, 64, 100]) * 2 ** 24 + random.int(2 ** 24));
  }
  const program = datapath.object.program("classify");
  const place = { ifindex: router.lan0.ifindex, ingressIfindex: router.lan0.ifindex };
  const seen: Record<string, number> = {};
  for (const number of asked) {
    const addr = addressOf(number);
    // A denial asks for the route first: here only what leaves by the default one.
    if ([0, 10, 127, 192, 203].includes(addr.charCodeAt(0))) continue;
    const data = frame(
      ip({ src: "10.1.0.10", dst: formatAddr(addr), proto: PROTO.TCP, body: bodyOf(PROTO.TCP, 443) }),
      {
        to: router.lan0.mac,
      },
    );
    const { returnValue, mark } = program.testRun({ data, ...place });
    const said = returnValue === TC_ACT_SHOT ? "deny" : { [ALLOW]: "allow", [INSPECT]: "none" }[mark];
    assert.equal(said, model(addr), formatAddr(addr));
    seen[said] = (seen[said] ?? 0) + 1;
  }
  for (const kind of ["allow", "deny", "none"]) assert.ok(seen[kind]! > 900, JSON.stringify(seen));
});

/** The longest prefix decides. A map for each length, each asked: nothing is sorted, flattened or searched. */
function modelOf(rules: readonly (Cidr & { action: "allow" | "deny" })[]): (addr: Addr) => "allow" | "deny" | "none" {
  const byLength = Array.from({ length: 33 }, () => new Map<number, "allow" | "deny">());
  const masked = (addr: Addr, length: number) =>
    Math.floor(Buffer.from(addr, "latin1").readUInt32BE(0) / 2 ** (32 - length));
  for (const { addr, length, action } of rules) byLength[length]!.set(masked(addr, length), action);
  return (addr) => {
    for (let length = 32; length >= 0; length--) {
      const found = byLength[length]!.get(masked(addr, length));
      if (found) return found;
    }
    return "none";
  };
}

test("property: the reference of the policy tests and the program agree, policy, ports and protocols", () => {
  const kinds: Record<string, number> = {};
  for (let seed = 100; seed < 106; seed++) {
    const { compiled, vectors } = addressVectors(seed, 2, 150);
    const datapath = load(compiled.tables);
    for (const { policy, addr, proto, port, expect } of vectors) {
      if (addr.length !== 4 || !isUnicast(addr) || proto === PROTO.ICMP6) continue;
      // UDP and ICMP make a flow, which would answer the next one.
      datapath.forgetFlows();
      const what = `seed ${seed}, policy ${policy}: ${formatAddr(addr)} protocol ${proto} port ${port}`;
      const { counted, dropped } = ask(datapath, formatAddr(addr), proto, port, policy === 1 ? "lan0" : "lan1");
      const reason = Object.keys(counted).join();
      assert.match(reason, reasonOf(expect), what);
      assert.equal(dropped, expect.kind !== "allow", what);
      kinds[expect.kind] = (kinds[expect.kind] ?? 0) + 1;
    }
  }
  for (const kind of ["allow", "deny", "dns", "names"]) assert.ok(kinds[kind]! > 5, JSON.stringify(kinds));
});

test("an address is in its policy's ranges only: first and last of the neighbours in the map", () => {
  const specs = [
    specOf({ cidr: ["0.0.0.0/0"] }, 1),
    specOf({ domain: ["x.io"] }, 2),
    specOf({ cidr: ["0.0.0.0/0"] }, 3),
  ];
  const datapath = load(compilePolicies(specs).tables);
  for (const dst of ["0.0.0.1", "223.255.255.255", "128.0.0.0"]) {
    assert.deepEqual(ask(datapath, dst).counted, { "allow-cidr": 1 });
    assert.deepEqual(ask(datapath, dst, PROTO.TCP, 443, "lan1").counted, { "not-inspected": 1 });
  }
});

test("tables that contradict themselves are closed, and nothing is read beyond them", () => {
  const dst = "198.51.100.7";
  const { tables } = compilePolicies([specOf({ cidr: ["0.0.0.0/0"] })]);
  const datapath = load(tables);
  const index = (at: number, count: number) => datapath.put("cidr4_index", u32(0), abi.encodeCidr4Index({ at, count }));
  const place = (cidr4Index: number, cidr4Shift: number) =>
    datapath.put(
      "policies",
      u32(1),
      abi.encodePolicy({ present: 1, verify: 0, quic: 0, namePorts: 0, cidr4Index, cidr4Shift, cidr6Node: 0 }),
    );
  const says = (reason: string) => {
    const { counted, dropped } = ask(datapath, dst);
    assert.deepEqual({ counted, dropped }, { counted: { [reason]: 1 }, dropped: reason !== "allow-cidr" });
  };
  says("allow-cidr");
  for (const [at, count] of [[1, 1], [0xffffffff, 1], [0, 1000], [0, 0xffffffff], [0xffffffff, 0xffffffff]] as const) {
    index(at, count);
    says("no-policy");
  } // prettier-ignore
  index(0, 1);
  says("allow-cidr");
  for (const [cidr4Index, shift] of [[1, 32], [0xffffffff, 32], [0, 0], [0, 24]] as const) {
    place(cidr4Index, shift);
    says("no-policy");
  } // prettier-ignore
  place(0, 32);
  says("allow-cidr");
});
