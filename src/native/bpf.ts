import { binding, Kind } from "./binding.js";
import type { Handle } from "./binding.js";
import type { BpfMap, BpfObject, BpfProgram, LoadOptions, MapType } from "./types.js";
import { bytes, integer, path, record, text, U32 } from "./validate.js";

export function loadObject(options: LoadOptions): BpfObject {
  record(options, "options");
  const file = path(options.path, "path");
  const sizes = Object.entries(options.maxEntries ?? {}).flatMap(([name, size]) => [
    name,
    integer(size, `maxEntries.${name}`, 1, U32),
  ]);
  const reuse = Object.entries(options.reuse ?? {}).flatMap(([name, map]) => [name, mapHandle(map, `reuse.${name}`)]);
  return new LoadedObject(binding().loadObject(file, sizes, reuse));
}

export function openPinnedMap(file: string): BpfMap {
  return new OpenMap(binding().openPinned(Kind.map, path(file, "path")));
}

export function shareMap(fd: number): BpfMap {
  return new OpenMap(binding().share(Kind.map, integer(fd, "fd", 3, 0x7fffffff)));
}

export function shareProgram(fd: number): BpfProgram {
  return new OpenProgram(binding().share(Kind.program, integer(fd, "fd", 3, 0x7fffffff)));
}

export function openPinnedProgram(file: string): BpfProgram {
  return new OpenProgram(binding().openPinned(Kind.program, path(file, "path")));
}

/** The addon's handle behind a map made here; a TypeError for any other object. */
export function mapHandle(map: BpfMap, name: string): Handle {
  if (!(map instanceof OpenMap)) throw new TypeError(`${name} must be a BpfMap`);
  return map.handle;
}

export function programHandle(program: BpfProgram, name: string): Handle {
  if (!(program instanceof OpenProgram)) throw new TypeError(`${name} must be a BpfProgram`);
  return program.handle;
}

class LoadedObject implements BpfObject {
  readonly #handle: Handle;

  constructor(handle: Handle) {
    this.#handle = handle;
  }

  map(name: string): BpfMap {
    return new OpenMap(binding().objectMap(this.#handle, text(name, "name")), name);
  }

  program(name: string): BpfProgram {
    return new OpenProgram(binding().objectProgram(this.#handle, text(name, "name")), name);
  }

  close(): void {
    binding().objectClose(this.#handle);
  }
}

class OpenMap implements BpfMap {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly handle: Handle;
  /** Bytes of a value's buffer: all CPUs' for per-CPU maps. */
  readonly #bufferSize: number;

  /** `name`: the kernel keeps only 15 characters of it. */
  constructor(handle: Handle, name?: string) {
    const info = binding().mapInfo(handle);
    this.handle = handle;
    this.name = name ?? info.name;
    this.type = mapTypes[info.type] ?? String(info.type);
    this.keySize = info.keySize;
    this.valueSize = info.valueSize;
    this.maxEntries = info.maxEntries;
    this.#bufferSize = info.bufferSize;
  }

  get fd(): number {
    return binding().fdNumber(this.handle);
  }

  get(key: Uint8Array): Buffer | undefined {
    return binding().mapGet(this.handle, bytes(key, "key", this.keySize));
  }

  read(key: Uint8Array, value: Uint8Array): boolean {
    // The addon checks the lengths: this is asked for with every packet.
    return binding().mapRead(this.handle, key, value);
  }

  put(key: Uint8Array, value: Uint8Array, flags = 0): void {
    bytes(key, "key", this.keySize);
    bytes(value, "value", this.#bufferSize);
    binding().mapPut(this.handle, key, value, integer(flags, "flags", 0, 7));
  }

  delete(key: Uint8Array): boolean {
    return binding().mapDelete(this.handle, bytes(key, "key", this.keySize));
  }

  putBatch(keys: Uint8Array, values: Uint8Array, count: number): number {
    integer(count, "count", 0, U32);
    bytes(keys, "keys", count * this.keySize);
    bytes(values, "values", count * this.#bufferSize);
    return binding().mapPutBatch(this.handle, keys, values, count);
  }

  deleteBatch(keys: Uint8Array, count: number): number {
    integer(count, "count", 0, U32);
    bytes(keys, "keys", count * this.keySize);
    return binding().mapDeleteBatch(this.handle, keys, count);
  }

  entries(limit = this.maxEntries): { count: number; keys: Buffer; values: Buffer } {
    integer(limit, "limit", 0, U32);
    if (limit === 0) return { count: 0, keys: Buffer.alloc(0), values: Buffer.alloc(0) };
    return binding().mapEntries(this.handle, limit);
  }

  pin(file: string): void {
    binding().pin(this.handle, Kind.map, path(file, "path"));
  }

  close(): void {
    binding().fdClose(this.handle);
  }
}

class OpenProgram implements BpfProgram {
  readonly name: string;
  readonly id: number;
  readonly handle: Handle;

  constructor(handle: Handle, name?: string) {
    const info = binding().programInfo(handle);
    this.handle = handle;
    this.name = name ?? info.name;
    this.id = info.id;
  }

  get fd(): number {
    return binding().fdNumber(this.handle);
  }

  pin(file: string): void {
    binding().pin(this.handle, Kind.program, path(file, "path"));
  }

  testRun(options: Parameters<BpfProgram["testRun"]>[0]): ReturnType<BpfProgram["testRun"]> {
    record(options, "options");
    return binding().programTestRun(
      this.handle,
      bytes(options.data, "data"),
      integer(options.repeat ?? 1, "repeat", 1, 1e9),
      integer(options.mark ?? 0, "mark", 0, U32),
      integer(options.ifindex ?? 0, "ifindex", 0, 0x7fffffff),
      integer(options.ingressIfindex ?? 0, "ingressIfindex", 0, 0x7fffffff),
      integer(options.gsoSegs ?? 0, "gsoSegs", 0, 0xffff),
      integer(options.gsoSize ?? 0, "gsoSize", 0, 0xffff),
    );
  }

  run(context: Uint8Array): number {
    // The kernel checks the length: this is asked for with every batch.
    return binding().programRun(this.handle, context);
  }

  close(): void {
    binding().fdClose(this.handle);
  }
}

/** enum bpf_map_type (include/uapi/linux/bpf.h), by number. */
const mapTypes: readonly MapType[] = [
  "unspec",
  "hash",
  "array",
  "prog_array",
  "perf_event_array",
  "percpu_hash",
  "percpu_array",
  "stack_trace",
  "cgroup_array",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
  "array_of_maps",
  "hash_of_maps",
  "devmap",
  "sockmap",
  "cpumap",
  "xskmap",
  "sockhash",
  "cgroup_storage",
  "reuseport_sockarray",
  "percpu_cgroup_storage",
  "queue",
  "stack",
  "sk_storage",
  "devmap_hash",
  "struct_ops",
  "ringbuf",
];
