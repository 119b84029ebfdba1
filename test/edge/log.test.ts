import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { constants, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Reason } from "../../src/core/abi.generated.js";
import type { DecisionCommand } from "../../src/core/engine/commands.js";
import { parseAddr } from "../../src/core/net/address.js";
import { tryKill } from "../lab/cleanup.js";
import { createLog, decisionFields } from "../../src/edge/log.js";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "log-"));
  path = join(folder, "log");
});
afterEach(() => rmSync(folder, { recursive: true }));

const decision: DecisionCommand = {
  type: "decision",
  verdict: "deny",
  reason: Reason.NAME_IP_MISMATCH,
  inKernel: false,
  policy: 1,
  rule: 2,
  by: undefined,
  client: parseAddr("2001:db8::5"),
  address: parseAddr("2001:db8::1"),
  port: 443,
  proto: 6,
  name: "www.x.io",
  detail: "2 names in SNI",
};

function ruleText(policy: number, rule: number): string {
  return rule === 0 ? "" : `--domain r${policy}.${rule}`;
}

async function written(
  format: "json" | "pretty",
  work: (log: ReturnType<typeof createLog>) => void,
  limit = 1000,
): Promise<string[]> {
  const fd = openSync(path, "w");
  const log = createLog({ format, ruleText, fd, decisionsPerSecond: limit });
  work(log);
  await new Promise((resolve) => setTimeout(resolve, limit < 1000 ? 1150 : 50));
  log.close();
  return readFileSync(path, "utf8").trimEnd().split("\n");
}

test("a decision in JSON has every field under its name", async () => {
  const [line] = await written("json", (log) => log.decision(decision));
  const { time, ...fields } = JSON.parse(line as string) as Record<string, unknown>;
  assert.match(time as string, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(fields, {
    level: "info",
    verdict: "deny",
    reason: "name-ip-mismatch",
    client: "2001:db8::5",
    name: "www.x.io",
    address: "2001:db8::1",
    port: 443,
    proto: "tcp",
    rule: "--domain r1.2",
    detail: "2 names in SNI",
    msg: "decision",
  });
});

test("what a packet doesn't have is left out", () => {
  const bare = {
    ...decision,
    rule: 0,
    client: undefined,
    address: undefined,
    port: undefined,
    proto: 89,
    name: undefined,
    detail: undefined,
  };
  assert.deepEqual(decisionFields(bare, ruleText), { verdict: "deny", reason: "name-ip-mismatch", proto: "proto-89" });
});

test("a decision for people is one line", async () => {
  const lines = await written("pretty", (log) => {
    log.info({ pid: 1 }, "ready");
    log.decision(decision);
  });
  assert.equal(lines.length, 2);
  assert.match(lines[0] as string, /^\[\d\d:\d\d:\d\d\.\d{3}\]: ready$/);
  assert.match(lines[1] as string, /^\[\d\d:\d\d:\d\d\.\d{3}\]: deny /);
  assert.ok(
    (lines[1] as string).endsWith(
      "deny  2001:db8::5 -> www.x.io [2001:db8::1]:443/tcp  name-ip-mismatch  (--domain r1.2)  2 names in SNI",
    ),
    lines[1],
  );
});

for (const format of ["json", "pretty"] as const) {
  test(`${format}: decisions are written together, in order with all else; what is said about something else is written at once`, async () => {
    const fd = openSync(path, "w");
    const log = createLog({ format, ruleText, fd });
    const lines = () => readFileSync(path, "utf8").trimEnd().split("\n");
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
    log.decision({ ...decision, detail: "first" });
    log.decision({ ...decision, detail: "second" });
    log.warn({}, "third");
    log.decision({ ...decision, detail: "fourth" });
    while (lines().length < 3) await turn();
    assert.equal(lines().length, 3, "the last decision waits for more");
    while (lines().length < 4) await turn();
    ["first", "second", "third", "fourth"].forEach((word, i) => assert.ok(lines()[i]?.includes(word), word));
    log.decision({ ...decision, detail: "fifth" });
    log.close();
    assert.match(lines()[4] as string, /fifth/, "the end waits for nobody");
  });
}

test("at most so many a second; the rest is one line that counts them", async () => {
  let stats: unknown;
  const lines = await written(
    "json",
    (log) => {
      for (let i = 0; i < 25; i++) log.decision(decision);
      stats = log.stats();
    },
    10,
  );
  const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  assert.equal(messages.filter((message) => message === "decision").length, 10);
  assert.deepEqual(messages.slice(10), ["15 more decisions in the last second are not shown"]);
  assert.deepEqual(stats, { decisions: 25, suppressed: 15, dropped: 0 });
});

/** A process of its own writes into a pipe that nobody reads, and says on its exit code how it went. */
function writer(body: string): string[] {
  const module = new URL("../../src/edge/log.ts", import.meta.url).href;
  return [
    "--import",
    "tsx",
    "--input-type=module",
    "-e",
    `const { createLog } = await import(${JSON.stringify(module)});\n${body}`,
  ];
}

test("a reader that goes away costs lines, not the gateway", () => {
  const body = `
    const log = createLog({ format: "json", ruleText: () => "" });
    const timer = setInterval(() => log.info({}, "x".repeat(1000)), 1);
    setTimeout(() => { clearInterval(timer); log.close(); process.exit(7); }, 400);
  `;
  const command = [process.execPath, ...writer(body)].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  const out = spawnSync("bash", ["-c", `${command} | head -c 10 >/dev/null; exit \${PIPESTATUS[0]}`], {
    encoding: "utf8",
  });
  assert.equal(out.status, 7, out.stderr);
});

test("decisions that a reader doesn't read are dropped by the line", () => {
  spawnSync("mkfifo", [path]);
  // Its own reader, which doesn't read.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const log = createLog({ format: "pretty", ruleText, fd, decisionsPerSecond: 1e9 });
  for (let i = 0; i < 8000; i++) log.decision({ ...decision, name: "x".repeat(900) });
  // Some 17 lines are written together, and as many may still wait for more.
  const { dropped } = log.stats();
  const line =
    16 +
    "deny  2001:db8::5 ->  [2001:db8::1]:443/tcp  name-ip-mismatch  (--domain r1.2)  2 names in SNI\n".length +
    900;
  const fitting = Math.floor((4 * 1024 * 1024) / line);
  assert.ok(Math.abs(8000 - fitting - dropped) < 40, `${dropped} of 8000, ${fitting} fit`);
  log.close();
});

test("a reader that doesn't read holds up nothing: the rest is dropped beyond 4 MiB, and counted", async () => {
  const body = `
    const log = createLog({ format: "json", ruleText: () => "" });
    const begun = Date.now();
    for (let i = 0; i < 8000; i++) log.info({}, "x".repeat(1000));
    const ms = Date.now() - begun;
    setTimeout(() => { log.close(); process.exit(log.stats().dropped > 2000 && ms < 2000 ? 7 : 1); }, 100);
  `;
  // A socket, as one program gives another, and a pipe, as the shell makes: the one says EAGAIN, the other blocks a thread.
  for (const argv of [
    [process.execPath, ...writer(body)],
    ["bash", "-c", `"$@" > >(sleep 10)`, "bash", process.execPath, ...writer(body)],
  ]) {
    const begun = Date.now();
    const child = spawn(argv[0] as string, argv.slice(1), { stdio: ["ignore", "pipe", "inherit"], detached: true });
    const code = await new Promise((resolve) => child.once("exit", resolve));
    child.stdout.destroy();
    if (child.pid !== undefined) tryKill(-child.pid);
    assert.equal(code, 7);
    assert.ok(Date.now() - begun < 5000, "and the end is not held up");
  }
});
