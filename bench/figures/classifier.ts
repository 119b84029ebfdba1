/** Figure 2: what the classifier costs a packet, as the kernel measures it. */
import { join } from "node:path";
import { prefix } from "../../test/lab/cleanup.js";
import { buildFolder, root } from "../load.js";
import { buildLab, closeLab } from "../lab.js";
import type { BenchOptions } from "../options.js";
import type { FigureResult, Row } from "../report/datapath.js";
import { median } from "../stats.js";

interface Output {
  readonly cidrs: number;
  readonly results: Readonly<Record<"empty" | "flowHit" | "cidrHit" | "firstPacket", readonly number[]>>;
}

export async function classifier(options: BenchOptions): Promise<FigureResult> {
  const lab = buildLab("classifier");
  try {
    const [rounds, repeat] = options.quick ? [3, 20_000] : [9, 50_000];
    const script = join(root, "bench/figures/classifierRun.ts");
    const words = [`${prefix}classifier`, join(buildFolder, "empty.bpf.o"), String(rounds), String(repeat)];
    const argv = [process.execPath, "--import", "tsx", script, ...words];
    const out = await lab.router.runBare(argv, { timeoutMs: 120_000, cwd: root });
    if (out.code !== 0)
      throw new Error(`the test run failed: ${/^\w*Error: .*$/m.exec(out.stderr)?.[0] ?? out.stderr}`);
    const output = JSON.parse(out.stdout) as Output;
    return {
      title: "Classifier (TC ingress of the LAN), nanoseconds a packet",
      how:
        `BPF_PROG_TEST_RUN, ${repeat} times on each of 64 destinations, ${rounds} rounds in turns; median. ` +
        `${output.cidrs.toLocaleString("en")} CIDRs in the table. Caches are warm: one packet again and again.`,
      rows: rowsOf(output),
      raw: output,
    };
  } finally {
    closeLab(lab);
  }
}

function rowsOf({ results }: Output): Row[] {
  const empty = median(results.empty);
  const row = (what: string, values: readonly number[], limit?: number): Row => {
    const ns = median(values);
    return {
      what,
      measured: `${ns.toFixed(0)} ns (${Math.min(...values)}–${Math.max(...values)})`,
      against: `empty TC program: ${empty.toFixed(0)} ns`,
      ...(limit === undefined ? {} : { target: `≤ ${limit} ns`, reached: ns <= limit }),
    };
  };
  return [
    row("packet of a known flow", results.flowHit, 70),
    row("packet that a CIDR decides", results.cidrHit, 110),
    row("first packet: CIDR, route, new flow", results.firstPacket),
  ];
}
