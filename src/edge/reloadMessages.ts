/** What the main thread and the thread of one reload (reloadThread.ts) say to each other. */
import type { Numbers } from "../core/policy/compile.js";
import type { PlainPolicy } from "../core/policy/compiledPolicy.js";
import type { NameMemory } from "../core/policy/nameIndex.js";
import type { KernelCidr, RuleSpec, Verify } from "../core/policy/types.js";
import type { Addr } from "../core/net/address.js";
import type { Identity } from "./policySource.js";
import type { Place, TableArrays, TableName } from "./tables.js";

/** All that a reload begins with. Descriptors are of this process. */
export interface ReloadSetup {
  readonly file: string;
  readonly identity: Identity;
  /** Trusted if the file names nobody. */
  readonly resolvers: readonly Addr[];
  readonly numbers: Numbers;
  readonly maxCidrs: number;
  readonly tables: Readonly<Record<TableName, number>>;
  readonly place: Place;
  readonly room: TableArrays;
  readonly flows: Readonly<Record<"flows4" | "flows6", number>>;
  readonly flowCarrier: number;
  readonly generation: { readonly from: number; readonly previous: number; readonly to: number };
  /** The policy in force. */
  readonly before: {
    readonly names: NameMemory;
    readonly nameCount: number;
    readonly cidrs: string;
    readonly verify: Verify;
    /** JSON of `PolicySpec.ports`. */
    readonly ports: string;
    readonly namesPortSet: number | undefined;
  };
}

/** Rules or names of one kind: how many there are, and what became of them. */
export interface Changed {
  readonly count: number;
  readonly added: number;
  readonly removed: number;
}

export type FromReload =
  /** A line each. Nothing was changed. */
  | { readonly type: "bad"; readonly lines: readonly string[] }
  /** Parts of long lists, so that taking them holds nobody up; each is answered with `taken`. */
  | { readonly type: "rules"; readonly rules: readonly RuleSpec[] }
  | { readonly type: "entries"; readonly entries: readonly KernelCidr[] }
  /** All is here, and its tables are in the kernel's maps, where nothing refers to them yet. */
  | {
      readonly type: "policy";
      /** Without its entries. */
      readonly policy: PlainPolicy;
      readonly namesPortSet: number;
      readonly hash: string;
      readonly warnings: readonly string[];
      readonly cidrs: string;
      readonly names: Changed;
      readonly networks: Changed;
      /** Cached flows that the coming policy allows, and are marked so. */
      readonly carried: number;
    }
  /** Answer to `settle`: flows that are the new policy's own now, and those that are judged anew. */
  | { readonly type: "settled"; readonly kept: number; readonly left: number };

export type ToReload =
  | { readonly type: "taken" }
  /** The new policy is in force. */
  | { readonly type: "settle" };
