/** Flows that are read ahead: what the kernel has cached for many packets, in one system call (the program `read_flows`). */
import { FLOW_READS, FLOW_READ_SIZE, FlowReadOffset } from "../core/abi.generated.js";
import type { BpfProgram } from "../native/types.js";
import { areAt, memory } from "./fields.js";

const IPPROTO_TCP = 6;

export class FlowReads {
  /** The program's context: questions, and after `run` their answers. */
  readonly context = memory(FLOW_READS * FLOW_READ_SIZE);
  readonly #program: BpfProgram;
  #count = 0;
  /** The packets come in the order in which they were asked for. */
  #next = 0;

  constructor(program: BpfProgram) {
    this.#program = program;
  }

  /** What was read is forgotten. */
  clear(): void {
    const { words } = this.context;
    for (let i = 0; i < this.#count; i++) words[(i * FLOW_READ_SIZE + FlowReadOffset.family) / 4] = 0;
    this.#count = this.#next = 0;
  }

  /** About the flow of the packet at `at`, if it is plain TCP; FLOW_READS at most. */
  ask(policy: number, data: Uint8Array, at: number, length: number): void {
    const four = (data[at] as number) >> 4 === 4;
    if (length < (four ? 20 : 40) + 4) return;
    const proto = data[at + (four ? 9 : 6)];
    const fragment = four && ((data[at + 6] as number) & 0x3f || data[at + 7]);
    const ports = at + (four ? ((data[at] as number) & 15) * 4 : 40);
    if (proto !== IPPROTO_TCP || fragment || ports + 4 > at + length) return;
    const entry = this.#count++ * FLOW_READ_SIZE;
    const { bytes, words } = this.context;
    words[(entry + FlowReadOffset.family) / 4] = four ? 4 : 6;
    const key = entry + FlowReadOffset.key;
    // Source and destination stand side by side in both headers, as in both keys.
    const from = at + (four ? 12 : 8);
    const addresses = four ? 8 : 32;
    for (let i = 0; i < addresses; i++) bytes[key + i] = data[from + i] as number;
    for (let i = 0; i < 4; i++) bytes[key + addresses + i] = data[ports + i] as number;
    bytes[key + addresses + 4] = policy & 0xff;
    bytes[key + addresses + 5] = policy >> 8;
    bytes[key + addresses + 6] = IPPROTO_TCP;
    bytes[key + addresses + 7] = 0;
  }

  /** Throws SystemError; then nothing was asked for. */
  run(): void {
    if (this.#count === 0) return;
    try {
      this.#program.run(this.context.bytes);
    } catch (error) {
      // What stands there are the answers to older questions.
      this.clear();
      throw error;
    }
  }

  /** Where in `context` this flow is; -1: there is none; undefined: it wasn't asked for. */
  find(addressLength: number, key: Uint32Array): number | undefined {
    const count = this.#count;
    const family = addressLength === 4 ? 4 : 6;
    const { words } = this.context;
    for (let i = 0, at = this.#next; i < count; i++, at++) {
      if (at >= count) at = 0;
      const entry = (at * FLOW_READ_SIZE) / 4;
      if (words[entry + FlowReadOffset.family / 4] !== family) continue;
      if (!areAt(words, entry + FlowReadOffset.key / 4, key)) continue;
      this.#next = at + 1;
      return words[entry + FlowReadOffset.found / 4] === 1 ? at * FLOW_READ_SIZE + FlowReadOffset.flow : -1;
    }
    return undefined;
  }
}
