import { binding, Kind } from "./binding.js";
import type { Handle } from "./binding.js";
import { programHandle } from "./bpf.js";
import type { AttachPoint, BpfProgram, TcxLink } from "./types.js";
import { integer, oneOf, path, U32 } from "./validate.js";

const points: readonly AttachPoint[] = ["ingress", "egress"];
const maxIfindex = 0x7fffffff;

export function attachTcx(program: BpfProgram, ifindex: number, point: AttachPoint): TcxLink {
  const handle = programHandle(program, "program");
  integer(ifindex, "ifindex", 1, maxIfindex);
  return new OpenLink(binding().linkAttach(handle, ifindex, isEgress(point)));
}

export function tcxCount(ifindex: number, point: AttachPoint): number {
  return binding().tcxCount(integer(ifindex, "ifindex", 1, maxIfindex), isEgress(point));
}

export function openPinnedLink(file: string): TcxLink {
  const handle = binding().openPinned(Kind.link, path(file, "path"));
  binding().linkInfo(handle); // throws EINVAL for a link that is not TCX
  return new OpenLink(handle);
}

export function attachClsact(
  program: BpfProgram,
  ifindex: number,
  point: AttachPoint,
  handle: number,
  priority: number,
): void {
  binding().clsactAttach(
    programHandle(program, "program"),
    integer(ifindex, "ifindex", 1, maxIfindex),
    isEgress(point),
    integer(handle, "handle", 1, U32),
    integer(priority, "priority", 1, 65535),
  );
}

export function detachClsact(ifindex: number, point: AttachPoint, handle: number, priority: number): boolean {
  return binding().clsactDetach(
    integer(ifindex, "ifindex", 1, maxIfindex),
    isEgress(point),
    integer(handle, "handle", 1, U32),
    integer(priority, "priority", 1, 65535),
  );
}

class OpenLink implements TcxLink {
  readonly #handle: Handle;

  constructor(handle: Handle) {
    this.#handle = handle;
  }

  get fd(): number {
    return binding().fdNumber(this.#handle);
  }

  update(program: BpfProgram): void {
    binding().linkUpdate(this.#handle, programHandle(program, "program"));
  }

  pin(file: string): void {
    binding().pin(this.#handle, Kind.link, path(file, "path"));
  }

  detach(): void {
    binding().linkDetach(this.#handle);
  }

  info(): ReturnType<TcxLink["info"]> {
    const { id, programId, ifindex, egress } = binding().linkInfo(this.#handle);
    return { id, programId, ifindex, attachType: egress ? "egress" : "ingress" };
  }

  close(): void {
    binding().fdClose(this.#handle);
  }
}

function isEgress(point: AttachPoint): boolean {
  return oneOf(point, "point", points) === "egress";
}
