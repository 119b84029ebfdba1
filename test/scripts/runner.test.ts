/** The test runner itself: a file that hangs is stopped with everything it started, and the others still count. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isRunning } from "../lab/cleanup.js";

const runner = fileURLToPath(new URL("../../scripts/run-tests.ts", import.meta.url));

function runTests(folder: string, ...options: string[]) {
  const env = { ...process.env };
  // Else the runner takes itself for a test file.
  delete env["NODE_TEST_CONTEXT"];
  return spawnSync(process.execPath, ["--import", "tsx", runner, ...options, folder], { encoding: "utf8", env });
}

test("a file that hangs in a child that ignores SIGTERM", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "l7egg-runner-"));
  t.after(() => rmSync(folder, { recursive: true }));
  // The process of the file is blocked, and its child holds the file's output: ending the file alone would not end the run.
  writeFileSync(
    join(folder, "hangs.test.ts"),
    `import { spawnSync } from "node:child_process";
spawnSync("sh", ["-c", "trap '' TERM; echo $$ > ${folder}/pid; while :; do sleep 1; done"], { stdio: "inherit" });
`,
  );
  writeFileSync(join(folder, "fine.test.ts"), `import { test } from "node:test";\ntest("fine", () => {});\n`);
  const out = runTests(folder, "--timeout", "3");
  const pid = Number(readFileSync(join(folder, "pid"), "utf8"));
  assert.equal(isRunning(pid), false, "the child is gone");
  assert.match(out.stderr, /^run-tests: .*hangs\.test\.ts was stopped: not done after 3 s$/m);
  assert.match(out.stdout, /✔ fine/);
  assert.match(out.stdout, /^ℹ pass 1$/m);
  assert.match(out.stdout, /^ℹ fail 1$/m);
  assert.equal(out.status, 1);
});

test("files within the limit are left alone; no files is an error", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "l7egg-runner-"));
  t.after(() => rmSync(folder, { recursive: true }));
  assert.equal(runTests(folder).status, 2);
  writeFileSync(join(folder, "fine.test.ts"), `import { test } from "node:test";\ntest("fine", () => {});\n`);
  const out = runTests(folder);
  assert.equal(out.status, 0, out.stdout + out.stderr);
  assert.equal(out.stderr, "");
});
