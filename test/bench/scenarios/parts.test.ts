import assert from "node:assert/strict";
import test from "node:test";
import { parseDnsperf } from "../../../bench/scenarios/dnsperf.js";
import { parseH2load } from "../../../bench/scenarios/endToEnd.js";
import { bisect } from "../../../bench/scenarios/packets.js";

const printed = `DNS Performance Testing Tool
Version 2.10.0

Statistics:

  Queries sent:         21520
  Queries completed:    21500 (99.91%)
  Queries lost:         20 (0.09%)

  Response codes:       NOERROR 21400 (99.53%), REFUSED 100 (0.47%)
  Average packet size:  request 40, response 56
  Run time (s):         0.502113
  Queries per second:   42819.047505
`;

test("dnsperf: what was completed, lost and refused, in which time", () => {
  assert.deepEqual(parseDnsperf(printed), { completed: 21_500, lost: 20, refused: 100, seconds: 0.502113 });
});

test("dnsperf that measured nothing gives no figure", () => {
  assert.equal(parseDnsperf("Error: unable to open /nowhere\n"), undefined);
  assert.equal(parseDnsperf(printed.replace("21500 (99.91%)", "0 (0%)")), undefined);
  assert.equal(parseDnsperf(printed.replace(/ {2}Response codes.*\n/, ""))?.refused, 21_500);
});

test("bisect: the highest rate that passes, to 2 %", async () => {
  for (const limit of [31_000, 99_999, 149_000]) {
    const tried: number[] = [];
    const found = await bisect(30_000, 150_000, async (rate) => {
      tried.push(rate);
      return rate <= limit;
    });
    assert.ok(found <= limit && found > limit * 0.96, `${found} for ${limit}`);
    assert.ok(tried.length <= 8);
  }
});

test("bisect: nothing passes, everything passes", async () => {
  assert.equal(await bisect(1_000, 2_000, async () => false), 0);
  assert.ok((await bisect(1_000, 2_000, async () => true)) > 1_960);
});

const h2load = `starting benchmark...
Application protocol: http/1.1

finished in 412.02ms, 970.83 req/s, 150.00KB/s
requests: 400 total, 400 started, 400 done, 398 succeeded, 2 failed, 2 errored, 0 timeout
status codes: 398 2xx, 0 3xx, 0 4xx, 0 5xx
`;

test("h2load: connections a second of those that succeeded, and how many did not", () => {
  const { value, units, note } = parseH2load(h2load);
  assert.equal(Math.round(value), Math.round(398 / 0.41202));
  assert.equal(units, 398);
  assert.equal(note, "2 of 400 connections failed");
  assert.equal(parseH2load(h2load.replace("412.02ms", "2.50s").replace("398 succ", "400 succ")).value, 160);
});

test("h2load that finished no connection is an error, with its last words", () => {
  assert.throws(() => parseH2load("h2load: could not connect\n"), /could not connect/);
  assert.throws(() => parseH2load(h2load.replace("398 succeeded", "0 succeeded")), /h2load/);
});
