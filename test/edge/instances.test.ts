import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { readRunOptions } from "../../src/cli/runOptions.js";
import { UsageError } from "../../src/edge/errors.js";
import type { Instance } from "../../src/edge/instances.js";
import {
  claimInstance,
  conflicts,
  listInstances,
  networkNamespace,
  recordOf,
  releaseInstance,
} from "../../src/edge/instances.js";
import { isLocked, lockFolder, tryLock } from "../../src/edge/lock.js";
import type { GatewayOptions } from "../../src/edge/options.js";
import { markBits } from "../../src/edge/options.js";

let runDir = "";
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), "instances-"));
});
afterEach(() => rmSync(runDir, { recursive: true, force: true }));

function options(more: Partial<GatewayOptions> = {}): GatewayOptions {
  return { ...readRunOptions({ lan: ["lan0"], eface: "wan0", cn: ["x.io"] }), ...more };
}

function refusal(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    return error.lines;
  }
  return assert.fail("was not refused");
}

test("a lock is held by one, seen by others, and free after release", () => {
  const path = join(runDir, "lock");
  assert.equal(isLocked(path), false, "no file, no lock");
  const lock = tryLock(path);
  assert.ok(lock);
  assert.equal(tryLock(path), undefined);
  assert.equal(isLocked(path), true);
  lock.release();
  lock.release();
  assert.equal(isLocked(path), false);
  tryLock(path)?.release();
});

test("a lock dies with its holder, also by kill -9", async () => {
  const path = join(runDir, "lock");
  const lockModule = new URL("../../src/edge/lock.ts", import.meta.url).href;
  const script = `const { tryLock } = await import(${JSON.stringify(lockModule)}); tryLock(${JSON.stringify(path)}); console.log("held"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  assert.equal(tryLock(path), undefined);
  child.kill("SIGKILL");
  await new Promise((resolve) => child.once("exit", resolve));
  const lock = tryLock(path);
  assert.ok(lock);
  lock.release();
});

test("a folder's lock is made anew when the last one has removed the folder", () => {
  const folder = join(runDir, "run");
  const lock = lockFolder(folder, 1);
  assert.ok(lock);
  assert.equal(lockFolder(folder, 0), undefined, "held");
  rmSync(folder, { recursive: true });
  const next = lockFolder(folder, 0);
  assert.ok(next, "another folder, another lock");
  lock.release();
  next.release();
});

test("claim, claim again, release", () => {
  const claim = claimInstance(options(), runDir);
  assert.equal(claim.previous, undefined);
  assert.equal(listInstances(runDir)[0]?.alive, true);
  const [line] = refusal(() => claimInstance(options(), runDir));
  assert.equal(
    line,
    `instance "default" is running already (pid ${process.pid}): stop it, or give this one another --name`,
  );
  releaseInstance(claim.paths, claim.lock, runDir);
  assert.ok(!existsSync(runDir), "the last one takes the folder along");
});

test("after a kill -9 the record is handed over", () => {
  const claim = claimInstance(options(), runDir);
  claim.lock.release();
  assert.equal(listInstances(runDir)[0]?.alive, false);
  const next = claimInstance(options({ eface: "wan1" }), runDir);
  assert.equal(next.previous?.eface, "wan0");
  next.lock.release();
});

test("a conflict is told under the lock, and leaves no trace", () => {
  const first = claimInstance(options(), runDir);
  const lines = refusal(() => claimInstance(options({ name: "other" }), runDir));
  assert.equal(lines.length, 3, lines.join("\n"));
  assert.deepEqual(readdirSync(runDir), ["default"]);
  assert.equal(tryLock(join(runDir, "default", "lock")), undefined);
  first.lock.release();
});

test("what two instances can't share, and what they can", () => {
  const other: Instance = { alive: true, record: { ...recordOf(options({ name: "a" })), pid: 77 } };
  const netns = networkNamespace();
  const against = (more: Partial<GatewayOptions>) => conflicts(options({ name: "b", ...more }), netns, [other]);
  const free = { eface: "wan1", queues: { first: 1, last: 2 }, lan: ["lan1"] };
  assert.deepEqual(against(free), []);
  assert.deepEqual(against({ ...free, eface: "wan0" }), ['--eface wan0 is governed by instance "a" (pid 77) already']);
  assert.deepEqual(against({ ...free, queues: { first: 0, last: 3 } }), [
    '--queue 0:3 is taken: instance "a" (pid 77) holds 0',
  ]);
  assert.deepEqual(against({ ...free, lan: ["lan1", "lan0"] }), [
    '--lan lan0 is shared with instance "a" (pid 77), and both use mark 0x30: give this one --mark-mask 0xc0',
  ]);
  assert.deepEqual(against({ ...free, lan: ["lan0"], mark: markBits(0xc0) as GatewayOptions["mark"] }), []);
  assert.deepEqual(
    conflicts(options({ name: "b" }), netns + 1, [other]),
    [],
    "another network namespace is another world",
  );
});

test("a mask is two neighbouring bits", () => {
  assert.deepEqual(markBits(0x30), { mask: 0x30, shift: 4 });
  assert.deepEqual(markBits(3), { mask: 3, shift: 0 });
  assert.deepEqual(markBits(0xc0000000), { mask: 0xc0000000, shift: 30 });
  for (const bad of [0, 1, 2, 5, 7, 0x50, 0x80000000, 0x180000000, -1, 1.5, Number.NaN])
    assert.equal(markBits(bad), undefined, String(bad));
});

test("records that can't be read are nobody", () => {
  mkdirSync(join(runDir, "empty"));
  assert.deepEqual(listInstances(runDir), []);
  assert.deepEqual(listInstances(join(runDir, "none")), []);
});
