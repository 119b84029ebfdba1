import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import type { Socket } from "node:net";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { callControl } from "../../src/control/client.js";
import { ControlError, maxRequestBytes } from "../../src/control/protocol.js";
import type { ControlOptions, ControlServer, Handlers } from "../../src/control/server.js";
import { serveControl } from "../../src/control/server.js";

let folder = "";
let path = "";
let server: ControlServer | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "control-"));
  path = join(folder, "control.sock");
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(folder, { recursive: true });
});

const handlers: Handlers = {
  reload: () => ({ reloaded: true }),
  status: ({ learned }) => ({ learned }),
  explain: ({ target }) => {
    if (target === "bad") throw new ControlError("bad-params", "no such thing");
    if (target === "broken") throw new Error("a bug");
    return { target, text: "x".repeat(200_000) };
  },
};

async function start(more: Partial<ControlOptions> = {}): Promise<void> {
  server = await serveControl({ path, handlers, group: "no-such-group-l7egg", ...more });
}

/** Send raw text, read `count` lines (or to the end). */
function raw(text: string | Buffer, count: number): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write(text));
    let got = "";
    const end = () => {
      socket.destroy();
      resolve(got.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as unknown)); // prettier-ignore
    };
    socket.on("data", (chunk) => {
      got += chunk.toString();
      if (got.split("\n").length > count) end();
    });
    socket.on("close", end);
    socket.on("error", reject);
  });
}

function request(fields: object): string {
  return `${JSON.stringify({ v: 1, id: 1, method: "status", ...fields })}\n`;
}

test("a question and its answer, also a long one", async () => {
  await start();
  assert.deepEqual(await callControl({ path, method: "status", params: { learned: 5 } }), { learned: 5 });
  assert.deepEqual(await callControl({ path, method: "status" }), { learned: 1000 });
  const long = (await callControl({ path, method: "explain", params: { target: "x.io" } })) as { text: string };
  assert.equal(long.text.length, 200_000);
});

test("several requests on one connection are answered in order, whatever the pieces they come in", async () => {
  await start();
  const text = [1, 2, 3].map((id) => request({ id, params: { learned: id } })).join("");
  assert.deepEqual(
    await raw(text, 3),
    [1, 2, 3].map((id) => ({ v: 1, id, result: { learned: id } })),
  );
});

test("what is wrong has a code, and the connection goes on", async () => {
  await start();
  const text = [
    "not json\n",
    "[1]\n",
    request({ v: 2, id: "a" }),
    request({ method: "stop" }),
    request({ method: "__proto__" }),
    request({ params: { learned: -1 } }),
    request({ params: { unknown: 1 } }),
    request({ method: "explain", params: { target: "bad" } }),
    request({ method: "explain", params: { target: "broken" } }),
    request({ id: 9, params: { learned: 0 } }),
  ].join("");
  const answers = (await raw(text, 10)) as { id: unknown; error?: { code: string; message: string } }[];
  assert.deepEqual(
    answers.map((answer) => answer.error?.code),
    [
      "bad-json",
      "bad-request",
      "unsupported-version",
      "unknown-method",
      "unknown-method",
      "bad-params",
      "bad-params",
      "bad-params",
      "internal",
      undefined,
    ],
  );
  assert.equal(answers[2]?.id, "a");
  assert.equal(answers[9]?.id, 9);
});

test("a line that is too long ends the connection", async () => {
  await start();
  const answers = (await raw("x".repeat(maxRequestBytes + 1), 1)) as { error: { code: string } }[];
  assert.equal(answers[0]?.error.code, "bad-json");
});

test("one client too many is told so; the next one is served when there is room", async () => {
  await start({ maxClients: 1 });
  const first = await connected();
  const answers = (await raw(request({}), 1)) as { error: { code: string } }[];
  assert.equal(answers[0]?.error.code, "busy");
  first.destroy();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await callControl({ path, method: "status", params: { learned: 1 } }), { learned: 1 });
});

test("a client that says nothing is cut off", async () => {
  await start({ idleMs: 50 });
  const socket = await connected();
  await new Promise((resolve) => socket.on("close", resolve));
});

test("without the group only root may ask; with it the group, too", async () => {
  await start();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await server?.close();
  await start({ group: "root" });
  assert.equal(statSync(path).mode & 0o777, 0o660);
});

test("nobody there, and a server that goes away", async () => {
  await assert.rejects(callControl({ path, method: "status" }), { code: "unreachable" });
  await start();
  await server?.close();
  await server?.close();
  await assert.rejects(callControl({ path, method: "status" }), { code: "unreachable" });
});

test("a handler that takes too long", async () => {
  await start({ handlers: { ...handlers, status: () => new Promise(() => {}) } });
  await assert.rejects(callControl({ path, method: "status", timeoutMs: 50 }), { code: "timeout" });
});

function connected(): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => setTimeout(() => resolve(socket), 10));
    socket.on("error", () => {});
  });
}
