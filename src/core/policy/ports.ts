/**
 * Ports as a person writes them (`tcp/443`, `udp/53`, `tcp/1000-2000`, `443`, `tcp`, `icmp`), and what a range matches.
 */
import { bad, good, type Checked } from "./checked.js";
import type { PortRange } from "./types.js";

export const PROTO_ICMP = 1;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
export const PROTO_ICMPV6 = 58;

/** `icmp` is both families': a person who lets ping through means IPv6 too. Numbers: IANA "Assigned Internet Protocol Numbers". */
const PROTOCOLS: ReadonlyMap<string, readonly number[]> = new Map([
  ["tcp", [PROTO_TCP]],
  ["udp", [PROTO_UDP]],
  ["icmp", [PROTO_ICMP, PROTO_ICMPV6]],
  ["icmpv6", [PROTO_ICMPV6]],
  ["gre", [47]],
  ["esp", [50]],
  ["ah", [51]],
  ["sctp", [132]],
]);
const KNOWN = [...PROTOCOLS.keys()].join(", ");
const MAX_PORT = 65535;

/** Where a name on the wire belongs unless `--name-port` says otherwise: HTTP, HTTPS, their usual alternatives, and QUIC. */
export const DEFAULT_NAME_PORTS: readonly PortRange[] = [
  ...[80, 443, 8080, 8443].map((port) => ({ proto: PROTO_TCP, low: port, high: port })),
  { proto: PROTO_UDP, low: 443, high: 443 },
];

/** One `--port`. A number alone means TCP and UDP; a protocol alone means all of it. */
export function parsePort(text: string): Checked<readonly PortRange[]> {
  if (text === "") return bad("empty; write it like tcp/443");
  if (/\s/.test(text)) return bad("contains a space; write it like tcp/443");
  if (text.includes(",")) return bad("one port or range for each flag; give the flag again for the next");
  const slash = text.indexOf("/");
  if (slash < 0 && /^[\d-]/.test(text)) return onProtocols([PROTO_TCP, PROTO_UDP], text);
  const name = (slash < 0 ? text : text.slice(0, slash)).toLowerCase();
  const ports = slash < 0 ? undefined : text.slice(slash + 1);
  const protos = PROTOCOLS.get(name);
  if (!protos) {
    if (ports !== undefined && /^[\d-]+$/.test(name) && PROTOCOLS.has(ports.toLowerCase())) {
      return bad(`the protocol comes first: write ${ports.toLowerCase()}/${name}`);
    }
    return bad(`unknown protocol "${name}"; one of ${KNOWN}, or a port number alone for tcp and udp`);
  }
  if (ports === undefined) return good(protos.map((proto) => ({ proto, low: 0, high: MAX_PORT })));
  if (!protos.every(hasPorts)) return bad(`${name} takes no port here; write ${name}`);
  return onProtocols(protos, ports);
}

/** One `--name-port`: only TCP and UDP carry names. */
export function parseNamePort(text: string): Checked<readonly PortRange[]> {
  const ranges = parsePort(text);
  if (ranges.ok && !ranges.value.every(({ proto }) => proto === PROTO_TCP || proto === PROTO_UDP)) {
    return bad("only tcp and udp carry names; write it like tcp/8443");
  }
  return ranges;
}

/** Sorted, with overlapping and neighbouring ranges joined. */
export function mergePorts(ranges: readonly PortRange[]): PortRange[] {
  const out: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.proto - b.proto || a.low - b.low)) {
    const last = out[out.length - 1];
    if (last && last.proto === range.proto && range.low <= last.high + 1) {
      out[out.length - 1] = { ...last, high: Math.max(last.high, range.high) };
    } else {
      out.push({ proto: range.proto, low: range.low, high: range.high });
    }
  }
  return out;
}

/** TCP, UDP, DCCP, SCTP, UDP-Lite: for all others a range matches by protocol alone. The same list as in eBPF (bpf/packet.h). */
export function hasPorts(proto: number): boolean {
  return proto === PROTO_TCP || proto === PROTO_UDP || proto === 33 || proto === 132 || proto === 136;
}

export function rangeMatches(range: PortRange, proto: number, port: number): boolean {
  if (range.proto !== 0 && range.proto !== proto) return false;
  return !hasPorts(proto) || (range.low <= port && port <= range.high);
}

/** Does `a` match whatever `b` matches? */
export function rangeContains(a: PortRange, b: PortRange): boolean {
  return (a.proto === 0 || a.proto === b.proto) && a.low <= b.low && b.high <= a.high;
}

/** `tcp/443`, `tcp/1000-2000`, `icmp`; "any" for everything. */
export function formatRange(range: PortRange): string {
  const name = range.proto === 0 ? "any" : protocolName(range.proto);
  if (range.low === 0 && range.high === MAX_PORT) return name;
  return `${name}/${range.low}${range.high === range.low ? "" : `-${range.high}`}`;
}

export function protocolName(proto: number): string {
  for (const [name, numbers] of PROTOCOLS) if (numbers[0] === proto) return name;
  return `protocol ${proto}`;
}

function onProtocols(protos: readonly number[], text: string): Checked<readonly PortRange[]> {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (!match) return bad(`"${text}" is no port; write a number like 443 or a range like 1000-2000`);
  const low = Number(match[1]);
  const high = match[2] === undefined ? low : Number(match[2]);
  for (const port of [low, high]) {
    if (port < 1 || port > MAX_PORT) return bad(`port ${port} is out of range; ports are 1 to ${MAX_PORT}`);
  }
  if (low > high) return bad(`the range is reversed; write ${high}-${low}`);
  return good(protos.map((proto) => ({ proto, low, high })));
}
