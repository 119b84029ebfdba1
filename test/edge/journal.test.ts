import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { ClientId } from "../../src/core/engine/events.js";
import type { Addr } from "../../src/core/net/address.js";
import { parseAddr } from "../../src/core/net/address.js";
import type { JournalEntry } from "../../src/edge/journal.js";
import { Journal, readJournal } from "../../src/edge/journal.js";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "journal-"));
  path = join(folder, "learned.jsonl");
});
afterEach(() => rmSync(folder, { recursive: true }));

const client = "\x04\0\0\0\0\0\x02\xff\0\0\0\x01\0\0\0\0" as ClientId;

function entry(name: string, address: string, expires: number): JournalEntry {
  return { policy: 1, client, name, address: parseAddr(address) as Addr, chain: [name, `cdn.${name}`], expires };
}

function journal(alive: () => Iterable<JournalEntry> = () => [], more: object = {}): Journal {
  return new Journal({ path, bootId: "boot-1", alive, ...more });
}

test("what was appended is read back, also without an orderly end", () => {
  const one = journal();
  one.commit();
  one.append(entry("a.io", "192.0.2.1", 5000));
  one.append(entry("b.io", "2001:db8::1", 6000.4));
  one.flush();
  // No close: kill -9.
  const read = readJournal(path, "boot-1", 1000);
  assert.deepEqual(read, [
    { type: "restored", ...entry("a.io", "192.0.2.1", 5000) },
    { type: "restored", ...entry("b.io", "2001:db8::1", 6000) },
  ]);
  one.close();
});

test("expired entries, another boot and a missing file give nothing", () => {
  const one = journal();
  one.commit();
  one.append(entry("a.io", "192.0.2.1", 5000));
  one.close();
  assert.equal(readJournal(path, "boot-1", 4999).length, 1);
  assert.equal(readJournal(path, "boot-1", 5000).length, 0);
  assert.equal(readJournal(path, "boot-2", 1000).length, 0);
  assert.equal(readJournal(join(folder, "none"), "boot-1", 1000).length, 0);
});

test("the last line for the same thing counts; lines that don't parse are skipped", () => {
  const one = journal();
  one.commit();
  one.append(entry("a.io", "192.0.2.1", 5000));
  one.append(entry("a.io", "192.0.2.1", 9000));
  one.close();
  appendFileSync(path, '{"p":1,"c":"zz"}\nnot json\n{"p":1,"c":"0400000000000\n{"p":1,"n":"cut');
  const read = readJournal(path, "boot-1", 1000);
  assert.deepEqual(
    read.map((event) => event.expires),
    [9000],
  );
});

test("the old journal stays until the new one is committed", () => {
  const old = journal();
  old.commit();
  old.append(entry("a.io", "192.0.2.1", 5000));
  old.close();
  const next = journal();
  assert.equal(readJournal(path, "boot-1", 1000).length, 1, "a start that fails here loses nothing");
  next.append(entry("b.io", "192.0.2.2", 5000));
  next.commit();
  assert.deepEqual(
    readJournal(path, "boot-1", 1000).map((event) => event.name),
    ["b.io"],
  );
  next.close();
});

test("compaction keeps the living and what is appended meanwhile", async () => {
  const living = Array.from({ length: 2500 }, (_, i) => entry(`n${i}.io`, "192.0.2.1", 5000));
  const one = journal(() => living, { slack: 100_000 });
  one.commit();
  for (let i = 0; i < 3000; i++) one.append(entry("dead.io", "192.0.2.1", 10 + i));
  one.flush();
  const compacting = one.compact();
  await new Promise((resolve) => setImmediate(resolve));
  one.append(entry("late.io", "192.0.2.9", 7000));
  one.flush();
  await compacting;
  one.append(entry("after.io", "192.0.2.10", 7000));
  one.flush();
  const names = readJournal(path, "boot-1", 4000).map((event) => event.name);
  assert.equal(names.length, 2502);
  assert.ok(names.includes("late.io") && names.includes("after.io") && names.includes("n2499.io"));
  assert.ok(!readFileSync(path, "utf8").includes("dead.io"));
  assert.equal(one.stats().compactions, 1);
  one.close();
});

test("it compacts by itself when it has grown to more than twice the living", async () => {
  const one = journal(() => [entry("a.io", "192.0.2.1", 5000)], { slack: 10 });
  one.commit();
  for (let i = 0; i < 12; i++) {
    one.append(entry("a.io", "192.0.2.1", 5000));
    one.flush();
  }
  for (let i = 0; i < 50 && one.stats().compactions === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(one.stats().compactions, 1);
  assert.ok(one.stats().lines < 5);
  one.close();
});

test("past its size it loses lines, and counts them", () => {
  const one = journal(() => [], { maxBytes: 500, slack: 100_000 });
  one.commit();
  for (let i = 0; i < 20; i++) {
    one.append(entry("a.io", "192.0.2.1", 5000 + i));
    one.flush();
  }
  const { lost, lines, bytes } = one.stats();
  assert.ok(lost > 0 && lines > 0 && lost + lines === 20);
  assert.ok(bytes <= 500);
  one.close();
});

test("closed: what comes later is ignored, twice is fine", () => {
  const one = journal();
  one.commit();
  one.close();
  one.close();
  one.append(entry("a.io", "192.0.2.1", 5000));
  one.flush();
  assert.deepEqual(readJournal(path, "boot-1", 1000), []);
});

test("a journal that can't be compacted says so and goes on", async () => {
  const messages: string[] = [];
  const one = journal(
    () => {
      throw new Error("no memory");
    },
    { onError: (message: string) => messages.push(message) },
  );
  one.commit();
  await one.compact();
  assert.match(messages.join(), /can't be compacted: no memory/);
  one.append(entry("a.io", "192.0.2.1", 5000));
  one.close();
  assert.equal(readJournal(path, "boot-1", 1000).length, 1);
});
