/**
 * A whole network in namespaces: clients – router – internet, with real servers, IPv4 and IPv6 everywhere. See `plan.ts` for addresses and names.
 *
 *   client ── eth0      lan0 ┌────────┐ wan0      wan0 ┌──────────┐
 *   192.168.77.10 ───────────┤ router ├────────────────┤ internet │ 198.51.96.0/20, 2001:db8:51::/64
 *   (more clients: a bridge) └────────┘ 203.0.113.0/24 └──────────┘
 *
 * Needs root. Ready in about two seconds; removed by `close()`, and when the process ends in whatever way.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent } from "./agent.js";
import { atExit, prefix } from "./cleanup.js";
import { connect, Namespace, type Overlay } from "./namespace.js";
import {
  craftedResolver,
  http3,
  lanAddress,
  names,
  resolver,
  served,
  tcpEchoPorts,
  udpEchoPorts,
  wan,
} from "./plan.js";
import { type Daemon } from "./process.js";
import {
  makeKeys,
  makeRepository,
  sshOverlay,
  startDnsmasq,
  startHttp3,
  startNginx,
  startSshd,
  startUnbound,
  untilBound,
  type Keys,
} from "./services.js";

export interface LabOptions {
  /** Clients on each LAN, default [1]. `[2, 1]`: two on the first LAN, one on the second. */
  readonly clients?: readonly number[];
  /** Hide the LANs behind the router's address, default true. */
  readonly masquerade?: boolean;
  /** A resolver on the router (dnsmasq, forwards to the trusted one), default false. Clients then ask it. */
  readonly routerDns?: boolean;
  /** A DHCP server on the router for the first LAN (addresses .100 to .200), default false. */
  readonly routerDhcp?: boolean;
  /** HTTP/3 servers (`http3` in plan.ts), default false. */
  readonly http3?: boolean;
  /** sshd on the router, default false. */
  readonly routerSsh?: boolean;
  /** One more router between router and internet, so that a packet can die on its way (low TTL), default false. */
  readonly hop?: boolean;
}

export class Lab {
  readonly folder: string;
  readonly keys: Keys;
  readonly clients: readonly Client[];
  /** Names of the router's LAN interfaces: lan0, lan1. */
  readonly lans: readonly string[];
  /** Ready agent in the internet namespace. */
  readonly servers: Agent;

  constructor(
    parts: {
      folder: string;
      keys: Keys;
      clients: readonly Client[];
      lans: readonly string[];
      servers: Agent;
      close: () => void;
    },
    readonly router: Namespace,
    readonly internet: Namespace,
    readonly options: LabOptions,
  ) {
    this.folder = parts.folder;
    this.keys = parts.keys;
    this.clients = parts.clients;
    this.lans = parts.lans;
    this.servers = parts.servers;
    this.close = parts.close;
  }

  /** Everything goes. Twice is fine. */
  readonly close: () => void;

  /** The first client. */
  get client(): Client {
    return this.clients[0] as Client;
  }
}

export class Client {
  #agent: Agent | undefined;

  constructor(
    readonly ns: Namespace,
    readonly lan: number,
    readonly v4: string,
    readonly v6: string,
    readonly mac: string,
    /** Where its resolv.conf points. */
    readonly resolver: string,
    readonly keys: Keys,
  ) {}

  /** Sockets inside this client, started when first asked for. */
  async agent(): Promise<Agent> {
    this.#agent ??= await Agent.start(this.ns);
    return this.#agent;
  }
}

/** Build it all and wait until every server answers. */
export async function buildLab(options: LabOptions = {}): Promise<Lab> {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  const closers = [atExit(() => rmSync(folder, { recursive: true, force: true }))];
  const add = (label: string) => {
    const ns = new Namespace(label);
    closers.push(() => ns.close());
    return ns;
  };
  const router = add("router");
  const internet = add("internet");
  const counts = options.clients ?? [1];
  const lans = counts.map((_, lan) => `lan${lan}`);
  wireWan(router, internet, options.hop ? add("hop") : undefined, lans.length);
  const clientNs = wireLans(router, counts, add);
  if (options.masquerade !== false) await masquerade(router);

  const keys = makeKeys(folder);
  const serving = serve(internet, folder, keys, options.http3 === true);
  const routerServices = serveRouter(router, folder, keys, lans, options);
  const clients = clientNs.map(({ ns, lan, host, mac }) => {
    const address = lanAddress(lan, host);
    const dns = options.routerDns ? lanAddress(lan, 1).v4 : resolver.v4;
    return new Client(ns, lan, address.v4, address.v6, mac, dns, keys);
  });
  await Promise.all(clients.map((client) => client.ns.overlay(folder, resolvConf(client.resolver))));
  const [servers] = await Promise.all([serving, routerServices]);
  const close = () => {
    for (const closer of closers.splice(0).reverse()) closer();
  };
  return new Lab({ folder, keys, clients, lans, servers, close }, router, internet, options);
}

/** What a stub resolver reads, so that the machine's own settings play no part. */
export function resolvConf(server: string): Overlay {
  return {
    "/etc/resolv.conf": `nameserver ${server}\noptions timeout:2 attempts:2\n`,
    "/etc/nsswitch.conf":
      "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
  };
}

const forwarding = { "net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1 };
/** No router advertisements, and the limits of ICMP errors out of the way: they would make tests depend on each other. */
const quiet = { "net/ipv6/conf/all/accept_ra": 0, "net/ipv4/icmp_ratelimit": 0, "net/ipv6/icmp/ratelimit": 0 };

function wireWan(router: Namespace, internet: Namespace, hop: Namespace | undefined, lans: number): void {
  connect(router, "wan0", hop ?? internet, hop ? "near0" : "wan0");
  router.sysctl({ ...forwarding, ...quiet });
  router.ip(["link set wan0 up", `addr add ${wan.router4}/24 dev wan0`, `addr add ${wan.router6}/64 dev wan0 nodad`]);
  const back = (to: { v4: string; v6: string }) =>
    Array.from({ length: lans }, (_, lan) => [
      `route add 192.168.${77 + lan}.0/24 via ${to.v4}`,
      `route add fd${77 + lan}::/64 via ${to.v6}`,
    ]).flat();
  const own = (dev: string, v4: string, v6: string) => [
    `link set ${dev} up`,
    `addr add ${v4} dev ${dev}`,
    `addr add ${v6} dev ${dev} nodad`,
  ];
  let via: { v4: string; v6: string } = { v4: wan.router4, v6: wan.router6 };
  if (hop) {
    // The hop takes the internet's place on the WAN and reaches it over 203.0.114.0/24.
    connect(hop, "far0", internet, "wan0");
    hop.sysctl({ ...forwarding, ...quiet });
    const far = { v4: "203.0.114.1", v6: "2001:db8:114::1" };
    hop.ip([
      ...own("near0", `${wan.internet4}/24`, `${wan.internet6}/64`),
      ...own("far0", `${far.v4}/24`, `${far.v6}/64`),
      ...back(via),
    ]);
    hop.ip(["route add default via 203.0.114.2", "route add default via 2001:db8:114::2"]);
    internet.ip(own("wan0", "203.0.114.2/24", "2001:db8:114::2/64"));
    via = far;
    internet.ip([`route add 203.0.113.0/24 via ${far.v4}`, `route add 2001:db8:113::/64 via ${far.v6}`]);
  } else {
    internet.ip(own("wan0", `${wan.internet4}/24`, `${wan.internet6}/64`));
  }
  router.ip([`route add default via ${wan.internet4}`, `route add default via ${wan.internet6}`]);
  internet.sysctl({
    ...quiet,
    "net/ipv6/ip_nonlocal_bind": 1,
    "net/ipv4/ip_nonlocal_bind": 1,
    "net/core/somaxconn": 8192,
  });
  internet.sysctl({ "net/ipv4/tcp_max_syn_backlog": 8192 });
  internet.ip([
    ...back(via),
    ...served.v4.map((net) => `route add local ${net} dev lo`),
    ...served.v6.map((net) => `route add local ${net} dev lo`),
  ]);
}

interface Wired {
  readonly ns: Namespace;
  readonly lan: number;
  readonly host: number;
  readonly mac: string;
}

function wireLans(router: Namespace, counts: readonly number[], add: (label: string) => Namespace): Wired[] {
  const wired: Wired[] = [];
  counts.forEach((count, lan) => {
    const port = `lan${lan}`;
    const gateway = lanAddress(lan, 1);
    // A bridge of its own (not on the router): the router's interface is a plain one, as on most boxes.
    const bridge = count > 1 ? add(`switch${lan}`) : undefined;
    if (bridge) {
      connect(router, port, bridge, "up0");
      bridge.ip(["link add br0 type bridge", "link set br0 up", "link set up0 master br0", "link set up0 up"]);
    }
    for (let i = 0; i < count; i++) {
      const ns = add(`client${lan}${i}`);
      const host = 10 + i;
      const mac = `02:00:00:00:${String(lan).padStart(2, "0")}:${String(host).padStart(2, "0")}`;
      const address = lanAddress(lan, host);
      if (bridge) {
        connect(bridge, `port${i}`, ns, "eth0");
        bridge.ip([`link set port${i} master br0`, `link set port${i} up`]);
      } else {
        connect(router, port, ns, "eth0");
      }
      ns.sysctl(quiet);
      ns.ip([
        `link set eth0 address ${mac}`,
        "link set eth0 up",
        `addr add ${address.v4}/24 dev eth0`,
        `addr add ${address.v6}/64 dev eth0 nodad`,
      ]);
      ns.ip([`route add default via ${gateway.v4}`, `route add default via ${gateway.v6}`]);
      wired.push({ ns, lan, host, mac });
    }
    router.ip([
      `link set ${port} up`,
      `addr add ${gateway.v4}/24 dev ${port}`,
      `addr add ${gateway.v6}/64 dev ${port} nodad`,
    ]);
  });
  return wired;
}

async function masquerade(router: Namespace): Promise<void> {
  for (const program of ["iptables", "ip6tables"]) {
    await router.must([program, "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "wan0", "-j", "MASQUERADE"]);
  }
}

async function serve(internet: Namespace, folder: string, keys: Keys, quic: boolean): Promise<Agent> {
  makeRepository(folder);
  await internet.overlay(folder, sshOverlay(), ["/run"]);
  const daemons: Daemon[] = [
    startNginx(internet, folder, keys),
    startUnbound(internet, folder),
    startSshd(internet, folder, keys),
  ];
  daemons.push(internet.start(["iperf3", "-s"]));
  const agent = await Agent.start(internet);
  const everybody = Object.values(names).flatMap((entry) => [...(entry.a ?? []), ...(entry.aaaa ?? [])]);
  if (quic) daemons.push(...startHttp3(internet, folder, keys));
  const quicAddresses: readonly string[] = Object.values(http3).flatMap(({ v4, v6 }) => [v4, v6]);
  const udpAddresses = [...new Set(everybody)].filter(
    (address) => /^(198\.51\.100\.|2001:db8:51::)/.test(address) && !quicAddresses.includes(address),
  );
  const ranges = ["198.51.100.127", "198.51.100.128", "198.51.100.143", "198.51.100.144"];
  const ranges6 = ["2001:db8:51::c1cf", "2001:db8:51::c1d0", "2001:db8:51::c1df", "2001:db8:51::c1e0"];
  await agent.call("serveTcpEcho", { ports: tcpEchoPorts });
  await agent.call("serveUdpEcho", { addresses: [...udpAddresses, ...ranges, ...ranges6], ports: udpEchoPorts });
  await agent.call("serveCrafted", { addresses: [craftedResolver.v4, craftedResolver.v6] });
  const ports = ([80, 443, 8080, 8443, 22, 5201] as const).map((port) => ["tcp", port] as const);
  await untilBound(agent.daemon, [...ports, ["udp", 53], ["tcp", 53]], daemons);
  return agent;
}

async function serveRouter(
  router: Namespace,
  folder: string,
  keys: Keys,
  lans: readonly string[],
  options: LabOptions,
): Promise<void> {
  const daemons: Daemon[] = [];
  const ports: (readonly ["tcp" | "udp", number])[] = [];
  if (options.routerSsh) {
    await router.overlay(folder, sshOverlay(), ["/run"]);
    daemons.push(startSshd(router, folder, keys));
    ports.push(["tcp", 22]);
  }
  if (options.routerDns || options.routerDhcp) {
    const dhcp = options.routerDhcp ? { dhcp: [lanAddress(0, 100).v4, lanAddress(0, 200).v4] as const } : {};
    daemons.push(startDnsmasq(router, folder, { interfaces: lans, dns: options.routerDns === true, ...dhcp }));
    if (options.routerDns) ports.push(["udp", 53], ["tcp", 53]);
    if (options.routerDhcp) ports.push(["udp", 67]);
  }
  const first = daemons[0];
  if (first) await untilBound(first, ports, daemons);
}
