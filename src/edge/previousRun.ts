/** What an earlier run of this instance left pinned: its generation, its name hash and, if they still fit, its flows. */
import { join } from "node:path";
import {
  ABI_VERSION,
  CONFIG_SIZE,
  FLOW4_KEY_SIZE,
  FLOW6_KEY_SIZE,
  FLOW_SIZE,
  decodeConfig,
} from "../core/abi.generated.js";
import type { BpfMap, Native } from "../native/types.js";
import { readWord } from "./bpffs.js";
import type { InstancePaths } from "./paths.js";
import { u32 } from "./tables.js";

type FlowMaps = Readonly<Record<"flows4" | "flows6", BpfMap>>;

export interface Previous {
  readonly generation: number;
  /** `l7_config.previous` */
  readonly before: number;
  /** `l7_config.first_rule` */
  readonly firstRule: number;
  readonly hashSeed: Uint8Array;
  readonly fast: boolean;
  readonly policy: string | undefined;
  /** undefined: of another shape. */
  readonly flows: FlowMaps | undefined;
}

/** The number of the first rule of this policy, as the flows know it that an earlier run with the same policy left. 1: there is none. */
export function previousFirstRule(native: Native, paths: InstancePaths, policyHash: string): number {
  const before = readPrevious(native, paths, 0);
  return before?.policy === policyHash ? before.firstRule : 1;
}

/** What an earlier run pinned and we understand. */
export function readPrevious(native: Native, paths: InstancePaths, maxFlows: number): Previous | undefined {
  if (readWord(paths.abi) !== String(ABI_VERSION)) return undefined;
  let config: BpfMap;
  try {
    config = native.openPinnedMap(join(paths.maps, "config"));
  } catch {
    return undefined;
  }
  const value = config.valueSize === CONFIG_SIZE ? config.get(u32(0)) : undefined;
  config.close();
  if (!value) return undefined;
  const { generation, previous, firstRule, hashSeed, fast } = decodeConfig(value);
  const flows = previousFlows(native, paths, maxFlows);
  return { generation, before: previous, firstRule, hashSeed, fast: fast === 1, policy: readWord(paths.policy), flows };
}

/** Both or neither. undefined: they are of another shape, or not there. */
function previousFlows(native: Native, paths: InstancePaths, maxFlows: number): FlowMaps | undefined {
  const room = flowRoom(maxFlows);
  const flows4 = openFlows(native, join(paths.maps, "flows4"), FLOW4_KEY_SIZE, room.flows4);
  const flows6 = openFlows(native, join(paths.maps, "flows6"), FLOW6_KEY_SIZE, room.flows6);
  if (flows4 && flows6) return { flows4, flows6 };
  flows4?.close();
  flows6?.close();
  return undefined;
}

function openFlows(native: Native, path: string, keySize: number, maxEntries: number): BpfMap | undefined {
  let map: BpfMap;
  try {
    map = native.openPinnedMap(path);
  } catch {
    return undefined;
  }
  const same =
    map.type === "lru_hash" && map.keySize === keySize && map.valueSize === FLOW_SIZE && map.maxEntries === maxEntries;
  if (same) return map;
  map.close();
  return undefined;
}

/** Entries of the flow maps: IPv4 has what `--max-flows` says, IPv6, of which a network has less, half of it. */
export function flowRoom(maxFlows: number): Readonly<Record<"flows4" | "flows6", number>> {
  return { flows4: maxFlows, flows6: Math.ceil(maxFlows / 2) };
}
