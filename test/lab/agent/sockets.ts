/** TCP and UDP clients that say exactly what happened. */
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { connect, isIPv6, type Socket } from "node:net";

/**
 * - `reply`: bytes came back
 * - `silent`: connected (or sent), nothing came back in time
 * - `refused`: ECONNREFUSED: a RST answered the SYN (TCP), or ICMP port unreachable (UDP)
 * - `reset`: a RST after the handshake
 * - `prohibited`: ICMP administratively prohibited (EACCES, EHOSTUNREACH, EPERM)
 * - `closed`: the server closed without a byte
 * - `timeout`: the handshake was never answered
 */
export type Outcome = "reply" | "silent" | "refused" | "reset" | "prohibited" | "closed" | "timeout";

export interface Attempt {
  readonly outcome: Outcome;
  /** errno name of the failure, if it was one. */
  readonly code: string | undefined;
  readonly received: Uint8Array;
  /** Until the handshake was done or had failed. */
  readonly connectMs: number;
}

export interface TcpArgs {
  readonly address: string;
  readonly port: number;
  /** Sent at once. Default "hello\n". Empty: only connect, `silent` is success then. */
  readonly data?: Uint8Array | string;
  /** Milliseconds for the handshake, and again for the reply. Default 1,500. */
  readonly timeoutMs?: number;
  readonly localPort?: number;
}

/** Connect, send, read what comes first. */
export async function tcp(args: TcpArgs): Promise<Attempt> {
  const timeoutMs = args.timeoutMs ?? 1_500;
  const opened = await open(args, timeoutMs);
  if (!(opened instanceof Held)) return opened;
  const data = args.data ?? "hello\n";
  const got = await opened.exchange(data, data.length === 0 ? 50 : timeoutMs);
  opened.socket.destroy();
  return { ...got, connectMs: opened.connectMs };
}

const held = new Map<number, Held>();
let nextHeld = 1;

/** Connect and keep it open. Throws if that fails. */
export async function hold(args: TcpArgs): Promise<number> {
  const opened = await open(args, args.timeoutMs ?? 1_500);
  if (!(opened instanceof Held))
    throw new Error(`hold ${args.address}:${args.port}: ${opened.outcome} ${opened.code ?? ""}`);
  held.set(nextHeld, opened);
  return nextHeld++;
}

/** Send on a held connection and read what comes. */
export async function exchange(args: {
  readonly id: number;
  readonly data: Uint8Array | string;
  readonly timeoutMs?: number;
}): Promise<Attempt> {
  const connection = held.get(args.id);
  if (!connection) throw new Error(`no held connection ${args.id}`);
  return { ...(await connection.exchange(args.data, args.timeoutMs ?? 1_500)), connectMs: connection.connectMs };
}

export function release(args: { readonly id: number }): void {
  held.get(args.id)?.socket.destroy();
  held.delete(args.id);
}

export interface UdpArgs {
  readonly address: string;
  readonly port: number;
  readonly data?: Uint8Array | string;
  readonly localPort?: number;
  /** Default 700. */
  readonly timeoutMs?: number;
}

/** Send one datagram and wait for one. */
export function udp(args: UdpArgs): Promise<Attempt> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(args.address) ? "udp6" : "udp4");
    const begun = performance.now();
    const end = (outcome: Outcome, received: Uint8Array = new Uint8Array(), code?: string) => {
      clearTimeout(timer);
      socket.removeAllListeners().on("error", () => undefined);
      socket.close();
      resolve({ outcome, received, code, connectMs: performance.now() - begun });
    };
    const timer = setTimeout(() => end("silent"), args.timeoutMs ?? 700);
    const failed = (error: NodeJS.ErrnoException) =>
      end(error.code === "ECONNREFUSED" ? "refused" : "prohibited", undefined, error.code);
    socket.on("error", failed);
    socket.on("message", (message) => end("reply", message));
    // Connected, so that ICMP errors reach us.
    const connected = () => {
      socket.send(args.data ?? "hello\n", (error) => {
        if (error) failed(error);
      });
    };
    socket.bind(args.localPort ?? 0, () => socket.connect(args.port, args.address, connected));
  });
}

export interface ManyResult {
  readonly name: string;
  /** What the resolver said; undefined: nothing. */
  readonly address: string | undefined;
  readonly resolveMs: number;
  readonly connectMs: number;
  readonly outcome: Outcome | "unresolved";
  readonly detail: string;
}

/** Resolve all names at once and connect to each the moment its answer is there. */
export async function many(args: {
  readonly names: readonly string[];
  readonly resolver: string;
  readonly family: 4 | 6;
  readonly port: number;
  readonly data?: string;
  readonly timeoutMs?: number;
}): Promise<ManyResult[]> {
  const one = async (name: string): Promise<ManyResult> => {
    const resolver = new Resolver({ timeout: args.timeoutMs ?? 8_000, tries: 1 });
    resolver.setServers([isIPv6(args.resolver) ? `[${args.resolver}]` : args.resolver]);
    const begun = performance.now();
    let address: string;
    try {
      const addresses = await (args.family === 4 ? resolver.resolve4(name) : resolver.resolve6(name));
      address = addresses[0] ?? "";
    } catch (error) {
      const detail = (error as NodeJS.ErrnoException).code ?? String(error);
      return {
        name,
        address: undefined,
        resolveMs: performance.now() - begun,
        connectMs: 0,
        outcome: "unresolved",
        detail,
      };
    }
    const resolveMs = performance.now() - begun;
    const result = await tcp({
      address,
      port: args.port,
      timeoutMs: args.timeoutMs ?? 8_000,
      ...(args.data === undefined ? {} : { data: args.data.replaceAll("NAME", name) }),
    });
    return {
      name,
      address,
      resolveMs,
      connectMs: result.connectMs,
      outcome: result.outcome,
      detail: result.code ?? "",
    };
  };
  return Promise.all(args.names.map(one));
}

class Held {
  #chunks: Buffer[] = [];
  #end: { outcome: Outcome; code?: string } | undefined;
  #wake: (() => void) | undefined;

  constructor(
    readonly socket: Socket,
    readonly connectMs: number,
  ) {
    socket.removeAllListeners();
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#wake?.();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#end ??= { outcome: failure(error.code, true), ...(error.code === undefined ? {} : { code: error.code }) };
      this.#wake?.();
    });
    socket.on("close", () => {
      this.#end ??= { outcome: "closed" };
      this.#wake?.();
    });
  }

  async exchange(data: Uint8Array | string, timeoutMs: number): Promise<Omit<Attempt, "connectMs">> {
    this.#chunks = [];
    if (data.length > 0 && !this.#end) this.socket.write(data);
    const end = performance.now() + timeoutMs;
    while (this.#chunks.length === 0 && !this.#end && performance.now() < end) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, end - performance.now()));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const received = Buffer.concat(this.#chunks);
    if (received.length > 0) return { outcome: "reply", code: undefined, received };
    return { outcome: this.#end?.outcome ?? "silent", code: this.#end?.code, received };
  }
}

function open(args: TcpArgs, timeoutMs: number): Promise<Held | Attempt> {
  return new Promise((resolve) => {
    const begun = performance.now();
    const local = args.localPort === undefined ? {} : { localPort: args.localPort };
    const socket = connect({ host: args.address, port: args.port, ...local });
    socket.setNoDelay(true);
    const failed = (outcome: Outcome, code?: string) => {
      clearTimeout(timer);
      socket.removeAllListeners().on("error", () => undefined);
      socket.destroy();
      resolve({ outcome, code, received: new Uint8Array(), connectMs: performance.now() - begun });
    };
    const timer = setTimeout(() => failed("timeout"), timeoutMs);
    socket.on("error", (error: NodeJS.ErrnoException) => failed(failure(error.code, false), error.code));
    socket.on("connect", () => {
      clearTimeout(timer);
      resolve(new Held(socket, performance.now() - begun));
    });
  });
}

function failure(code: string | undefined, connected: boolean): Outcome {
  if (code === "ECONNREFUSED") return "refused";
  if (code === "ECONNRESET" || code === "EPIPE") return connected ? "reset" : "refused";
  if (code === "ETIMEDOUT") return "timeout";
  return "prohibited";
}
