import assert from "node:assert/strict";
import test from "node:test";
import { byAddressOnly, decidesNames, passesDns, readsSni } from "../../../bench/harness/fits.js";
import { quickSeconds } from "../../../bench/harness/run.js";
import { byAddress, byName, manyNames, names, shortName } from "../../../bench/harness/workload.js";
import { server } from "../../../bench/lab.js";
import { scenarios } from "../../../bench/scenarios/index.js";
import { systems } from "../../../bench/systems/index.js";
import { serverAddresses } from "../../../bench/systems/upstream.js";

test("a million names are different, are names, and fit on a command line", () => {
  const { domains } = manyNames(1_000_000);
  assert.equal(new Set(domains).size, 1_000_001);
  assert.ok(domains.every((domain) => domain === names.pattern || /^[0-9a-z]{3}\.[a-z]$/.test(domain)));
  // include/uapi/linux/binfmts.h and fs/exec.c: three quarters of the default stack, 6 MiB, for arguments and environment.
  assert.ok(domains.reduce((sum, domain) => sum + domain.length + 1, 0) < 6 * 2 ** 20 - 65_536);
  assert.equal(shortName(1_213_055), "zzz.z");
});

test("the denied name is a neighbour of the allowed one, and the addresses are what the lab says", () => {
  const allowed = (name: string) => name.endsWith(names.pattern.slice(1));
  assert.ok(allowed(names.one) && allowed(names.allowed.replace("%", "1023")));
  assert.ok(!allowed(names.denied.replace("%", "0001")) && !allowed("bench.example"));
  assert.equal(names.count % server.count, 0, "a name would move from address to address");
  assert.equal(serverAddresses("v4").at(-1), "198.51.96.64");
  assert.equal(serverAddresses("v6").at(-1), "2001:db8:51::40");
});

test("workloads of different policies never share a lab", () => {
  const keys = [byName, byAddress(0), byAddress(1_000), manyNames(1_000), manyNames(10)].map(({ key }) => key);
  assert.equal(new Set(keys).size, keys.length);
});

test("registries: plain forwarding first, names and letters once, every system says why it is fair", () => {
  assert.equal(systems[0]!.name, "plain");
  assert.equal(new Set(systems.map(({ name }) => name)).size, systems.length);
  for (const { name, fair } of systems) assert.ok(fair.length > 40, name);
  assert.equal(new Set(scenarios.flatMap(({ letter, name }) => [letter, name])).size, 2 * scenarios.length);
  for (const { name, seconds } of scenarios) assert.ok(seconds.quick > 0 && seconds.quick <= seconds.full, name);
});

test("where addresses decide, one l7egg stands for all; proxies and name-only systems say why they don't", () => {
  const fits = byAddressOnly(systems);
  const measured = systems.filter((system) => fits(system) === true).map(({ name }) => name);
  assert.deepEqual(measured, ["plain", "l7egg-both", "dnsmasq-ipset"]);
  assert.equal(fits(systems.find(({ name }) => name === "l7egg-dns")!), "the same path as l7egg-both");
  const two = systems.filter(({ name }) => ["plain", "l7egg-dns"].includes(name));
  assert.equal(byAddressOnly(two)(two[1]!), true);
});

test("who reads the name, who passes DNS, who decides by name", () => {
  const of = (fits: typeof readsSni) => systems.filter((system) => fits(system) === true).map(({ name }) => name);
  assert.deepEqual(of(readsSni), [
    "plain",
    "l7egg-sni",
    "l7egg-both",
    "npm-nfqueue",
    "nginx",
    "haproxy",
    "squid",
    "sniproxy",
  ]);
  assert.ok(!of(passesDns).includes("nginx") && of(passesDns).includes("squid"));
  assert.deepEqual(
    of(decidesNames),
    systems.map(({ name }) => name),
  );
});

test("a quick run of everything keeps to its two minutes; who takes longer takes it from those that follow", () => {
  let spent = 0;
  for (const at of scenarios.keys()) spent += quickSeconds(scenarios.slice(at), spent);
  assert.ok(spent > 90 && spent <= 115, `${spent} s`);
  assert.equal(quickSeconds(scenarios.slice(-1), 0), scenarios.at(-1)!.seconds.quick);
  assert.ok(quickSeconds(scenarios.slice(-2), 100) < scenarios.at(-2)!.seconds.quick);
  assert.equal(quickSeconds(scenarios.slice(-2), 130), 0);
});
