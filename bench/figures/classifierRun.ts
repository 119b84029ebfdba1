/**
 * Runs in the router's namespace: the classifier under BPF_PROG_TEST_RUN, with 100,000 CIDRs in its table and one packet at a time.
 * Prints one line of JSON: case → nanoseconds a packet, one number for each destination and round. bench/bpf/run.ts has all the other paths.
 *
 *   classifierRun.ts INSTANCE OBJECT_OF_EMPTY_PROGRAM ROUNDS REPEAT
 */
import { parseAddr } from "../../src/core/net/address.js";
import { native } from "../../src/native/index.js";
import type { BpfProgram } from "../../src/native/types.js";
import { TCP } from "../bpf/frames.js";
import { TestDatapath, type Expected } from "../bpf/testDatapath.js";
import { dotted, manyCidrs } from "../cidrs.js";

const destinations = 64;
const [instance, emptyPath, rounds, repeat] = process.argv.slice(2) as [string, string, string, string];
const cidrs = manyCidrs(100_000);
const empty = native.loadObject({ path: emptyPath }).program("empty");
const datapath = new TestDatapath(instance, {
  cidr: cidrs.map(({ address, prefix }) => `${dotted(address)}/${prefix}`),
});
const targets = Array.from({ length: destinations }, (_, i) => parseAddr(dotted(cidrs[i * 1_500]!.address))!);
const { classify } = datapath;

const cases: Readonly<Record<string, () => number[]>> = {
  empty: () => run(empty, 1_024, TCP.ack, "none"),
  // An established connection: the SYN made the flow, and each packet after it finds it.
  flowHit: () => {
    run(classify, 1_025, TCP.syn, "allow", 1);
    return run(classify, 1_025, TCP.ack, "allow");
  },
  // No flow is stored for a packet amid a connection whose SYN was not seen: the flow is looked for, then the CIDR table answers, every time.
  cidrHit: () => run(classify, 1_026, TCP.ack, "allow"),
  // The first packet of a connection: CIDR, route lookup, a new flow.
  firstPacket: () => run(classify, 1_027, TCP.syn, "allow"),
};

const results: Record<string, number[]> = Object.fromEntries(Object.keys(cases).map((name) => [name, []]));
try {
  for (let round = 0; round < Number(rounds); round++) {
    for (const [name, measure] of Object.entries(cases)) results[name]!.push(...measure());
  }
} finally {
  datapath.close();
}
process.stdout.write(JSON.stringify({ cidrs: cidrs.length, results }) + "\n");

/** Nanoseconds a run, to each destination. */
function run(program: BpfProgram, sport: number, flags: number, expected: Expected, times = Number(repeat)): number[] {
  return targets.map((dst) => datapath.time(program, datapath.frame({ dst, sport, flags }), expected, times));
}
