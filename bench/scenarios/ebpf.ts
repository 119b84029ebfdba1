/** (g) What each path of the eBPF classifier costs a packet, as the kernel measures it. */
import { join } from "node:path";
import { prefix } from "../../test/lab/cleanup.js";
import type { Measured } from "../bpf/run.js";
import { noRow, row } from "../harness/results.js";
import type { Context, Row, Scenario } from "../harness/types.js";
import { buildLab, closeLab } from "../lab.js";
import { buildFolder, root } from "../load.js";

export const ebpf: Scenario = {
  letter: "g",
  name: "ebpf",
  title: "eBPF classifier, nanoseconds a packet",
  how:
    "BPF_PROG_TEST_RUN of the gateway's own program and maps in a router's namespace, in turns with an empty program: each path with growing CIDR tables, " +
    "known flows with a growing table. Caches are warm (one packet again and again) except where it says cold (one packet of each of 10,000 flows).",
  needs: "none",
  seconds: { full: 90, quick: 12 },
  measure,
};

async function measure(context: Context): Promise<Row[]> {
  const { quick, rounds, deadline } = context;
  const lab = buildLab("ebpf");
  try {
    const sizes = quick ? ["0,1000", "1000"] : ["0,1000,100000", "1000,100000,500000"];
    context.progress(`CIDRs ${sizes[0]}; flows ${sizes[1]}`);
    const script = join(root, "bench/bpf/run.ts");
    const words = [`${prefix}ebpf`, join(buildFolder, "empty.bpf.o"), rounds, quick ? 1_000 : 10_000, ...sizes];
    const argv = [process.execPath, "--import", "tsx", script, ...words.map(String)];
    const timeoutMs = Math.max(deadline - performance.now(), 5_000);
    const out = await lab.router.runBare(argv, { timeoutMs, cwd: root });
    if (out.timedOut) throw new Error(`the test run took more than ${Math.round(timeoutMs / 1_000)} s`);
    if (out.code !== 0)
      throw new Error(`the test run failed: ${/^\w*Error: .*$/m.exec(out.stderr)?.[0] ?? out.stderr}`);
    return (JSON.parse(out.stdout) as Measured[]).map(rowOf);
  } finally {
    closeLab(lab);
  }
}

function rowOf({ metric, of, count, samples, note }: Measured): Row {
  const head = {
    scenario: "ebpf",
    metric,
    point: `${count.toLocaleString("en")} ${of}`,
    x: count,
    system: "kernel test run",
    unit: "ns",
    better: "lower" as const,
  };
  return samples.length > 0 ? row(head, samples, note === undefined ? {} : { note }) : noRow(head, note ?? "");
}
