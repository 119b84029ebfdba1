/**
 * Loading while signals arrive. The verifier gives a program up (EAGAIN) as soon as one waits for the thread that loads it; the real object takes
 * long enough that none of libbpf's few tries would come through.
 */
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { compile, succeeds } from "./place.js";

const env = {
  OBJECT: fileURLToPath(new URL("../../build/l7egg.bpf.o", import.meta.url)),
  REFUSED: compile("refused"),
};

/**
 * For a child. `shower`: another process sends it a signal as fast as it can, until it is told to stop or the child is gone. `blocked`: which signals
 * the main thread has blocked.
 */
const prelude = `
  import { spawn } from "node:child_process";
  import { readFileSync } from "node:fs";
  const shower = async (signal) => {
    let heard = 0;
    process.on(signal, () => heard++);
    const sender = spawn("bash", ["-c", 'while kill -s "$1" "$2"; do :; done', "_", signal, String(process.pid)], { stdio: "ignore" });
    while (heard === 0) await sleep(5);
    return {
      heard: () => heard,
      stop: async () => {
        sender.kill("SIGKILL");
        await new Promise((resolve) => sender.on("close", resolve));
      },
    };
  };
  const blocked = () => /^SigBlk:\\s*(\\w+)$/m.exec(readFileSync("/proc/thread-self/status", "utf8"))[1];
`;

describe("loading an object while signals arrive", () => {
  for (const signal of ["SIGCHLD", "SIGPROF"]) {
    test(`${signal}, all the time: it loads, and the signals come afterwards`, async () => {
      await succeeds(
        `${prelude}
        const before = blocked();
        const rain = await shower(${JSON.stringify(signal)});
        try {
          for (let i = 0; i < 3; i++) {
            native.loadObject({ path: process.env.OBJECT, maxEntries: { flows4: 64, flows6: 64 } }).close();
            assert.equal(blocked(), before);
            const heard = rain.heard();
            for (let turns = 0; rain.heard() === heard && turns < 1000; turns++) await sleep(5);
            assert.ok(rain.heard() > heard, "signals are heard again");
          }
        } finally {
          await rain.stop();
        }`,
        { env },
      );
    });
  }

  test("a program that is refused leaves the signals as they were, too", async () => {
    await succeeds(
      `${prelude}
      const before = blocked();
      assert.throws(() => native.loadObject({ path: process.env.REFUSED }), (error) => error instanceof SystemError && /map_value_or_null/.test(error.log ?? ""));
      assert.throws(() => native.loadObject({ path: "/nowhere.o" }), (error) => error.code === "ENOENT");
      assert.equal(blocked(), before);`,
      { env },
    );
  });
});
