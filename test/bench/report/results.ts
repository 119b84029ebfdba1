/** Results of a run that never was, with everything that a report must be able to show. */
import { noRow, row, type Results } from "../../../bench/harness/results.js";
import type { Distribution, Row } from "../../../bench/harness/types.js";

const systems = ["plain", "l7egg-dns", "l7egg-both", "nginx", "haproxy", "egress-eddie"] as const;
const speed: Readonly<Record<string, number>> = {
  plain: 1,
  "l7egg-dns": 0.98,
  "l7egg-both": 0.93,
  nginx: 0.65,
  haproxy: 0.62,
};

function connections(clients: number): Row[] {
  return systems.map((system) => {
    const head = {
      scenario: "connections",
      metric: "new connections",
      point: `whole hello, ${clients === 1 ? "1 client" : `${clients} clients`}, IPv4`,
      x: clients,
      system,
      unit: "connections/s",
      better: "higher" as const,
    };
    const factor = speed[system];
    if (factor === undefined) return noRow(head, "not on the PATH & no registry carries it <egress-eddie>");
    const middle = 21_000 * factor * Math.min(1, clients / 64 + 0.2);
    return row(head, [middle * 0.96, middle, middle * 1.03], { latency: distribution(clients / factor) });
  });
}

function distribution(scale: number): Distribution {
  return [0, 10, 25, 50, 75, 90, 99, 99.9, 99.99].map((percentile, i) => [percentile, 40 * scale * 1.6 ** i] as const);
}

function nanoseconds(metric: string, counts: readonly number[], base: number): Row[] {
  return counts.map((count) =>
    row(
      {
        scenario: "ebpf",
        metric,
        point: `${count.toLocaleString("en")} CIDRs`,
        x: count,
        system: "kernel test run",
        unit: "ns",
        better: "lower",
      },
      [base + Math.log10(count + 1) * 12],
    ),
  );
}

export const results: Results = {
  version: 1,
  date: "2026-01-02T03:04:05.000Z",
  command: "npm run bench -- --quick",
  machine: {
    kernel: "6.18.0",
    cpu: "Example CPU",
    cpus: 2,
    memoryGiB: 8,
    node: "20.20.2",
    iperf3: "iperf 3.12",
    nginx: "nginx/1.22.1",
    commit: "0000000",
    load1: 0.1,
  },
  quick: true,
  rounds: 3,
  seconds: 120,
  systems: systems.map((name) => ({
    name,
    title: name === "plain" ? "plain forwarding" : name,
    fair: "",
    version: "1",
  })),
  scenarios: [
    { letter: "c", name: "connections", title: "New TLS connections", how: "Hellos, one a connection.", seconds: 60 },
    { letter: "g", name: "ebpf", title: "eBPF classifier", how: "Kernel test run.", seconds: 10 },
    { letter: "k", name: "startup", title: "Start-up", how: "l7egg run.", seconds: 10, error: "it failed" },
  ],
  rows: [
    ...[1, 16, 256].flatMap(connections),
    ...nanoseconds("packet that a CIDR decides, IPv4", [0, 1_000, 100_000], 65),
    ...nanoseconds("packet denied by a CIDR", [0, 1_000, 100_000], 250),
  ],
};
