/** Which system has a place in which comparison, and why not. */
import type { System } from "./types.js";

/** Where addresses decide: one of each family, and nothing that carries only TLS. `chosen`: all systems of the run. */
export function byAddressOnly(chosen: readonly System[]): (system: System) => true | string {
  return (system) => {
    if (system.ways.includes("open")) return true;
    if (!system.ways.includes("cidr")) return "does not decide by network";
    const last = chosen.filter(({ family }) => family !== undefined && family === system.family).at(-1);
    return last === undefined || last === system ? true : `the same path as ${last.name}`;
  };
}

/** Where a client's question decides, or is at least passed on. */
export function passesDns(system: System): true | string {
  return system.tlsOnly ? "carries TLS only: clients ask their resolver beside it" : true;
}

/** Where it is a name that decides, by whatever way. */
export function decidesNames(system: System): true | string {
  return system.ways.some((way) => way !== "cidr") ? true : "does not decide by name";
}

/** Where the name on the wire decides. */
export function readsSni(system: System): true | string {
  return system.ways.some((way) => way === "sni" || way === "both" || way === "open")
    ? true
    : "looks at no name on the wire";
}
