/** DNS messages as bytes: what a stub resolver would never send. */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { decode, encode, type Answer, type Packet, type Question } from "dns-packet";

export interface QueryArgs {
  readonly server: string;
  readonly name: string;
  readonly type?: "A" | "AAAA" | "CNAME" | "TXT";
  readonly id?: number;
  readonly port?: number;
  readonly localPort?: number;
  /** Default 800. */
  readonly timeoutMs?: number;
}

export interface DnsReply {
  readonly rcode: string;
  readonly addresses: readonly string[];
  readonly id: number;
  /** Extended DNS Error (RFC 8914) INFO-CODE; undefined: none. */
  readonly ede: number | undefined;
}

/** Ask over UDP; undefined: no answer in time. Takes whatever datagram comes to its port first, also with a wrong id. */
export function queryUdp(args: QueryArgs): Promise<DnsReply | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(args.server) ? "udp6" : "udp4");
    const end = (reply: DnsReply | undefined) => {
      clearTimeout(timer);
      socket.close();
      resolve(reply);
    };
    const timer = setTimeout(() => end(undefined), args.timeoutMs ?? 800);
    socket.on("error", reject);
    socket.on("message", (message) => end(readReply(message)));
    socket.bind(args.localPort ?? 0, () => socket.send(question(args), args.port ?? 53, args.server));
  });
}

export interface TcpQueriesArgs {
  readonly server: string;
  readonly names: readonly string[];
  /** Bytes of each write; 0 = everything at once. */
  readonly chunk: number;
  readonly timeoutMs?: number;
}

/** All questions in one connection without waiting (RFC 7766 section 6.2.1.1), cut into writes of `chunk` bytes. Replies by id, 0 the first. */
export function queriesTcp(
  args: TcpQueriesArgs,
): Promise<{ readonly replies: DnsReply[]; readonly error: string | undefined }> {
  const messages = args.names.map((name, id) => frame(question({ server: args.server, name, id })));
  const bytes = Buffer.concat(messages);
  return new Promise((resolve) => {
    const socket = connect({ host: args.server, port: 53 });
    socket.setNoDelay(true);
    const replies: DnsReply[] = [];
    let buffer = Buffer.alloc(0);
    const end = (error?: string) => {
      clearTimeout(timer);
      socket.removeAllListeners().on("error", () => undefined);
      socket.destroy();
      resolve({ replies: replies.sort((a, b) => a.id - b.id), error });
    };
    const timer = setTimeout(() => end("timeout"), args.timeoutMs ?? 3_000);
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code));
    socket.on("close", () => end("closed"));
    socket.on("connect", () => {
      void (async () => {
        const step = args.chunk === 0 ? bytes.length : args.chunk;
        for (let at = 0; at < bytes.length; at += step) {
          socket.write(bytes.subarray(at, at + step));
          // A turn of the loop, so that each write is a segment of its own.
          if (step < bytes.length) await new Promise((next) => setTimeout(next, 1));
        }
      })();
    });
    socket.on("data", (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
        const length = buffer.readUInt16BE(0);
        replies.push(readReply(buffer.subarray(2, 2 + length)));
        buffer = buffer.subarray(2 + length);
      }
      if (replies.length === args.names.length) end();
    });
  });
}

export function question(args: QueryArgs): Buffer {
  const questions: Question[] = [{ type: args.type ?? "A", name: args.name, class: "IN" }];
  const id = args.id ?? Math.floor(Math.random() * 65_536);
  // EDNS(0), so that a denial may carry its Extended DNS Error.
  const opt = { type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0, options: [] } as unknown as Answer;
  return encode({ type: "query", id, flags: 0x100, questions, additionals: [opt] });
}

export function readReply(message: Buffer): DnsReply {
  const packet = decode(message) as Packet & { rcode?: string };
  const addresses = (packet.answers ?? []).flatMap((a) => (a.type === "A" || a.type === "AAAA" ? [a.data] : []));
  return { rcode: packet.rcode ?? "", addresses, id: packet.id ?? 0, ede: extendedError(packet) };
}

interface OptRecord {
  readonly type: string;
  readonly options?: readonly { readonly code: number; readonly data: Buffer }[];
}

function extendedError(packet: Packet): number | undefined {
  for (const record of (packet.additionals ?? []) as unknown as OptRecord[]) {
    const option = record.type === "OPT" ? record.options?.find((o) => o.code === 15) : undefined;
    if (option) return option.data.readUInt16BE(0);
  }
  return undefined;
}

function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
