/** The addon behind argument checks. See docs/native.md; the contract is types.ts. */
import { binding } from "./binding.js";
import { loadObject, openPinnedMap, openPinnedProgram } from "./bpf.js";
import { openQueue } from "./queue.js";
import type { Native } from "./types.js";
import { callable } from "./validate.js";

export { SystemError } from "./errors.js";
export * from "./types.js";

export const native: Native = {
  openQueue,
  loadObject,
  openPinnedMap,
  openPinnedProgram,
  possibleCpus: () => binding().possibleCpus(),
  setLog: (handler) => binding().setLog(handler === undefined ? undefined : callable(handler, "handler")),
} as Native;
