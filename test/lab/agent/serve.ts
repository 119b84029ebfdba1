/** Servers in the internet namespace: echo, and a resolver that answers what the test tells it to. */
import { createSocket } from "node:dgram";
import { createServer, isIPv6 } from "node:net";
import { decode, encode } from "dns-packet";

const peersByPort = new Map<number, Set<string>>();

/** Echo on these ports of every address. Who comes is remembered for `peers`. */
export async function serveTcpEcho(args: { readonly ports: readonly number[] }): Promise<void> {
  await Promise.all(
    args.ports.map(
      (port) =>
        new Promise<void>((resolve, reject) => {
          const server = createServer((socket) => {
            const seen = peersByPort.get(port) ?? new Set<string>();
            peersByPort.set(port, seen.add((socket.remoteAddress ?? "").replace(/^::ffff:/, "")));
            socket.on("error", () => socket.destroy());
            socket.pipe(socket);
          });
          server.on("error", reject);
          server.listen({ port, host: "::", ipv6Only: false, backlog: 4096 }, resolve);
        }),
    ),
  );
}

/** Addresses that have connected to an echo port. */
export function peers(args: { readonly port: number }): string[] {
  return [...(peersByPort.get(args.port) ?? [])];
}

/** Echo on these addresses and ports. One socket each: the reply must come from the address that was asked. */
export async function serveUdpEcho(args: {
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
}): Promise<void> {
  for (const address of args.addresses) {
    for (const port of args.ports) {
      const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
      socket.on("message", (message, from) => socket.send(message, from.port, from.address));
      await new Promise<void>((resolve, reject) => {
        socket.once("error", reject);
        socket.bind(port, address, resolve);
      });
    }
  }
}

export interface CraftedRecord {
  /** Owner; default: the name asked for. */
  readonly name?: string;
  readonly type: "A" | "AAAA" | "CNAME";
  readonly data: string;
  readonly ttl?: number;
}

export interface CraftedAnswer {
  readonly records: readonly CraftedRecord[];
  /** Added to the query's id. */
  readonly idOffset?: number;
  /** Question in the answer instead of the one asked. */
  readonly question?: string;
  /** Sent from another address and port than the one that was asked: off the path. */
  readonly from?: { readonly address: string; readonly port: number };
  /** Owners that are the question's name are written as a pointer to it, as every server does; default: written out. */
  readonly compress?: boolean;
  /** Milliseconds before it is sent. */
  readonly delayMs?: number;
}

const crafted = new Map<string, readonly CraftedAnswer[]>();

/** What the crafted resolver says to this name from now on: all of the answers, in order. */
export function craft(args: { readonly name: string; readonly answers: readonly CraftedAnswer[] }): void {
  crafted.set(args.name.toLowerCase(), args.answers);
}

const asked: string[] = [];

/** Names that reached the crafted resolver, in order. */
export function askedNames(_args: object): string[] {
  return asked;
}

/** RFC 1035 4.1.4, for the one name that stands first. */
function compress(message: Buffer): Buffer {
  const end = message.indexOf(0, 12) + 5;
  const name = message.toString("latin1", 12, end - 4);
  const rest = message.toString("latin1", end).replaceAll(name, "\xc0\x0c");
  return Buffer.concat([message.subarray(0, end), Buffer.from(rest, "latin1")]);
}

export async function serveCrafted(args: { readonly addresses: readonly string[] }): Promise<void> {
  for (const address of args.addresses) {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    socket.on("message", (message, from) => {
      const query = decode(message);
      const question = query.questions?.[0];
      if (!question) return;
      asked.push(question.name.toLowerCase());
      for (const answer of crafted.get(question.name.toLowerCase()) ?? []) {
        const whole = encode({
          type: "response",
          id: ((query.id ?? 0) + (answer.idOffset ?? 0)) & 0xffff,
          flags: 0x180,
          questions: [{ ...question, name: answer.question ?? question.name }],
          answers: answer.records.map((r) => ({ ttl: 300, class: "IN", name: question.name, ...r })),
        });
        const reply = answer.compress ? compress(whole) : whole;
        const send = () => {
          if (!answer.from) {
            socket.send(reply, from.port, from.address);
            return;
          }
          const other = createSocket(isIPv6(address) ? "udp6" : "udp4");
          other.bind(answer.from.port, answer.from.address, () =>
            other.send(reply, from.port, from.address, () => other.close()),
          );
        };
        if (answer.delayMs) setTimeout(send, answer.delayMs);
        else send();
      }
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(53, address, resolve);
    });
  }
}
