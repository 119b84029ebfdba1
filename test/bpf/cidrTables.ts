/** For tests that ask the real program about CIDR tables which are written as the gateway writes them. */
import * as abi from "../../src/core/abi.generated.js";
import type { AddressDecision, KernelTables } from "../../src/core/policy/types.js";
import { fillTables, layOut } from "../../src/edge/tables.js";
import { Datapath, marked, type DeviceName, type Outcome, type Router } from "./harness.js";
import { icmp, ip, ports, PROTO, TCP, tcp, udp } from "./packets.js";

export const ALLOW = marked(abi.Verdict.ALLOW);
/** No CIDR speaks of it, and it isn't a SYN: user space is asked. */
export const INSPECT = marked(abi.Verdict.INSPECT);

export function cidrTables(router: Router) {
  let path: Datapath | undefined;
  const close = () => {
    path?.object.close();
    path = undefined;
  };
  /** A datapath with maps for these tables instead of the last one; policy 1 governs lan0, policy 2 lan1. */
  const load = (tables: KernelTables): Datapath => {
    close();
    const layout = layOut(tables);
    const datapath = (path = new Datapath(router, layout.maxEntries));
    fillTables((name) => datapath.map(name), layout);
    datapath.governed(router.lan0.ifindex, { policy: 1 });
    datapath.governed(router.lan1.ifindex, { policy: 2 });
    return datapath;
  };
  return { load, close, ask };
}

/** At the gate, which asks the tables of every packet without a mark, whatever its route. */
function ask(
  datapath: Datapath,
  dst: string,
  proto: number = PROTO.TCP,
  port = 443,
  from: DeviceName = "lan0",
): Outcome {
  const src = dst.includes(":") ? "fd00:1::10" : "10.1.0.10";
  return datapath.gate(ip({ src, dst, proto, body: bodyOf(proto, port) }), from);
}

/** Amid a connection: no flow is made, so every packet asks the tables. */
export function bodyOf(proto: number, port: number): Buffer {
  if (proto === PROTO.TCP) return tcp({ dport: port, flags: TCP.ACK });
  if (proto === PROTO.UDP) return udp(40000, port);
  return proto === PROTO.ICMP ? icmp(8) : proto === PROTO.ICMP6 ? icmp(128) : ports(40000, port);
}

/** Name of the counter that says so. */
export function reasonOf(expect: AddressDecision): RegExp {
  if (expect.kind === "allow" || expect.kind === "deny") return new RegExp(`^${abi.reasonName(expect.reason)}$`);
  // Behind the gate there is nobody to ask; a name could allow it, if this client had learned one.
  return expect.kind === "dns" ? /^not-inspected$/ : /^(not-inspected|unlearned)$/;
}
