/**
 * Who has which address and which name. Servers are in documentation ranges (RFC 5737, RFC 3849), which the gateway treats as public;
 * the thousand names lie right below 198.51.100.0/24, since that one is too small. No packet leaves the namespaces.
 */

export const wan = {
  router4: "203.0.113.1",
  router6: "2001:db8:113::1",
  internet4: "203.0.113.2",
  internet6: "2001:db8:113::2",
} as const;

/** LAN number 0 is 192.168.77.0/24 and fd77::/64, number 1 is 192.168.78.0/24 and fd78::/64. */
export function lanAddress(lan: number, host: number): { readonly v4: string; readonly v6: string } {
  return { v4: `192.168.${77 + lan}.${host}`, v6: `fd${77 + lan}::${host}` };
}

/** Server number n has 198.51.100.n and 2001:db8:51::n (n in decimal digits). */
export function server(n: number): { readonly v4: string; readonly v6: string } {
  return { v4: `198.51.100.${n}`, v6: `2001:db8:51::${n}` };
}

/** Ranges that all answer: everything in them is local in the internet namespace. */
export const served = { v4: ["198.51.96.0/20"], v6: ["2001:db8:51::/64"] } as const;

/** The trusted resolver, another one that answers just as well, and one that answers what a test tells it to. */
export const resolver = server(53);
export const otherResolver = server(54);
export const craftedResolver = server(55);

/** Where HTTP/3 is (with `LabOptions.http3`); nothing else has these addresses' udp/443. */
export const http3 = { plain: server(70), retry: server(71) } as const;

/** A CIDR to allow, its first and last address, and the neighbours outside. */
export const cidr = {
  v4: "198.51.100.128/28",
  v6: "2001:db8:51::c1d0/124",
  inside4: ["198.51.100.128", "198.51.100.143"],
  outside4: ["198.51.100.127", "198.51.100.144"],
  inside6: ["2001:db8:51::c1d0", "2001:db8:51::c1df"],
  outside6: ["2001:db8:51::c1cf", "2001:db8:51::c1e0"],
} as const;

export const thousand = 1_000;
export function thousandName(i: number): string {
  return `n${String(i).padStart(3, "0")}.many.example`;
}
export function thousandAddress(i: number): { readonly v4: string; readonly v6: string } {
  return { v4: `198.51.${96 + (i >> 8)}.${i & 255}`, v6: `2001:db8:51::1:${i.toString(16)}` };
}

interface NameEntry {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  readonly cname?: string;
  /** Seconds, default 300. */
  readonly ttl?: number;
}

function both(n: number): NameEntry {
  return { a: [server(n).v4], aaaa: [server(n).v6] };
}

/** The zone, but for the thousand names. */
export const names: Readonly<Record<string, NameEntry>> = {
  "www.allowed.example": both(10),
  "api.allowed.example": both(11),
  "git.allowed.example": both(12),
  "allowed.example": both(13),
  "v4.allowed.example": { a: [server(14).v4] },
  "v6.allowed.example": { aaaa: [server(14).v6] },
  "short.allowed.example": { a: [server(15).v4], aaaa: [server(15).v6], ttl: 1 },
  // Siblings of nobody: in no rule.
  "www.denied.example": both(20),
  "notallowed.example": both(21),
  "git.denied.example": both(22),
  // HTTP/3: two names on one server, and one that sends a Retry first.
  "h3.allowed.example": both(70),
  "h3.denied.example": both(70),
  "retry.allowed.example": both(71),
  // Two names on one address.
  "one.shared.example": both(30),
  "two.shared.example": both(30),
  "three.shared.example": both(30),
  // A chain, and names on the way that are also asked for by themselves.
  "alias.allowed.example": { cname: "edge.cdn.example" },
  "edge.cdn.example": { cname: "pop7.cdn.example" },
  "pop7.cdn.example": both(40),
  "alias.denied.example": { cname: "www.allowed.example" },
  // The original project's partial names: `-cn=ome.com`.
  "home.com": both(60),
  "www.rome.com": both(61),
  "ome.com.evil.example": both(62),
  // Rebinding: an allowed name that points where it should not.
  "private.rebind.example": { a: ["192.168.78.10"], aaaa: ["fd78::10"] },
  "loopback.rebind.example": { a: ["127.0.0.1"], aaaa: ["::1"] },
  "metadata.rebind.example": { a: ["169.254.169.254"], aaaa: ["fe80::1"] },
  "mapped.rebind.example": { aaaa: ["::ffff:192.168.78.10"] },
  "nat64.rebind.example": { aaaa: ["64:ff9b::c0a8:4e0a"] },
  "mixed.rebind.example": { a: ["10.0.0.1", server(63).v4], aaaa: [server(63).v6] },
  // 100 addresses in one answer.
  "hundred.allowed.example": { a: Array.from({ length: 100 }, (_, i) => `198.51.104.${i + 1}`) },
};

export const tcpEchoPorts = [7, 21, 23, 24, 25, 81, 442, 444, 2222, 5432, 5433, 8442, 8444] as const;
export const udpEchoPorts = [7, 8, 123, 443, 444, 5353] as const;
/** nginx: TLS 1.2 and 1.3 on 443 and 8443, HTTP on 80 and 8080. sshd: 22 (and a git repository). iperf3: 5201. */
export const tlsPorts = [443, 8443] as const;
export const httpPorts = [80, 8080] as const;

/** Zone file (RFC 1035 section 5) of the root, with everything above in it. */
export function zoneFile(): string {
  const lines = [
    "$TTL 300",
    ". IN SOA ns.lab.example. admin.lab.example. 1 3600 600 86400 2",
    ". IN NS ns.lab.example.",
    `ns.lab.example. IN A ${resolver.v4}`,
  ];
  const add = (name: string, entry: NameEntry) => {
    const ttl = entry.ttl ?? 300;
    if (entry.cname) lines.push(`${name}. ${ttl} IN CNAME ${entry.cname}.`);
    for (const address of entry.a ?? []) lines.push(`${name}. ${ttl} IN A ${address}`);
    for (const address of entry.aaaa ?? []) lines.push(`${name}. ${ttl} IN AAAA ${address}`);
  };
  for (const [name, entry] of Object.entries(names)) add(name, entry);
  for (let i = 0; i < thousand; i++) {
    const address = thousandAddress(i);
    add(thousandName(i), { a: [address.v4], aaaa: [address.v6] });
  }
  return lines.join("\n") + "\n";
}

/** Names of the servers' certificate. */
export function certificateNames(): string[] {
  return ["*.many.example", ...Object.keys(names)];
}
