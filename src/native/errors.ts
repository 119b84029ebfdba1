import { constants } from "node:os";

import type { SystemErrorFields } from "./types.js";

/**
 * A system call (or a netlink or bpf request) that failed. `message` reads "operation: text: detail (CODE)".
 * Callers match on `code`; `errno` is positive, as in errno.h.
 */
export class SystemError extends Error implements SystemErrorFields {
  override readonly name = "SystemError";
  readonly code: string;
  readonly errno: number;
  readonly operation: string;
  /** The kernel's own message (netlink extended ack) or what it was about (a path, a map's name). */
  readonly detail?: string;
  /** What libbpf printed, with the verifier's log; its last 64 KiB. */
  readonly log?: string;

  constructor(operation: string, errno: number, text: string, detail?: string, log?: string) {
    const code = errnoName(errno);
    super(`${operation}: ${text}${detail === undefined ? "" : `: ${detail}`} (${code})`);
    this.code = code;
    this.errno = errno;
    this.operation = operation;
    if (detail !== undefined) this.detail = detail;
    if (log !== undefined) this.log = log;
  }
}

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));
// Two names for one number: the one that the kernel's sources use.
names.set(constants.errno.EAGAIN, "EAGAIN");
names.set(constants.errno.EOPNOTSUPP, "EOPNOTSUPP");
// Numbers that Node's list lacks and that netlink and bpf answer with.
names.set(12, "ENOMEM").set(105, "ENOBUFS").set(117, "EUCLEAN").set(524, "ENOTSUPP");

function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}
