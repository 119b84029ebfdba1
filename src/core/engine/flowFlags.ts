/** Flags of a flow for the kernel, by what was judged of it. */
import { FLOW_BY_HELLO, FLOW_CLIMBED, FLOW_FAST, FLOW_OPENED, FLOW_RELEASED } from "../abi.generated.js";

/** Of TCP, allowed by its first bytes. */
export function judgedFlags(fast: boolean): number {
  return FLOW_BY_HELLO | FLOW_CLIMBED | (fast ? FLOW_FAST : 0);
}

/** Of TCP, of whose first bytes a part went on undecided. */
export function releasedFlags(fast: boolean): number {
  return FLOW_OPENED | FLOW_CLIMBED | FLOW_RELEASED | (fast ? FLOW_FAST : 0);
}
