/**
 * `npm run bench -- --quick`, as little of it as shows that it works: real labs, real systems, real packets. What it takes is not judged. Runs by itself,
 * after the tests that are confined to their process (scripts/run-tests.ts).
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import type { Results } from "../../bench/harness/results.js";
import { systems } from "../../bench/systems/index.js";
import { until } from "../lab/process.js";

const main = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));
const argv = (words: readonly string[]) => ["--import", "tsx", main, ...words];
const folder = mkdtempSync(join(tmpdir(), "l7egg-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** What a run of this process id has left: namespaces, pins, sockets, temporary folders carry it in their names. */
function leftBy(pid: number): string[] {
  const places = ["/run/netns", "/sys/fs/bpf/l7egg", "/run/l7egg", tmpdir()];
  const list = (place: string) => {
    try {
      return readdirSync(place);
    } catch {
      return [];
    }
  };
  return places.flatMap((place) => list(place).filter((name) => name.startsWith(`l7-${pid}-`)).map((name) => join(place, name))); // prettier-ignore
}

test("a quick run: rows of every system that was asked for, JSON, Markdown and plots, and nothing is left", async (t) => {
  const out = join(folder, "whole");
  const asked = ["plain", "l7egg-both", "haproxy", "egress-eddie"];
  const words = [
    "--quick",
    "--rounds",
    "1",
    "--scenario",
    "d,ebpf",
    "--system",
    asked.slice(1).join(","),
    "--out",
    out,
  ];
  const run = spawnSync(process.execPath, argv(words), { encoding: "utf8", timeout: 120_000 });
  assert.equal(run.status, 0, `${run.stderr}\n${run.stdout}`);
  assert.deepEqual(leftBy(run.pid), []);
  const files = readdirSync(out, { recursive: true, encoding: "utf8" });
  const only = (ending: string) => {
    const found = files.filter((file) => file.endsWith(ending));
    assert.equal(found.length, 1, files.join("\n"));
    return readFileSync(join(out, found[0]!), "utf8");
  };
  const results = JSON.parse(only(".json")) as Results;
  const report = only(".md");

  await t.test("the results say what was run, on what", () => {
    // The load generators' own ceiling is not among what was asked for.
    const measured = results.systems.map(({ name }) => name).filter((name) => systems.some((one) => one.name === name));
    assert.deepEqual(measured, asked);
    assert.deepEqual(results.scenarios.map(({ name, error }) => [name, error]), [["firstbyte", undefined], ["ebpf", undefined]]); // prettier-ignore
    assert.ok(results.quick && results.rounds === 1 && results.command.includes("--scenario d,ebpf"));
    assert.ok(results.machine.kernel !== "" && results.machine.cpus > 0);
  });

  await t.test("plain forwarding and l7egg have figures", () => {
    for (const system of ["plain", "l7egg-both"]) {
      const rows = results.rows.filter((row) => row.scenario === "firstbyte" && row.system === system);
      assert.ok(rows.length > 0, `no row of ${system}`);
      for (const { metric, point, median, note } of rows) {
        assert.ok(median !== null && median > 0, `${system}, ${metric}, ${point}: ${note ?? ""}`);
      }
    }
    const kernel = results.rows.filter((row) => row.scenario === "ebpf");
    assert.ok(kernel.some(({ metric, median }) => metric === "packet of a known flow" && median! > 0));
  });

  await t.test("a peer has a figure, or says why it has none", () => {
    for (const system of asked.slice(2)) {
      const rows = results.rows.filter((row) => row.scenario === "firstbyte" && row.system === system);
      assert.ok(rows.length > 0, `no row of ${system}`);
      for (const { median, note } of rows) assert.ok(median !== null || (note ?? "").length > 10, system);
    }
    const missing = results.rows.find(({ system, median }) => system === "egress-eddie" && median === null);
    if (missing) assert.match(missing.note!, /PATH|glue/);
  });

  await t.test("the report has a table for each scenario, and every system and reason in it", () => {
    for (const { title } of results.scenarios) assert.ok(report.includes(title), title);
    for (const { title } of results.systems) assert.ok(report.includes(title), title);
    for (const { system, median } of results.rows) {
      if (median === null) assert.ok(report.includes(systems.find(({ name }) => name === system)?.title ?? system));
    }
  });

  await t.test("plots are there, and the report shows each of them", () => {
    const plots = files.filter((file) => file.endsWith(".svg"));
    assert.ok(plots.length >= 3, files.join("\n"));
    for (const plot of plots) {
      assert.match(readFileSync(join(out, plot), "utf8"), /^<svg [^]*<\/svg>\n$/);
      assert.ok(report.includes(plot.replace(/^.*\//, "")), plot);
    }
  });
});

test("a wrong option is one line and exit code 2, and nothing was set up", () => {
  for (const [words, wanted] of [
    [["--scenario", "nonsense"], /nonsense.*throughput/],
    [["--system", "nginx,nobody"], /nobody.*nginx/],
    [["--rounds", "0"], /--rounds/],
    [["--fast"], /--fast/],
    [["extra"], /./],
  ] as const) {
    const run = spawnSync(process.execPath, argv(words), { encoding: "utf8" });
    assert.equal(run.status, 2, words.join(" "));
    assert.equal(run.stdout, "");
    assert.match(run.stderr, /^bench: [^\n]+\n$/);
    assert.match(run.stderr, wanted);
    assert.deepEqual(leftBy(run.pid), []);
  }
});

test("--list and --help say what there is", () => {
  const list = spawnSync(process.execPath, argv(["--list"]), { encoding: "utf8" });
  assert.equal(list.status, 0);
  for (const { name, title } of systems) assert.ok(list.stdout.includes(name) && list.stdout.includes(title), name);
  const help = spawnSync(process.execPath, argv(["--help"]), { encoding: "utf8" });
  assert.equal(help.status, 0);
  assert.match(help.stdout, /--quick[^]*--scenario[^]*--system[^]*--rounds/);
});

test("Ctrl-C amid a run: it ends, and nothing is left", async () => {
  const words = ["--quick", "--scenario", "d", "--system", "l7egg-both", "--out", join(folder, "stopped")];
  const child = spawn(process.execPath, argv(words), { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  await until(() => `labs to be built: ${said}`, () => leftBy(child.pid!).length >= 3, 30_000); // prettier-ignore
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  await ended;
  assert.deepEqual(leftBy(child.pid!), []);
});
