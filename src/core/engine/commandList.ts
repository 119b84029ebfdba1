/**
 * Commands in their order, in objects that are used again: what comes with every packet would otherwise be garbage with every packet.
 *
 * Whoever gives the list to the engine clears it once the commands are carried out. From then on they are other ones: what is kept of a command is
 * a copy.
 */
import type { Addr } from "../net/address.js";
import type { Writable } from "../writable.js";
import type { AllowQuestionCommand, Command, CountCommand, DecisionCommand } from "./commands.js";
import type { FlowKey, FlowPutCommand, VerdictCommand } from "./commands.js";
import type { ClientId, PacketId } from "./events.js";

/** Of each kind, objects that stay for the next time: more than a batch of packets needs. What a shutdown needs beyond is let go. */
const KEPT = 2_048;
const NO_ADDRESS = "" as Addr;
const NO_CLIENT = "" as ClientId;

export class CommandList implements Iterable<Command> {
  /** The first #length are in the list. */
  readonly #commands: Command[] = [];
  #length = 0;
  readonly #verdicts = new Reused(emptyVerdict);
  readonly #flowPuts = new Reused(emptyFlowPut);
  readonly #decisions = new Reused(emptyDecision);
  readonly #questions = new Reused(emptyQuestion);
  readonly #counts = new Reused(emptyCount);

  get length(): number {
    return this.#length;
  }

  /** From 0 to `length` - 1. */
  at(index: number): Command {
    return this.#commands[index]!;
  }

  *[Symbol.iterator](): IterableIterator<Command> {
    for (let i = 0; i < this.#length; i++) yield this.at(i);
  }

  /** Forget all of them. */
  clear(): void {
    if (this.#length > KEPT) this.#commands.length = KEPT;
    this.#length = 0;
    this.#verdicts.takeBack();
    this.#flowPuts.takeBack();
    this.#decisions.takeBack();
    this.#questions.takeBack();
    this.#counts.takeBack();
  }

  /** A command made for this once: the kinds below come too often for that. */
  push(command: Command): void {
    if (this.#length < this.#commands.length) this.#commands[this.#length] = command;
    else this.#commands.push(command);
    this.#length++;
  }

  verdict(id: PacketId, action: "accept" | "drop", mark: 2 | 3 | undefined, bytes: Uint8Array | undefined): void {
    const command = this.#verdicts.next();
    command.id = id;
    command.action = action;
    command.mark = mark;
    command.bytes = bytes;
    this.push(command);
  }

  /** Returns the key, which the caller fills in. */
  flowPut(
    verdict: FlowPutCommand["verdict"],
    reason: number,
    rule: number,
    flags: number,
    judgedStart: number,
    judgedEnd: number,
  ): Writable<FlowKey> {
    const command = this.#flowPuts.next();
    command.verdict = verdict;
    command.reason = reason;
    command.rule = rule;
    command.flags = flags;
    command.judgedStart = judgedStart;
    command.judgedEnd = judgedEnd;
    this.push(command);
    return command.key;
  }

  /** A decision of which nothing is known yet but these: the caller fills in the rest, which is undefined. */
  decision(
    verdict: DecisionCommand["verdict"],
    reason: number,
    inKernel: boolean,
    policy: number,
    rule: number,
  ): Writable<DecisionCommand> {
    const command = this.#decisions.next();
    command.verdict = verdict;
    command.reason = reason;
    command.inKernel = inKernel;
    command.policy = policy;
    command.rule = rule;
    command.by = undefined;
    command.client = command.address = command.port = command.proto = command.name = command.detail = undefined;
    this.push(command);
    return command;
  }

  /** A question of which nothing is known yet but these: the caller fills in the rest. */
  allowQuestion(policy: number, client: ClientId, resolver: Addr): Writable<AllowQuestionCommand> {
    const command = this.#questions.next();
    command.policy = policy;
    command.client = client;
    command.resolver = resolver;
    this.push(command);
    return command;
  }

  count(reason: number, bytes: number): void {
    const command = this.#counts.next();
    command.reason = reason;
    command.bytes = bytes;
    this.push(command);
  }
}

/** Objects that are taken one by one, and taken back all at once. */
class Reused<T> {
  readonly #make: () => T;
  readonly #all: T[] = [];
  #taken = 0;

  constructor(make: () => T) {
    this.#make = make;
  }

  /** As its last user left it. */
  next(): T {
    if (this.#taken === this.#all.length) this.#all.push(this.#make());
    return this.#all[this.#taken++]!;
  }

  takeBack(): void {
    if (this.#taken > KEPT) this.#all.length = KEPT;
    this.#taken = 0;
  }
}

/** For whoever has one of their own to fill. */
export function emptyFlowKey(): Writable<FlowKey> {
  return { policy: 0, src: NO_ADDRESS, dst: NO_ADDRESS, proto: 0, sport: 0, dport: 0 };
}

function emptyVerdict(): Writable<VerdictCommand> {
  return { type: "verdict", id: 0 as PacketId, action: "drop", mark: undefined, bytes: undefined };
}

function emptyFlowPut(): Writable<FlowPutCommand> & { readonly key: Writable<FlowKey> } {
  return {
    type: "flowPut",
    key: emptyFlowKey(),
    verdict: "deny",
    reason: 0,
    rule: 0,
    flags: 0,
    judgedStart: 0,
    judgedEnd: 0,
  };
}

function emptyDecision(): Writable<DecisionCommand> {
  return {
    type: "decision",
    verdict: "deny",
    reason: 0,
    inKernel: false,
    policy: 0,
    rule: 0,
    by: undefined,
    client: undefined,
    address: undefined,
    port: undefined,
    proto: undefined,
    name: undefined,
    detail: undefined,
  };
}

function emptyQuestion(): Writable<AllowQuestionCommand> {
  return {
    type: "allowQuestion",
    policy: 0,
    client: NO_CLIENT,
    resolver: NO_ADDRESS,
    name: "",
    questionType: 0,
    rule: 0,
    ports: 0,
    expires: 0,
  };
}

function emptyCount(): Writable<CountCommand> {
  return { type: "count", reason: 0, bytes: 0 };
}
