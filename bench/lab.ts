/**
 * client – router – server in network namespaces over veth, as often as there are systems to compare: each has a lab of its own, so that
 * measurements can take turns without anything being started or stopped between them. An idle lab costs nothing.
 *
 *   client eth0 10.77.0.2 ── lan0 router wan0 ── eth0 203.0.113.2 server, which answers on all of 198.18.0.0/24 (RFC 2544)
 *
 * Offloads stay as the kernel sets them up. No address translation. Congestion control is reno: the one that the kernel lets every
 * namespace choose, without the pacing of bbr, which would measure timers.
 */
import { connect, Namespace } from "../test/lab/namespace.js";

export const server = { base: "198.18.0.1", count: 64, net: "198.18.0.0/24" } as const;
/** Addresses of the router itself, for a proxy that clients connect to. */
export const proxy = { base: "198.19.0.1", net: "198.19.0.0/24" } as const;
export const lanInterface = "lan0";
export const wanInterface = "wan0";

export interface BenchLab {
  readonly label: string;
  readonly client: Namespace;
  readonly router: Namespace;
  readonly server: Namespace;
}

const endpoint = {
  "net/ipv4/tcp_congestion_control": "reno",
  "net/ipv4/ip_local_port_range": "1024 65535",
  "net/ipv4/tcp_max_syn_backlog": 16384,
  "net/core/somaxconn": 16384,
};

export function buildLab(label: string): BenchLab {
  const client = new Namespace(`${label}-client`);
  const router = new Namespace(`${label}-router`);
  const target = new Namespace(`${label}-server`);
  connect(client, "eth0", router, lanInterface);
  connect(target, "eth0", router, wanInterface);
  for (const ns of [client, router, target]) ns.sysctl(endpoint);
  router.sysctl({ "net/ipv4/ip_forward": 1 });
  client.ip(["link set eth0 up", "addr add 10.77.0.2/24 dev eth0", "route add default via 10.77.0.1"]);
  router.ip([
    `link set ${lanInterface} up`,
    `addr add 10.77.0.1/24 dev ${lanInterface}`,
    `link set ${wanInterface} up`,
    `addr add 203.0.113.1/24 dev ${wanInterface}`,
    "route add default via 203.0.113.2",
    `route add local ${proxy.net} dev lo`,
  ]);
  target.ip([
    "link set eth0 up",
    "addr add 203.0.113.2/24 dev eth0",
    `route add local ${server.net} dev lo`,
    "route add 10.77.0.0/24 via 203.0.113.1",
  ]);
  return { label, client, router, server: target };
}

/** Client and server with one veth between them: what the load generators themselves can do. */
export function buildDirect(): BenchLab {
  const client = new Namespace("direct-client");
  const target = new Namespace("direct-server");
  connect(client, "eth0", target, "eth0");
  for (const ns of [client, target]) ns.sysctl(endpoint);
  client.ip(["link set eth0 up", "addr add 203.0.113.1/24 dev eth0", "route add default via 203.0.113.2"]);
  target.ip(["link set eth0 up", "addr add 203.0.113.2/24 dev eth0", `route add local ${server.net} dev lo`]);
  return { label: "direct", client, router: target, server: target };
}

export function closeLab(lab: BenchLab): void {
  for (const ns of new Set([lab.client, lab.router, lab.server])) ns.close();
}
