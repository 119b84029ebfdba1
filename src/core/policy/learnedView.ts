/** What clients learned, as `explain` is shown it. */
import type { Addr } from "../net/address.js";

/** The engine's table of learned names, as far as `explain` needs it. */
export interface LearnedView {
  /** Milliseconds of CLOCK_MONOTONIC, the clock of `expires`. */
  readonly now: number;
  byAddress(address: Addr): Iterable<LearnedName>;
  byName(name: string): Iterable<LearnedName>;
  /** A client as people read it: its MAC, its address, "this box". */
  clientText(client: string): string;
}

/** The shape of the engine's `LearnedEntry`. */
export interface LearnedName {
  readonly policy: number;
  readonly client: string;
  readonly name: string;
  readonly address: Addr;
  /** From the name asked for (first) to the owner of the address record (last). */
  readonly chain: readonly string[];
  readonly rule: number;
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly expires: number;
}
