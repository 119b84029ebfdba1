/**
 * Questions that eBPF let pass without asking (map `asked`, bpf/dns.h): the engine has allowed the same one a moment before, and learns of this one only when its
 * answer is not one that eBPF can confirm.
 */
import type { Addr } from "../net/address.js";
import type { ClientId } from "./events.js";

/** What an answer must match (RFC 5452 section 9.1). Ports in host order. */
export interface AskedKey {
  /** Address and port of the client that asked. */
  readonly source: Addr;
  readonly port: number;
  readonly resolver: Addr;
  /** Of the DNS message. */
  readonly id: number;
  /** Interface by which the question left. */
  readonly ifindex: number;
}

export interface AskedQuestion {
  readonly policy: number;
  readonly client: ClientId;
  /** Name, type and class as they were sent. */
  readonly question: Uint8Array;
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly askedAt: number;
}

/** A read of the kernel's map; undefined: nobody asked that. */
export type AskedLookup = (key: AskedKey) => AskedQuestion | undefined;
