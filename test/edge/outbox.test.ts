/** What a worker tells is bounded, and what finds no room is counted. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import type { DecisionCommand, LearnCommand } from "../../src/core/engine/commands.js";
import { Outbox, outboxLimits } from "../../src/edge/outbox.js";
import type { News } from "../../src/edge/workerMessages.js";

const decision = (port: number) => ({ type: "decision", verdict: "deny", port }) as DecisionCommand;
const { batch, onTheWay, decisionsPerSecond, wait, waitBeyond } = outboxLimits;

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"], now: 10_000 }));
afterEach(() => mock.timers.reset());

function outbox(): { box: Outbox; sent: News[] } {
  const sent: News[] = [];
  return { sent, box: new Outbox((news) => sent.push(news)) };
}

test("what comes together goes together, in order; nothing goes when there is nothing", () => {
  const { box, sent } = outbox();
  for (const port of [1, 2, 3]) box.decision(decision(port), undefined);
  box.failure("odd");
  assert.equal(sent.length, 0);
  mock.timers.tick(wait);
  mock.timers.tick(1_000);
  assert.equal(sent.length, 1);
  assert.deepEqual(
    sent[0]?.decisions.map((one) => one.decision.port),
    [1, 2, 3],
  );
  assert.deepEqual(sent[0]?.failures, ["odd"]);
  assert.deepEqual([sent[0]?.beyond, sent[0]?.lost], [0, 0]);
});

test("a main thread that takes nothing: so many batches, one more that waits, the rest is lost and counted", () => {
  const { box, sent } = outbox();
  const room = (onTheWay + 1) * batch;
  for (let i = 0; i < room + 50; i++) box.learned({ type: "learn", rule: i } as LearnCommand);
  mock.timers.tick(1_000);
  assert.equal(sent.length, onTheWay);
  for (const news of sent) assert.equal(news.learned.length, batch);
  // It takes one: there is room for the one that waits.
  box.taken();
  mock.timers.tick(wait);
  assert.equal(sent.length, onTheWay + 1);
  assert.equal(sent.at(-1)?.lost, 50);
  const rules = sent.flatMap((news) => news.learned.map((one) => one.rule));
  assert.deepEqual(
    rules,
    Array.from({ length: room }, (_, i) => i),
  );
});

test("decisions beyond what the log would write in a second are only counted; the next second has its own", () => {
  const { box, sent } = outbox();
  const tell = (count: number) => {
    for (let i = 0; i < count; i++) {
      box.decision(decision(i), undefined);
      for (const _ of sent) box.taken();
    }
    mock.timers.tick(wait);
  };
  tell(decisionsPerSecond + 7);
  mock.timers.tick(waitBeyond);
  const total = (of: (news: News) => number) => sent.reduce((sum, news) => sum + of(news), 0);
  assert.equal(
    total((news) => news.decisions.length),
    decisionsPerSecond,
  );
  assert.equal(
    total((news) => news.beyond),
    7,
  );
  tell(3);
  assert.equal(
    total((news) => news.decisions.length),
    decisionsPerSecond + 3,
  );
  assert.equal(
    total((news) => news.lost),
    0,
  );
});
