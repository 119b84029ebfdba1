/** What `l7egg status` makes of a gateway's answer. (What a running gateway answers: test/e2e/lifecycle.test.ts, options.test.ts.) */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatStatus } from "../../src/cli/status.js";
import type { GatewayStatus } from "../../src/edge/status.js";

const quiet: GatewayStatus = {
  instance: "default",
  pid: 4711,
  started: "2026-01-02T03:04:05.000Z",
  lan: ["lan0"],
  iface: "wan0",
  eface: "wan0",
  verify: "both",
  quic: "inspect",
  failMode: "closed",
  markMask: "0x30",
  resolvers: ["192.0.2.53"],
  rules: Array.from({ length: 12 }, (_, i) => `--domain n${i}.io`),
  policy: { file: "/etc/l7egg/policy.yaml", hash: "0123456789abcdef", since: "2026-01-02T03:04:05.000Z" },
  attached: [{ program: "gate", point: "egress", ifindex: 3, interfaceName: "wan0" }],
  attachMode: "tcx",
  sizes: { cidrs: 10, names: 20, flows: 30 },
  fastPath: { on: true, why: [] },
  iptables: "up",
  queues: [
    { queue: 7, depth: 1, packets: 2, verdicts: 3, queueDropped: 4, userDropped: 5, overruns: 6, verdictErrors: 8 },
  ] as unknown as GatewayStatus["queues"],
  workersLost: 0,
  learned: {
    total: 2,
    entries: [
      { client: "02:00", clientAddresses: ["192.0.2.9", "2001:db8::9"], name: "a.io", address: "192.0.2.7", rule: "--domain a.io", chain: ["a.io", "b.io"], secondsLeft: 9 }, // prettier-ignore
    ],
  },
  counters: [{ reason: "unlearned", packets: 5, bytes: 300 }],
  generation: 1,
  adoptedFlows: false,
  engine: {
    pendingFlows: 0,
    pendingEvicted: 0,
    heldPackets: 0,
    judgedFlows: 0,
    judgedEvicted: 0,
    quicFlows: 0,
    quicEvicted: 0,
    quicHeld: 0,
    outstandingQueries: 0,
    answersToKernel: 6,
    dnsStreams: 0,
    learned: 2,
    learnedEvicted: 0,
    recentDenials: 0,
  },
  questions: { allowed: 7, full: 0 },
  runner: { packets: 0, held: 0, exceptions: 0, overdue: 0, duplicateVerdicts: 0, sendErrors: 0, mapFull: 0 },
  journal: { lines: 0, bytes: 0, lost: 0, compactions: 0 },
  log: { decisions: 0, suppressed: 0, dropped: 0 },
};

test("what is attached, queues, counters, learned names with the time left; long lists end", () => {
  const lines = formatStatus(quiet);
  assert.ok(lines.includes("governed: LAN lan0 -> wan0; verify both, fail mode closed, mark mask 0x30"));
  assert.match(lines.find((line) => line.startsWith("rules (12)")) ?? "", /n9\.io; \.\.\.$/);
  assert.ok(lines.includes("  gate     egress  of wan0 (3)"));
  assert.match(lines.join("\n"), /^ {2}7: 1 waiting, 2 packets, 3 verdicts; dropped by the kernel 4 \(full\) and 5 \(socket\), 6 overruns, 8 verdict errors$/m); // prettier-ignore
  assert.match(lines.join("\n"), /^ {2}unlearned +5 packets$/m);
  assert.ok(lines.includes("DNS questions: left to the kernel 7 times, 6 of their answers came up"));
  assert.ok(lines.includes("learned names: 2 of 20, 0 forgotten for lack of room"));
  assert.ok(lines.includes("  02:00 (192.0.2.9, 2001:db8::9)  a.io -> b.io = 192.0.2.7  9 s left  (--domain a.io)"));
  assert.equal(lines.at(-1), "  ... and 1 more (--learned N)");
});

test("several queues: each with its thread, and all together", () => {
  const [main] = quiet.queues;
  assert.ok(main);
  const worker = { ...main, queue: 8, depth: 10, packets: 20, thread: "worker", state: "dead", restarts: 2 } as const;
  const lines = formatStatus({ ...quiet, queues: [{ ...main, thread: "main" }, worker] });
  assert.ok(lines.some((line) => line.startsWith("  7: 1 waiting") && line.endsWith("8 verdict errors")));
  assert.ok(lines.some((line) => line.startsWith("  8: 10 waiting") && line.endsWith("; worker dead, 2 restarts")));
  assert.ok(lines.includes("  all: 11 waiting, 22 packets, 6 verdicts; dropped by the kernel 18"));
  assert.ok(!formatStatus(quiet).some((line) => line.startsWith("  all:")));
});

test("one of a thing is not many", () => {
  const [queue] = quiet.queues;
  assert.ok(queue);
  const one = { ...queue, packets: 1, verdicts: 1, overruns: 1, verdictErrors: 1, thread: "worker", state: "running", restarts: 1 } as const; // prettier-ignore
  const text = formatStatus({
    ...quiet,
    queues: [one],
    counters: [{ reason: "unlearned", packets: 1, bytes: 60 }],
    questions: { allowed: 1, full: 1 },
    runner: { ...quiet.runner, mapFull: 1 },
  }).join("\n");
  assert.match(text, /1 waiting, 1 packet, 1 verdict; .* 1 overrun, 1 verdict error; worker running, 1 restart$/m);
  assert.match(text, / 1 packet$/m);
  assert.match(text, /left to the kernel 1 time,/);
  assert.match(text, /^ {2}1 entry that found no room/m);
  assert.match(text, /^ {2}1 DNS question that found no room/m);
});

test("losses are listed if there are any", () => {
  assert.ok(!formatStatus(quiet).includes("losses:"));
  const lossy = {
    ...quiet,
    engine: { ...quiet.engine, pendingEvicted: 3 },
    runner: { ...quiet.runner, mapFull: 4 },
    log: { ...quiet.log, dropped: 5 },
  };
  const lines = formatStatus(lossy);
  const at = lines.indexOf("losses:");
  assert.deepEqual(lines.slice(at + 1, at + 4), [
    "  3 undecided flows denied for lack of room",
    "  4 entries that found no room in the kernel's maps",
    "  5 log lines that nobody read",
  ]);
  assert.match(lines[at + 4] as string, /^learned names/);
});
