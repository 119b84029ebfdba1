/** Figure 4: new TLS connections decided by SNI, against plain forwarding and against nginx `ssl_preread`. */
import { startGateway, settled, type Gateway } from "../systems/l7egg/start.js";
import { startNginx } from "../systems/nginx/index.js";
import { byName as policy } from "../harness/workload.js";
import { buildDirect, buildLab, closeLab, lanInterface, proxy, server, wanInterface, type BenchLab } from "../lab.js";
import { failures, hello, percentileOf, startAnswer, type HelloResult } from "../load.js";
import type { BenchOptions } from "../options.js";
import type { FigureResult, Row } from "../report/datapath.js";
import { interleave, median, short, spread } from "../stats.js";

/** A thousand names under the one allowed pattern, in turns: no cache of the last name can help. */
const allowedName = "host-%.bench.example";
const deniedName = "host-%.bench.example.evil.test";
const pattern = "*.bench.example";
const concurrency = 64;

type SystemName = "direct" | "plain" | "conntrack" | "l7egg" | "nginx";

interface System {
  readonly name: SystemName;
  readonly lab: BenchLab;
  /** Where clients connect to. */
  readonly address: string;
}

export async function connections(options: BenchOptions): Promise<FigureResult> {
  const systems: System[] = [];
  let gateway: Gateway | undefined;
  const add = async (name: SystemName, lab = buildLab(name)): Promise<BenchLab> => {
    systems.push({ name, lab, address: name === "nginx" ? proxy.base : server.base });
    await startAnswer(lab.server);
    return lab;
  };
  try {
    await add("direct", buildDirect());
    await add("plain");
    await trackConnections(await add("conntrack"));
    gateway = await settled(await startGateway(await add("l7egg"), ["--verify=sni", `--domain=${pattern}`]));
    await startNginx(await add("nginx"), policy, 2);
    for (const system of systems) await prove(system);

    const [rounds, ms] = options.quick ? [3, 1_500] : [7, 2_000];
    const measure = ({ lab, address }: System) => hello(lab, { address, name: allowedName, concurrency, ms });
    const results = await interleave(systems, rounds, measure);
    const byName = new Map([...results].map(([system, values]) => [system.name, values]));
    return {
      title: `New TLS connections decided by SNI (l7egg run --verify sni --domain '${pattern}')`,
      how:
        `Handshake, ClientHello, first bytes of the answer, close; ${concurrency} at a time, a thousand names, 64 addresses, ` +
        `${rounds} rounds of ${ms / 1_000} s in turns; connections a second, median (range). nginx: 2 processes, clients connect to it.`,
      rows: rowsOf(byName),
      raw: Object.fromEntries(byName),
    };
  } finally {
    await gateway?.stop();
    for (const { lab } of systems) closeLab(lab);
  }
}

/** Plain forwarding with the kernel's connection tracking, which NFQUEUE setups need and many routers run anyway. */
async function trackConnections(lab: BenchLab): Promise<void> {
  const rule = ["-A", "FORWARD", "-i", lanInterface, "-o", wanInterface, "-m", "conntrack", "--ctstate", "INVALID"];
  await lab.router.must(["iptables", "-w", "-t", "mangle", ...rule, "-j", "DROP"]);
}

/** Allowed names get their answer, all of them; where names decide, others get none. */
async function prove({ name, lab, address }: System): Promise<void> {
  const allowed = await hello(lab, { address, name: allowedName, concurrency: 8, ms: 1_000 });
  const failed = failures(allowed);
  if (allowed.answered === 0 || failed > 0) {
    throw new Error(
      `${name}: ${allowed.answered} allowed connections answered, ${failed} not: ${JSON.stringify(allowed)}`,
    );
  }
  if (name !== "l7egg" && name !== "nginx") return;
  const denied = await hello(lab, { address, name: deniedName, concurrency: 8, ms: 500 });
  if (denied.answered > 0) throw new Error(`${name}: ${denied.answered} connections to a denied name were answered`);
}

function rowsOf(results: ReadonlyMap<SystemName, readonly HelloResult[]>): Row[] {
  const rateOf = (name: SystemName) => results.get(name)!.map((one) => one.answered / one.seconds);
  const medianOf = (name: SystemName) => median(rateOf(name));
  const lost = results.get("l7egg")!.reduce((sum, one) => sum + failures(one), 0);
  const row = (against: SystemName, label: string, least: number): Row => {
    const ratio = medianOf("l7egg") / medianOf(against);
    return {
      what: `l7egg against ${label}`,
      measured: `${spread(rateOf("l7egg"))}/s${lost > 0 ? `, ${lost} FAILED` : ""}`,
      against: `${label}: ${spread(rateOf(against))}/s`,
      ratio,
      target: `≥ ${least.toFixed(2)}`,
      reached: ratio >= least && lost === 0,
    };
  };
  const latency = (name: SystemName) => {
    const all = results.get(name)!;
    return `${name} ${short(median(all.map((one) => percentileOf(one.latency, 50))))} / ${short(median(all.map((one) => percentileOf(one.latency, 99))))} µs`;
  };
  return [
    row("plain", "plain forwarding", 0.8),
    row("nginx", "nginx ssl_preread", 1.1),
    {
      what: "plain forwarding with conntrack",
      measured: `${spread(rateOf("conntrack"))}/s`,
      against: "plain forwarding",
      ratio: medianOf("conntrack") / medianOf("plain"),
    },
    {
      what: "client and server alone, one veth",
      measured: `${spread(rateOf("direct"))}/s`,
      against: "plain forwarding",
      ratio: medianOf("direct") / medianOf("plain"),
    },
    {
      what: `time to first byte with ${concurrency} open, p50 / p99`,
      measured: latency("l7egg"),
      against: `${latency("plain")}; ${latency("nginx")}`,
    },
  ];
}
