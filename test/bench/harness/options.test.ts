import assert from "node:assert/strict";
import test from "node:test";
import { readOptions, type BenchOptions } from "../../../bench/harness/options.js";

const choices = {
  scenarios: [
    { letter: "a", name: "throughput", title: "" },
    { letter: "c", name: "connections", title: "" },
    { letter: "d", name: "firstbyte", title: "" },
  ],
  systems: ["plain", "l7egg-both", "nginx"].map((name) => ({ name, title: "" })),
};

function options(...words: string[]): BenchOptions {
  const asked = readOptions(words, choices);
  if (asked.kind !== "run") throw new Error(`${asked.kind}: ${"line" in asked ? asked.line : ""}`);
  return asked.options;
}

function refusal(...words: string[]): string {
  const asked = readOptions(words, choices);
  if (asked.kind !== "invalid") throw new Error(`${words.join(" ")} was taken as ${asked.kind}`);
  assert.ok(!asked.line.includes("\n"));
  return asked.line;
}

test("nothing given: everything, five rounds", () => {
  assert.deepEqual(options(), {
    quick: false,
    scenarios: ["throughput", "connections", "firstbyte"],
    systems: ["plain", "l7egg-both", "nginx"],
    rounds: 5,
    out: "bench/results",
  });
});

test("scenarios by letter and by name, with commas and repeated, in the order of the registry, each once", () => {
  const { scenarios } = options("--scenario", "firstbyte,a", "--scenario", "d");
  assert.deepEqual(scenarios, ["throughput", "firstbyte"]);
});

test("systems by name; a letter is none", () => {
  assert.deepEqual(options("--system", "nginx").systems, ["nginx"]);
  assert.equal(refusal("--system", "a"), "--system a: one of plain, l7egg-both, nginx");
});

test("rounds: 1 to 1,000; fewer by default in a quick run", () => {
  assert.equal(options("--rounds", "1").rounds, 1);
  assert.equal(options("--rounds", "1000").rounds, 1_000);
  assert.equal(options("--quick").rounds, 2);
  assert.equal(options("--quick", "--rounds", "7").rounds, 7);
  for (const wrong of ["0", "1001", "-1", "1.5", "five", "", "1e2"])
    assert.match(refusal("--rounds", wrong), /1 to 1000/);
});

test("what is wrong is said in one line", () => {
  assert.equal(refusal("--scenario", "x"), "--scenario x: one of throughput, connections, firstbyte");
  assert.match(refusal("--scenario", "a,,c"), /empty/);
  assert.match(refusal("--scenarios"), /unknown option '--scenarios' \(Did you mean --scenario\?\)/);
  assert.match(refusal("c"), /too many arguments/);
  assert.match(refusal("--rounds"), /argument missing/);
});

test("--list and --help win over the rest", () => {
  assert.equal(readOptions(["--list", "--quick"], choices).kind, "list");
  const help = readOptions(["--help"], choices);
  assert.ok(help.kind === "help" && /--quick[^]*--scenario[^]*Examples/.test(help.text));
});
