import assert from "node:assert/strict";
import test from "node:test";
import { parseDnsperf } from "../../../bench/scenarios/dnsperf.js";
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
