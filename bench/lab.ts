/**
 * client – router – server in network namespaces over veth, as often as there are systems to compare: each has a lab of its own, so that
 * measurements can take turns without anything being started or stopped between them. An idle lab costs nothing.
 *
 *   client eth0 10.77.0.2 ── lan0 router wan0 ── eth0 203.0.113.2 server, which answers on all of 198.51.96.0/24
 *          fd77::2                                    2001:db8:113::2              and of 2001:db8:51::/64
 *
 * The server's addresses look public: those of RFC 2544 must not, and no name may point there. Offloads stay as the kernel sets them up. No
 * address translation. Congestion control is reno: the one that the kernel lets every namespace choose, without the pacing of bbr, which
 * would measure timers.
 */
import { connect, Namespace } from "../test/lab/namespace.js";

export type Family = "v4" | "v6";
export type Both = Readonly<Record<Family, string>>;

/** Names live on `count` addresses from `base` on. */
export const server = {
  base: "198.51.96.1",
  count: 64,
  net: "198.51.96.0/24",
  first: { v4: "198.51.96.1", v6: "2001:db8:51::1" },
  /** What a CIDR rule for exactly those addresses allows. */
  allowed: { v4: "198.51.96.0/25", v6: "2001:db8:51::/121" },
  /** Answers as the others do, but no rule allows it and no name points to it. */
  neighbour: { v4: "198.51.96.200", v6: "2001:db8:51::200" },
  resolver: { v4: "198.51.96.253", v6: "2001:db8:51::fd" },
} as const;
/** Addresses of the router itself, for a proxy that clients connect to. */
export const proxy = {
  base: "198.51.97.1",
  net: "198.51.97.0/24",
  first: { v4: "198.51.97.1", v6: "2001:db8:52::1" },
} as const;
export const lanInterface = "lan0";
export const wanInterface = "wan0";
export const client: Both = { v4: "10.77.0.2", v6: "fd77::2" };
/** The router, as its clients see it. */
export const gateway: Both = { v4: "10.77.0.1", v6: "fd77::1" };

const servedV6 = "2001:db8:51::/64";
const proxyV6 = "2001:db8:52::/64";

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
  // The kernel's table of connections is one for all namespaces: a dozen systems' closed ones of a minute are a million entries in it.
  "net/ipv4/tcp_max_tw_buckets": 8192,
  // Neighbours answer at once, and nobody waits for router advertisements.
  "net/ipv6/conf/all/accept_ra": 0,
};
const forwarding = { "net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1 };

export function buildLab(label: string): BenchLab {
  const client = new Namespace(`${label}-client`);
  const router = new Namespace(`${label}-router`);
  const target = new Namespace(`${label}-server`);
  connect(client, "eth0", router, lanInterface);
  connect(target, "eth0", router, wanInterface);
  for (const ns of [client, router, target]) ns.sysctl(endpoint);
  router.sysctl(forwarding);
  client.ip([
    "link set eth0 up",
    "addr add 10.77.0.2/24 dev eth0",
    "addr add fd77::2/64 dev eth0 nodad",
    "route add default via 10.77.0.1",
    "route add default via fd77::1",
  ]);
  router.ip([
    `link set ${lanInterface} up`,
    `addr add 10.77.0.1/24 dev ${lanInterface}`,
    `addr add fd77::1/64 dev ${lanInterface} nodad`,
    `link set ${wanInterface} up`,
    `addr add 203.0.113.1/24 dev ${wanInterface}`,
    `addr add 2001:db8:113::1/64 dev ${wanInterface} nodad`,
    "route add default via 203.0.113.2",
    "route add default via 2001:db8:113::2",
    `route add local ${proxy.net} dev lo`,
    `route add local ${proxyV6} dev lo`,
  ]);
  target.ip([
    ...serve("203.0.113.2/24", "2001:db8:113::2/64"),
    "route add 10.77.0.0/24 via 203.0.113.1",
    "route add fd77::/64 via 2001:db8:113::1",
  ]);
  return { label, client, router, server: target };
}

/** Client and server with one veth between them: what the load generators themselves can do. */
export function buildDirect(): BenchLab {
  const client = new Namespace("direct-client");
  const target = new Namespace("direct-server");
  connect(client, "eth0", target, "eth0");
  for (const ns of [client, target]) ns.sysctl(endpoint);
  client.ip([
    "link set eth0 up",
    "addr add 203.0.113.1/24 dev eth0",
    "addr add 2001:db8:113::1/64 dev eth0 nodad",
    "route add default via 203.0.113.2",
    "route add default via 2001:db8:113::2",
  ]);
  target.ip(serve("203.0.113.2/24", "2001:db8:113::2/64"));
  return { label: "direct", client, router: target, server: target };
}

function serve(v4: string, v6: string): string[] {
  return [
    "link set eth0 up",
    `addr add ${v4} dev eth0`,
    `addr add ${v6} dev eth0 nodad`,
    `route add local ${server.net} dev lo`,
    `route add local ${servedV6} dev lo`,
  ];
}

export function closeLab(lab: BenchLab): void {
  for (const ns of new Set([lab.client, lab.router, lab.server])) ns.close();
}
