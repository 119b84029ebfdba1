import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { SystemError } from "./errors.js";
import type { Native, QueueStats } from "./types.js";

/** Opaque: only the addon can open it. A wrong one is a TypeError, a closed one an Error. */
export type Handle = { readonly __handle: unique symbol };

/** Kinds of descriptors, as `enum l7_fd_kind` in native/l7.h. */
export const Kind = { map: 0, program: 1, link: 2 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** What the .node file exports (native/addon.c). Arguments are positional; checks here would be double: see the wrappers. */
export interface Binding {
  setErrorClass(constructor: typeof SystemError): void;
  setLog(handler: ((line: string) => void) | undefined): void;
  possibleCpus(): number;

  loadObject(path: string, maxEntries: readonly (string | number)[], reuse: readonly (string | Handle)[]): Handle;
  objectMap(object: Handle, name: string): Handle;
  objectProgram(object: Handle, name: string): Handle;
  objectClose(object: Handle): void;

  fdNumber(handle: Handle): number;
  fdClose(handle: Handle): void;
  pin(handle: Handle, kind: Kind, path: string): void;
  openPinned(kind: Kind, path: string): Handle;
  share(kind: Kind, fd: number): Handle;

  mapInfo(map: Handle): {
    readonly id: number;
    readonly name: string;
    readonly type: number;
    readonly keySize: number;
    readonly valueSize: number;
    readonly bufferSize: number;
    readonly maxEntries: number;
  };
  mapGet(map: Handle, key: Uint8Array): Buffer | undefined;
  mapRead(map: Handle, key: Uint8Array, value: Uint8Array): boolean;
  mapPut(map: Handle, key: Uint8Array, value: Uint8Array, flags: number): void;
  mapDelete(map: Handle, key: Uint8Array): boolean;
  mapPutBatch(map: Handle, keys: Uint8Array, values: Uint8Array, count: number): number;
  mapDeleteBatch(map: Handle, keys: Uint8Array, count: number): number;
  mapEntries(map: Handle, limit: number): { count: number; keys: Buffer; values: Buffer };

  programInfo(program: Handle): { readonly id: number; readonly name: string; readonly type: number };
  programTestRun(
    program: Handle,
    data: Uint8Array,
    repeat: number,
    mark: number,
    ifindex: number,
    ingressIfindex: number,
    gsoSegs: number,
    gsoSize: number,
  ): { returnValue: number; durationNs: number; mark: number; data: Buffer };
  programRun(program: Handle, context: Uint8Array): number;

  tcxCount(ifindex: number, egress: boolean): number;
  linkAttach(program: Handle, ifindex: number, egress: boolean): Handle;
  linkUpdate(link: Handle, program: Handle): void;
  linkDetach(link: Handle): void;
  linkInfo(link: Handle): { id: number; programId: number; ifindex: number; egress: boolean };
  clsactAttach(program: Handle, ifindex: number, egress: boolean, handle: number, priority: number): void;
  clsactDetach(ifindex: number, egress: boolean, handle: number, priority: number): boolean;

  /** `memory`: `maxPerTurn` pairs (offset, length) as Uint32, then the records' bytes, where offsets begin. */
  ringbufOpen(
    map: Handle,
    maxPerTurn: number,
    onRecords: (count: number) => void,
  ): { readonly handle: Handle; readonly memory: Buffer };
  ringbufRead(ring: Handle): void;
  ringbufClose(ring: Handle): void;

  rawOpen(mark: number): Handle;
  rawSend(sender: Handle, packet: Uint8Array, ifindex: number): void;
  rawClose(sender: Handle): void;
  transparentSocket(udp: boolean, six: boolean, address: string, port: number): number;
  closeFd(fd: number): void;
  probe(): ReturnType<Native["probe"]>;

  queueOpen(
    queue: number,
    copyRange: number,
    maxLength: number,
    failOpen: boolean,
    gso: boolean,
    receiveBuffer: number,
    batch: number,
    onBatch: (count: number) => void,
  ): {
    readonly handle: Handle;
    /** Shared with the addon: control words at 0, then what the offsets say. */
    readonly memory: Buffer;
    readonly verdictsOffset: number;
    readonly verdictsCapacity: number;
    readonly metaOffset: number;
    readonly metaStride: number;
    readonly payloadOffset: number;
    readonly payloadCapacity: number;
    readonly dataOffset: number;
  };
  queueFlush(queue: Handle): void;
  queueStats(queue: Handle): QueueStats;
  queueClose(queue: Handle): void;
}

let loaded: Binding | undefined;

/** The addon, loaded on first use, so that importing the wrapper works (for --help, say) where it has not been built. */
export function binding(): Binding {
  if (loaded === undefined) {
    // The same two steps up from src/native (tsx) and from dist/native.
    const path = fileURLToPath(new URL("../../build/l7egg.node", import.meta.url));
    let addon: Binding;
    try {
      addon = createRequire(import.meta.url)(path) as Binding;
    } catch (cause) {
      throw new Error(`the native addon can't be loaded from ${path}; scripts/setup.sh builds it`, { cause });
    }
    addon.setErrorClass(SystemError);
    loaded = addon;
  }
  return loaded;
}
