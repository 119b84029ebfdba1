/**
 * The two maps by which eBPF lets DNS questions pass by itself (bpf/dns.h): `questions`, which only user space writes, and `asked`, which eBPF
 * writes and user space reads when an answer comes up. Each key and value has one buffer that is used again: the maps copy.
 */
import {
  ASKED_KEY_SIZE,
  AskedKeyOffset,
  QUESTION_KEY_SIZE,
  QUESTION_SIZE,
  QuestionKeyOffset,
  decodeAsked,
  encodeQuestion,
} from "../core/abi.generated.js";
import type { AskedKey, AskedQuestion } from "../core/engine/asked.js";
import type { AllowQuestionCommand, AnsweredCommand } from "../core/engine/commands.js";
import type { ClientId } from "../core/engine/events.js";
import type { NameHasher } from "../core/names/hash.js";
import type { BpfMap } from "../native/types.js";
import { toNs } from "./clock.js";
import { errnoOf } from "./errors.js";
import { writeAddr16 } from "./fields.js";

export interface QuestionMaps {
  readonly questions: BpfMap;
  readonly asked: BpfMap;
}

export class KernelQuestions {
  readonly #maps: QuestionMaps;
  readonly #hasher: NameHasher;
  #generation: number;
  #previous = 0;
  readonly #questionKey = Buffer.alloc(QUESTION_KEY_SIZE);
  readonly #question = Buffer.alloc(QUESTION_SIZE);
  readonly #askedKey = Buffer.alloc(ASKED_KEY_SIZE);
  /** Questions allowed to pass by themselves, each time anew. */
  allowed = 0;
  /** Of those, found no room: they climb. */
  full = 0;

  constructor(maps: QuestionMaps, hasher: NameHasher, generation: number) {
    this.#maps = maps;
    this.#hasher = hasher;
    this.#generation = generation;
  }

  /** Another policy is in force: no question passes by itself until it was judged by it. */
  setGeneration(generation: number, previous: number): void {
    this.#generation = generation;
    this.#previous = previous;
  }

  allow(command: AllowQuestionCommand): void {
    const key = this.#questionKey;
    key.writeUInt32LE(command.policy, QuestionKeyOffset.policy);
    key.write(command.client, QuestionKeyOffset.client, 16, "latin1");
    writeAddr16(key, QuestionKeyOffset.resolver, command.resolver);
    this.#hasher.hashInto(command.name, key, QuestionKeyOffset.nameHash);
    key.writeUInt16LE(command.questionType, QuestionKeyOffset.type);
    const { rule, ports } = command;
    const value = { expiresNs: toNs(command.expires), generation: this.#generation, rule, ports };
    try {
      this.#maps.questions.put(key, encodeQuestion(value, this.#question));
      this.allowed++;
    } catch (error) {
      // An LRU map makes room by itself, but not while other CPUs hold all that could go.
      if (errnoOf(error) !== "ENOMEM") throw error;
      this.full++;
    }
  }

  /** The question that eBPF let pass; undefined: none, or under a policy that is long gone. */
  lookup(key: AskedKey): AskedQuestion | undefined {
    const value = this.#maps.asked.get(this.#writeAskedKey(key));
    if (!value) return undefined;
    const asked = decodeAsked(value);
    // Of the policy before: the engine judges its name once more.
    if (asked.generation !== this.#generation && asked.generation !== this.#previous) return undefined;
    return {
      policy: asked.policy,
      client: Buffer.from(asked.client).toString("latin1") as ClientId,
      question: asked.question.subarray(0, asked.length),
      askedAt: Number(asked.timeNs) / 1e6,
    };
  }

  answered(command: AnsweredCommand): void {
    this.#maps.asked.delete(this.#writeAskedKey(command.key));
  }

  #writeAskedKey({ source, port, resolver, id, ifindex }: AskedKey): Buffer {
    const key = this.#askedKey;
    writeAddr16(key, AskedKeyOffset.source, source);
    writeAddr16(key, AskedKeyOffset.resolver, resolver);
    // Network order, as the packet has them.
    key.writeUInt16BE(port, AskedKeyOffset.port);
    key.writeUInt16BE(id, AskedKeyOffset.id);
    key.writeUInt32LE(ifindex, AskedKeyOffset.ifindex);
    return key;
  }
}
