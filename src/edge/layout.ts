/** Which program hangs where, and whose packets are governed: one picture for start, re-attachment and `clean`. */
import { ClientBy } from "../core/abi.generated.js";
import type { Native } from "../native/types.js";
import type { Attachment } from "./attachments.js";
import { removeClsact } from "./attachments.js";
import type { GovernedInterface } from "./clients.js";
import type { Claim } from "./instances.js";
import type { Link } from "./interfaces.js";
import type { Plan } from "./preflight.js";

/** What hangs where, in the order in which it is attached. */
export function wantedAttachments(lan: readonly Link[], eface: Link): Attachment[] {
  const at = (link: Link, program: Attachment["program"], point: Attachment["point"]): Attachment => ({
    program,
    interfaceName: link.name,
    ifindex: link.index,
    point,
  });
  const gate = at(eface, "gate", "egress");
  if (lan.length === 0) return [at(eface, "watch", "ingress"), gate];
  return [
    ...lan.map((link) => at(link, "classify", "ingress")),
    ...lan.map((link) => at(link, "watch", "egress")),
    ...(eface.ethernet ? [at(eface, "back", "ingress")] : []),
    gate,
  ];
}

/** Whose packets are governed: the LANs, or (interface 0) this box. */
export function governedInterfaces(lan: readonly Link[], policy: number): GovernedInterface[] {
  if (lan.length === 0) return [{ ifindex: 0, policy, clientBy: ClientBy.INTERFACE, l3: false }];
  return lan.map((link) => governedLan(link, policy));
}

export function governedLan(link: Link, policy: number): GovernedInterface {
  return { ifindex: link.index, policy, clientBy: link.ethernet ? ClientBy.MAC : ClientBy.ADDRESS, l3: !link.ethernet };
}

/** clsact filters of an earlier run, where this one attaches by TCX. */
export function removeLeftClsact(native: Native, plan: Plan, previous: Claim["previous"]): void {
  if (!previous || plan.attachMode === "clsact") return;
  for (const one of wantedAttachments(plan.lan, plan.eface)) removeClsact(native, plan.options.name, one);
}
