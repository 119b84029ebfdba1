/**
 * What the hot paths may cost, in units that no other load on the machine changes. A path that became cheaper gets a lower bound with the change that made it so;
 * one that must cost more gets a higher one, with the reason in the commit.
 *
 * Slack: a quarter above what was measured. Node 20, 22 and 24 differ by less than that (Node 24: up to a fifth), and so do the same programs from clang 14 and 19.
 */

export interface Bound {
  /** Name of the operation (bench/core/operations.ts) or of the program (bpf/l7egg.bpf.c). */
  readonly name: string;
  readonly measured: number;
  /** What the number is made of, and what must not come back. */
  readonly why: string;
}

const SLACK = 1.25;
/** One byte is "none": the counter itself costs a few for a whole round. */
export const most = ({ measured }: Bound): number => (measured === 0 ? 1 : Math.ceil(measured * SLACK));

/** Bytes of heap and of external memory that one operation allocates, after warm-up. Measured with Node 20.20. */
export const allocationBounds: readonly Bound[] = [
  { name: "ip-tcp-4", measured: 0, why: "into objects that are used again; addresses that came lately are there" },
  { name: "ip-tcp-6", measured: 0, why: "the same" },
  { name: "checksum", measured: 0, why: "reads the packet where it lies" },
  { name: "hello", measured: 0, why: "it is read in place, and a name that came lately is there" },
  {
    name: "quic",
    measured: 5_240,
    why: "the content, decrypted, and the header, unprotected; a cipher for each of the two; five codes (HMAC) for its keys",
  },
  { name: "http", measured: 2_480, why: "four lines cut into names and values" },
  { name: "dns-answer", measured: 0, why: "records and chain are used again, names that came lately are there" },
  { name: "name-hash", measured: 0, why: "words of 32 bits in arrays that are used again: no BigInt" },
  { name: "dns-query", measured: 0, why: "as dns-answer; the decision adds nothing" },
  { name: "decide-name-1k", measured: 0, why: "the index is read in place: no part of the name is cut off" },
  { name: "decide-name-1m", measured: 0, why: "the same, whatever the number of names" },
  { name: "decide-address-100k", measured: 48, why: "the decision itself" },
  {
    name: "engine-connection",
    measured: 80,
    why: "times and sequence numbers that are no small integers, 16 bytes each; which of them depends on what V8 inlines. View, event, headers, commands and what is kept of the flow are used again",
  },
  { name: "engine-connection-split", measured: 192, why: "the same, twice" },
  { name: "engine-connection-sni", measured: 176, why: "the same; that the name came before is seen in arrays" },
  {
    name: "engine-dns",
    measured: 232,
    why: "what is said of the answer, and why",
  },
  {
    name: "edge-connection",
    measured: 96,
    why: "as engine-connection: around the engine nothing is made for a packet",
  },
  { name: "edge-connection-split", measured: 204, why: "the same; marks of held packets stand in arrays" },
  {
    name: "engine-quic",
    measured: 8_560,
    why: "half of it as quic; the flow, its connection and its hello, kept for a minute",
  },
];

/** Instructions as the kernel runs them (bpf_prog_info.xlated_prog_len / 8). */
export const instructionBounds: readonly Bound[] = [
  {
    name: "classify",
    measured: 5_674,
    why: "parse (in place, or from a copy), flow, CIDRs, names, route; 1,400 of it for DNS questions, the name's hash once more among them",
  },
  { name: "gate", measured: 3_912, why: "the same once more, for what came by without a mark" },
  { name: "output", measured: 2_698, why: "parse and decide, nothing is remembered" },
  { name: "watch", measured: 1_334, why: "parse, and the flow of the other direction" },
  { name: "answer", measured: 1_572, why: "parse, the question byte for byte, one record" },
  { name: "read_flows", measured: 1_635, why: "32 lookups, one behind the other" },
];

/** Instructions that the verifier walked through (its limit is 1,000,000): a loop that it can't prune shows here first, and older kernels prune less. */
export const verifierBounds: readonly Bound[] = [
  {
    name: "classify",
    measured: 130_142,
    why: "what is read in a loop or asked at several places is a global function, verified once (inlined: up to 578,000)",
  },
  { name: "gate", measured: 111_211, why: "the same" },
  { name: "output", measured: 99_464, why: "the same, with fewer branches behind it" },
  { name: "watch", measured: 13_555, why: "the same" },
  { name: "answer", measured: 9_461, why: "the record and the options are global functions, verified once" },
  { name: "read_flows", measured: 6_395, why: "three ways through each lookup, that meet behind it" },
];
