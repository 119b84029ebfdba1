/** Figure 1: one allowed TCP stream through the gateway with 100,000 CIDRs loaded, against plain forwarding. */
import { join } from "node:path";
import { CIDR4_SIZE, Verdict, decodeCidr4 } from "../../src/core/abi.generated.js";
import { instancePaths } from "../../src/edge/paths.js";
import { native } from "../../src/native/index.js";
import { dotted, manyCidrs } from "../cidrs.js";
import { commaLists, startGateway, settled, type Gateway } from "../systems/l7egg/start.js";
import { buildLab, closeLab, server, type BenchLab } from "../lab.js";
import { hello, iperf, startAnswer, startIperf } from "../load.js";
import type { BenchOptions } from "../options.js";
import type { FigureResult } from "../report/datapath.js";
import { interleave, median, spread } from "../stats.js";

/** Of the server's addresses these are allowed; its others are the neighbours that must not answer. */
const allowed = server.allowed.v4;
const notAllowed = server.neighbour.v4;

export async function throughput(options: BenchOptions): Promise<FigureResult> {
  const plain = buildLab("plain");
  const governed = buildLab("l7egg");
  let gateway: Gateway | undefined;
  try {
    const cidrs = manyCidrs(100_000).map(({ address, prefix }) => `${dotted(address)}/${prefix}`);
    gateway = await settled(await startGateway(governed, commaLists("--cidr", [...cidrs, allowed])));
    const loaded = cidrsOf(gateway);
    for (const lab of [plain, governed]) await Promise.all([startIperf(lab.server), startAnswer(lab.server)]);
    await proveGoverned(governed);

    const [rounds, seconds] = options.quick ? [3, 1.5] : [9, 2];
    const results = await interleave([plain, governed], rounds, (lab) => iperf(lab, seconds));
    const without = results.get(plain)!;
    const through = results.get(governed)!;
    const ratio = median(through) / median(without);
    return {
      title: "Allowed TCP flow with 100,000 CIDRs loaded",
      how: `iperf3, one stream, ${rounds} rounds of ${seconds} s in turns; median (range). Gateway: l7egg run --cidr … × ${cidrs.length + 1}.`,
      rows: [
        {
          what: `through l7egg, ${loaded.toLocaleString("en")} CIDRs in the kernel`,
          measured: `${spread(through)}bit/s`,
          against: `plain forwarding: ${spread(without)}bit/s`,
          ratio,
          target: "≥ 0.97",
          reached: ratio >= 0.97,
        },
        { what: "start of the gateway with them", measured: `${(gateway.startedMs / 1_000).toFixed(1)} s` },
      ],
      raw: { plain: without, l7egg: through, loaded, startedMs: gateway.startedMs },
    };
  } finally {
    await gateway?.stop();
    closeLab(plain);
    closeLab(governed);
  }
}

/** An allowed address answers, one outside doesn't: else it isn't a firewall that is measured. */
async function proveGoverned(lab: BenchLab): Promise<void> {
  const ask = (address: string) => hello(lab, { address, name: "x.bench.example", concurrency: 4, ms: 300 });
  const inside = await ask(server.base);
  const outside = await ask(notAllowed);
  if (inside.answered === 0 || outside.answered > 0) {
    throw new Error(`not governed: ${inside.answered} answers from allowed addresses, ${outside.answered} from others`);
  }
}

/** None of them holds another, so each is one range of the kernel's table. */
function cidrsOf(gateway: Gateway): number {
  const paths = instancePaths(gateway.instance, "/sys/fs/bpf/l7egg");
  const map = native.openPinnedMap(join(paths.maps, "cidr4"));
  try {
    const { count, values } = map.entries();
    const ranges = Array.from({ length: count }, (_, i) => decodeCidr4(values, i * CIDR4_SIZE));
    return ranges.filter(({ cidr }) => cidr.verdict === Verdict.ALLOW).length;
  } finally {
    map.close();
  }
}
