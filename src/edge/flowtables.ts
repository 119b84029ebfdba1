/**
 * nftables flow offload. In software an offloaded connection skips netfilter's FORWARD (our queue), but not TC: what is decided passes,
 * what is not is dropped by the gate. In hardware it skips the kernel: nobody would see it.
 */
import { spawnSync } from "node:child_process";

export interface Flowtable {
  readonly name: string;
  readonly devices: readonly string[];
  readonly hardware: boolean;
}

/** Those of this network namespace. Best effort: without nft, or without the right to ask, there are none. */
export function flowtables(): Flowtable[] {
  const result = spawnSync("nft", ["list", "flowtables"], { timeout: 5000 });
  return result.error || result.status !== 0 ? [] : parseFlowtables(result.stdout.toString());
}

/** Output of `nft list flowtables`. */
export function parseFlowtables(text: string): Flowtable[] {
  return [...text.matchAll(/flowtable\s+(\S+)\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}/g)].map((match) => {
    const body = match[2] as string;
    const devices = /devices\s*=\s*\{([^}]*)\}/.exec(body)?.[1] ?? "";
    return {
      name: match[1] as string,
      devices: devices
        .split(",")
        .map((name) => name.trim().replaceAll('"', ""))
        .filter((name) => name !== ""),
      hardware: /flags\s+offload/.test(body),
    };
  });
}

export function shares(table: Flowtable, interfaces: readonly string[]): boolean {
  return table.devices.some((name) => interfaces.includes(name));
}

export function flowtableProblem(table: Flowtable): string {
  return `nftables flowtable ${table.name} offloads ${table.devices.join(", ")} to hardware, where nobody sees a packet: take the governed interfaces out of it, or its "flags offload"`;
}

export function flowtableWarning(table: Flowtable): string {
  return `nftables flowtable ${table.name} offloads ${table.devices.join(", ")}: its connections skip the queue, so what is not decided by then is dropped`;
}
