import { isIPv4, isIPv6 } from "node:net";

import { binding } from "./binding.js";
import type { Handle } from "./binding.js";
import type { Native, RawSender } from "./types.js";
import { bytes, integer, oneOf, record, text, U32 } from "./validate.js";

export function openRawSender(mark = 0): RawSender {
  return new OpenRawSender(binding().rawOpen(integer(mark, "mark", 0, U32)));
}

export const openTransparentSocket: Native["openTransparentSocket"] = (options) => {
  record(options, "options");
  const udp = oneOf(options.type, "type", ["tcp", "udp"]) === "udp";
  const family = integer(options.family, "family", 4, 6);
  const address = text(options.address, "address");
  const matches = family === 6 ? isIPv6(address) : family === 4 && isIPv4(address);
  if (!matches) throw new RangeError(`address must be an IPv${family} address, not ${address}`);
  if (address.includes("%")) throw new RangeError("address must have no zone");
  return binding().transparentSocket(udp, family === 6, address, integer(options.port, "port", 0, 65535));
};

export function closeFd(fd: number): void {
  // 0 to 2 are the process's own; closing them would hand their numbers to the next socket.
  binding().closeFd(integer(fd, "fd", 3, 0x7fffffff));
}

class OpenRawSender implements RawSender {
  readonly #handle: Handle;

  constructor(handle: Handle) {
    this.#handle = handle;
  }

  send(packet: Uint8Array, ifindex = 0): void {
    binding().rawSend(this.#handle, bytes(packet, "packet"), integer(ifindex, "ifindex", 0, 0x7fffffff));
  }

  close(): void {
    binding().rawClose(this.#handle);
  }
}
