/**
 * The addon's surface: mechanism only. Flat functions on opaque handles; arguments are validated by the wrappers in this folder.
 * Every failing system call throws a `SystemError` with operation, errno and, for netlink and bpf, the kernel's own message.
 */

/** What a failed system call carries. `code` is the errno name ("EBUSY"); `log` is the verifier's log where there is one. */
export interface SystemErrorFields {
  readonly code: string;
  readonly errno: number;
  readonly operation: string;
  readonly log?: string;
}

export interface QueueOptions {
  /** Queue number 0–65535. EBUSY/EPERM when another process holds it. */
  readonly queue: number;
  /** Bytes of a packet copied to user space, default 65531 (the most that one attribute holds). */
  readonly copyRange?: number;
  /** Packets the kernel holds before it drops (or lets pass with failOpen), default 8192. */
  readonly maxLength?: number;
  /** NFQA_CFG_F_FAIL_OPEN, default false. */
  readonly failOpen?: boolean;
  /** NFQA_CFG_F_GSO: segments arrive unsplit, checksums may be unfinished; default true. */
  readonly gso?: boolean;
  /** Socket receive buffer in bytes (SO_RCVBUFFORCE), default 8 MiB. */
  readonly receiveBuffer?: number;
  /** Most packets in one batch, default 256. */
  readonly batch?: number;
}

/**
 * One call for one recvmmsg batch. Everything is valid only during the call; the arrays are reused.
 * `meta` holds META_STRIDE Uint32 for each packet, see `Meta`. `data` holds the payloads.
 */
export type BatchHandler = (count: number, meta: Uint32Array, data: Buffer) => void;

/** Indices into one packet's slice of `meta`. */
export const Meta = {
  /** Kernel packet id, host order. */
  id: 0,
  /** netfilter hook: 1 INPUT (LOCAL_IN), 2 FORWARD, 3 OUTPUT. */
  hook: 1,
  mark: 2,
  ifindexIn: 3,
  ifindexOut: 4,
  /** Offset and length of the payload in `data`. */
  offset: 5,
  length: 6,
  /** Length before the copy range cut it (NFQA_CAP_LEN), else = length. */
  wireLength: 7,
  /** Bit 0: CSUMNOTREADY, bit 1: GSO, bit 2: csum not verified by the kernel, bit 3: hardware address present. */
  flags: 8,
  /** Source MAC: first 4 bytes as they stand (read as a little-endian u32), then the last 2 in the low half. */
  mac0: 9,
  mac1: 10,
  /** Queue number. */
  queue: 11,
} as const;
export const META_STRIDE = 12;

export interface QueueStats {
  /** Packets received, verdicts sent, recvmmsg calls, ENOBUFS overruns, verdict errors, and packets dropped by the kernel (queue full / no room for user). */
  readonly packets: number;
  readonly verdicts: number;
  readonly batches: number;
  /** Turns of the event loop that waited a moment, so that their batches would be larger. */
  readonly gathered: number;
  readonly overruns: number;
  readonly verdictErrors: number;
  readonly queueDropped: number;
  readonly userDropped: number;
  /** Netlink messages that could not be read; where they named a packet, it was dropped. 0 on every kernel known. */
  readonly malformed: number;
}

export interface Queue {
  readonly queue: number;
  /**
   * Add one verdict to the pending send. `mark` undefined: the mark is left alone; `bytes` undefined: the packet is left alone.
   * `bytes` is copied. Sent by `flush()`, or by itself when the pending buffer is full.
   */
  verdict(id: number, action: "accept" | "drop", mark?: number, bytes?: Uint8Array): void;
  /** Send the pending verdicts in one system call. Called by the binding after each batch handler returns. */
  flush(): void;
  stats(): QueueStats;
  /** Pending verdicts are sent, the queue is unbound, waiting packets are dropped by the kernel. Twice is fine. */
  close(): void;
}

/** Lower-case name of `enum bpf_map_type`: "hash", "array", "percpu_array", "lpm_trie", "lru_hash", "ringbuf", "percpu_hash", …; unknown ones as a number. */
export type MapType = string;

export interface BpfMap {
  readonly name: string;
  readonly fd: number;
  readonly type: MapType;
  readonly keySize: number;
  /** For per-CPU maps: of one CPU's value; buffers hold `possibleCpus` of them, each rounded up to 8 bytes. */
  readonly valueSize: number;
  readonly maxEntries: number;
  get(key: Uint8Array): Buffer | undefined;
  /** `get` without an allocation: into `value`, as long as the map's (per-CPU maps: as their buffers). false: there is none, `value` is as it was. */
  read(key: Uint8Array, value: Uint8Array): boolean;
  /** flags: 0 any, 1 NOEXIST, 2 EXIST. E2BIG when the map is full. */
  put(key: Uint8Array, value: Uint8Array, flags?: number): void;
  /** false: there was none. */
  delete(key: Uint8Array): boolean;
  /** `count` keys and values, packed. Falls back to single operations where the kernel has no batch for the type. Returns how many were stored. */
  putBatch(keys: Uint8Array, values: Uint8Array, count: number): number;
  deleteBatch(keys: Uint8Array, count: number): number;
  /** Everything, packed; bounded by `limit` (default maxEntries). */
  entries(limit?: number): { readonly count: number; readonly keys: Buffer; readonly values: Buffer };
  pin(path: string): void;
  close(): void;
}

export interface BpfProgram {
  readonly name: string;
  readonly fd: number;
  readonly id: number;
  pin(path: string): void;
  /** BPF_PROG_TEST_RUN. `mark`, `ifindex` (of an existing device in this namespace, sets ingress_ifindex) go through struct __sk_buff ctx_in. */
  testRun(options: {
    readonly data: Uint8Array;
    readonly repeat?: number;
    readonly mark?: number;
    readonly ifindex?: number;
    readonly ingressIfindex?: number;
    /** Segments that the packet stands for (GRO, TSO). */
    readonly gsoSegs?: number;
    /** Bytes of payload in each of them. */
    readonly gsoSize?: number;
  }): { readonly returnValue: number; readonly durationNs: number; readonly mark: number; readonly data: Buffer };
  /**
   * A program of type SYSCALL (kernel 5.14), once, on this context, which it may change. What it returned. SystemError EINVAL: the context is shorter than
   * what the program may touch, or longer than 65,535 bytes.
   */
  run(context: Uint8Array): number;
  close(): void;
}

export interface BpfObject {
  program(name: string): BpfProgram;
  map(name: string): BpfMap;
  /** Programs and maps stay while they are pinned, attached or held by their own handles. */
  close(): void;
}

export interface LoadOptions {
  readonly path: string;
  /** max_entries by map name, set before the maps are made. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Use these already open maps instead of making new ones (`bpf_map__reuse_fd`). */
  readonly reuse?: Readonly<Record<string, BpfMap>>;
}

export type AttachPoint = "ingress" | "egress";

/** A TCX link (kernel ≥ 6.6). Lives until closed, unless pinned. */
export interface TcxLink {
  readonly fd: number;
  /** Swap the program in one step, without a gap. */
  update(program: BpfProgram): void;
  pin(path: string): void;
  /** Detach now, also if pinned (BPF_LINK_DETACH). */
  detach(): void;
  info(): {
    readonly id: number;
    readonly programId: number;
    readonly ifindex: number;
    readonly attachType: AttachPoint;
  };
  close(): void;
}

export interface RingBuffer {
  /** Hand over what is there now, as if the kernel had woken us. */
  read(): void;
  /** Reading stops and the map may go. Twice is fine. */
  close(): void;
}

export interface Native {
  openQueue(options: QueueOptions, handler: BatchHandler): Queue;

  loadObject(options: LoadOptions): BpfObject;
  openPinnedMap(path: string): BpfMap;
  openPinnedProgram(path: string): BpfProgram;
  /**
   * A handle of its own for the map behind `BpfMap.fd` of another thread of this process, which must hold it open until then. Its `name` has
   * the kernel's 15 characters. SystemError EBADF, EINVAL: no map.
   */
  shareMap(fd: number): BpfMap;
  /** The same for a program. */
  shareProgram(fd: number): BpfProgram;
  openPinnedLink(path: string): TcxLink;

  /** Attach by TCX at the head of the chain. EINVAL/EOPNOTSUPP on kernels before 6.6. */
  attachTcx(program: BpfProgram, ifindex: number, point: AttachPoint): TcxLink;
  /** TCX programs at that place, everybody's; 0 where the kernel has no TCX. SystemError ENODEV: no such interface. */
  tcxCount(ifindex: number, point: AttachPoint): number;
  /** clsact qdisc (made if missing) plus a direct-action filter with this handle and priority. Replaces the same handle. */
  attachClsact(program: BpfProgram, ifindex: number, point: AttachPoint, handle: number, priority: number): void;
  /** Remove that one filter; the qdisc stays if others use it, else it goes. false: was not there. */
  detachClsact(ifindex: number, point: AttachPoint, handle: number, priority: number): boolean;

  /** `handler` gets each record; the bytes are valid only during the call. At most `maxPerTurn` (default 1024) records a turn of the event loop. */
  openRingBuffer(map: BpfMap, handler: (record: Buffer) => void, maxPerTurn?: number): RingBuffer;

  /** Raw sockets for `sendPacket`, made on first use (IPPROTO_RAW, IP_HDRINCL / IPV6_HDRINCL, SO_MARK `mark`). */
  openRawSender(mark?: number): RawSender;
  /** A TCP or UDP socket with IP_TRANSPARENT, bound and (TCP) listening; returns its descriptor, which the caller owns. */
  openTransparentSocket(options: {
    readonly type: "tcp" | "udp";
    readonly family: 4 | 6;
    readonly address: string;
    readonly port: number;
  }): number;
  closeFd(fd: number): void;

  possibleCpus(): number;
  /** libbpf's log level goes to this function; default: discarded. */
  setLog(handler: ((line: string) => void) | undefined): void;
  /** Kernel features, each by trying it: yes, no, or could not tell. */
  probe(): Readonly<
    Record<
      "bpf" | "tcx" | "btf" | "ringbuf" | "lpmTrie" | "batchOps" | "nfqueue" | "transparent" | "bpfLoop" | "fibLookup",
      "yes" | "no" | "unknown"
    >
  >;
}

export interface RawSender {
  /** Whole IP packet, header included; the kernel fills IPv4 id and checksum where 0. Throws SystemError. */
  /** `ifindex`: leave by this interface (needed for IPv6 link-local destinations), default 0: as routed. */
  send(packet: Uint8Array, ifindex?: number): void;
  close(): void;
}
