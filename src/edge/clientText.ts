/** A client as people read it. */
import { ClientBy } from "../core/abi.generated.js";
import type { Addr } from "../core/net/address.js";
import { formatAddr } from "../core/net/address.js";
import type { GovernedInterface } from "./clients.js";

/** `02:00:00:00:00:01`, `192.168.1.5`, `interface 4`, `this box`: the 16 bytes mean what their interface's `clientBy` says. */
export function clientText(client: string, interfaces: ReadonlyMap<number, GovernedInterface>): string {
  const bytes = Buffer.from(client, "latin1");
  const ifindex = bytes.readUInt32LE(0);
  const by = interfaces.get(ifindex)?.clientBy;
  const rest = bytes.subarray(4);
  if (by === ClientBy.INTERFACE && rest.every((byte) => byte === 0))
    return ifindex === 0 ? "this box" : `interface ${ifindex}`;
  if (by === ClientBy.MAC && bytes.readUInt16LE(4) === 0 && bytes.readUInt32LE(12) === 0) {
    return [...bytes.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  }
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes.readUInt16LE(10) === 0xffff;
  return formatAddr((mapped ? client.slice(12) : client) as Addr);
}

const shownAddresses = 4;

/** `02:00:00:00:00:01 (192.168.1.5, fd77::5)`; at most four addresses, and "..." for more. */
export function withAddresses(client: string, addresses: readonly string[]): string {
  if (addresses.length === 0) return client;
  return `${client} (${addresses.slice(0, shownAddresses).join(", ")}${addresses.length > shownAddresses ? ", ..." : ""})`;
}
