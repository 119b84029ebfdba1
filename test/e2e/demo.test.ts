/** The demo as people run it: everything as expected, and nothing left after Ctrl-C in the middle of it. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { start, until } from "../lab/process.js";

const demo = [
  process.execPath,
  "--import",
  "tsx",
  fileURLToPath(new URL("../../scripts/demo/main.ts", import.meta.url)),
];

function left(pid: number): string[] {
  return ["/run/netns", "/run/l7egg", "/sys/fs/bpf/l7egg", tmpdir()].flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(`l7-${pid}-`)) : [],
  );
}

describe("npm run demo", () => {
  it("ends with 0, in less than a minute, without colours in a pipe", async () => {
    const begun = performance.now();
    const daemon = start(demo);
    const { code } = await daemon.exited;
    assert.equal(code, 0, daemon.stdout + daemon.stderr);
    assert.ok(performance.now() - begun < 60_000);
    assert.match(daemon.stdout, /All \d+ as expected/);
    assert.match(daemon.stdout, /of plain/);
    assert.ok(!daemon.stdout.includes("\x1b"));
    assert.deepEqual(left(daemon.pid), []);
  });

  it("is gone after Ctrl-C", async () => {
    const daemon = start(demo);
    await until(
      () => `the gateway of the demo: ${daemon.stdout}${daemon.stderr}`,
      () => daemon.stdout.includes("l7egg run --lan") || (daemon.ended && "ended"),
      40_000,
    );
    assert.notDeepEqual(left(daemon.pid), []);
    daemon.child.kill("SIGINT");
    assert.equal((await daemon.exited).code, 130, daemon.stderr);
    assert.match(daemon.stdout, /\nStopped: the gateway and all namespaces are removed\.\n$/);
    assert.deepEqual(left(daemon.pid), []);
  });
});
