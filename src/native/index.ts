/** The addon behind argument checks. See docs/native.md; the contract is types.ts. */
import { binding } from "./binding.js";
import { loadObject, openPinnedMap, openPinnedProgram, shareMap, shareProgram } from "./bpf.js";
import { attachClsact, attachTcx, detachClsact, openPinnedLink, tcxCount } from "./link.js";
import { openQueue } from "./queue.js";
import { openRingBuffer } from "./ring.js";
import { closeFd, openRawSender, openTransparentSocket } from "./sockets.js";
import type { Native } from "./types.js";
import { callable } from "./validate.js";

export { SystemError } from "./errors.js";
export * from "./types.js";

export const native: Native = {
  openQueue,
  loadObject,
  openPinnedMap,
  openPinnedProgram,
  shareMap,
  shareProgram,
  openPinnedLink,
  attachTcx,
  tcxCount,
  attachClsact,
  detachClsact,
  openRingBuffer,
  openRawSender,
  openTransparentSocket,
  closeFd,
  possibleCpus: () => binding().possibleCpus(),
  setLog: (handler) => binding().setLog(handler === undefined ? undefined : callable(handler, "handler")),
  probe: () => binding().probe(),
};
