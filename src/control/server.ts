/**
 * The control socket of a running gateway: root and, where it exists, the group `l7egg` (mode 0660). It reads, and it has the gateway read the file that
 * root has given it; what is in the file, nobody says here. A client can't harm the packet path by more than the time of its requests: they are small, few at a time, one after
 * the other.
 */
import { chmodSync, chownSync, readFileSync, rmSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { ErrorCode, MethodName, MethodParams, Request, Response } from "./protocol.js";
import { ControlError, maxRequestBytes, methods, protocolVersion, requestSchema } from "./protocol.js";

export type Handlers = { [M in MethodName]: (params: MethodParams[M]) => unknown };

export interface ControlOptions {
  readonly path: string;
  readonly handlers: Handlers;
  /** Default 16; one more is told `busy`. */
  readonly maxClients?: number;
  /** Milliseconds without a complete request after which a client is cut off, default 30,000. */
  readonly idleMs?: number;
  /** Default "l7egg": may use the socket if the group exists. */
  readonly group?: string;
}

export interface ControlServer {
  /** Cuts off all clients and removes the socket. Twice is fine. */
  close(): Promise<void>;
}

/** Resolves when the socket listens. The caller owns the instance: a socket that lies there already is a dead one's. */
export async function serveControl(options: ControlOptions): Promise<ControlServer> {
  const maxClients = options.maxClients ?? 16;
  const clients = new Set<Socket>();
  const refused = new Set<Socket>();
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    const among = clients.size >= maxClients ? refused : clients;
    // Somebody who opens connections by the thousand is not even told.
    if (refused.size >= maxClients) {
      socket.destroy();
      return;
    }
    among.add(socket);
    socket.on("close", () => among.delete(socket));
    if (among === refused) refuse(socket, "busy", `more than ${maxClients} clients`);
    else serveClient(socket, options.handlers, options.idleMs ?? 30_000);
  });
  rmSync(options.path, { force: true });
  await listen(server, options.path);
  restrict(options.path, options.group ?? "l7egg");
  let closing: Promise<void> | undefined;
  return {
    close() {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of [...clients, ...refused]) socket.destroy();
      });
      return closing;
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  // Nobody but root between bind and chmod.
  const mask = process.umask(0o177);
  return new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  }).finally(() => process.umask(mask));
}

function restrict(path: string, group: string): void {
  const gid = groupId(group);
  if (gid !== undefined) chownSync(path, 0, gid);
  chmodSync(path, gid === undefined ? 0o600 : 0o660);
}

function groupId(name: string): number | undefined {
  const entry = readFileSync("/etc/group", "utf8")
    .split("\n")
    .map((text) => text.split(":"))
    .find(([group]) => group === name);
  return entry?.[2] === undefined ? undefined : Number(entry[2]);
}

function serveClient(socket: Socket, handlers: Handlers, idleMs: number): void {
  let buffer = "";
  let busy = Promise.resolve();
  socket.setEncoding("utf8");
  socket.setTimeout(idleMs, () => socket.destroy());
  socket.on("data", (text: string) => {
    buffer += text;
    const lines = buffer.split("\n");
    buffer = lines.pop() as string;
    if (buffer.length > maxRequestBytes || lines.some((one) => one.length > maxRequestBytes)) {
      buffer = "";
      socket.removeAllListeners("data");
      refuse(socket, "bad-json", `a request is longer than ${maxRequestBytes} bytes`);
      return;
    }
    const requests = lines.filter((one) => one.trim() !== "");
    if (requests.length === 0) return;
    // Not read on before these are answered: a client that only writes fills its own buffer, not ours.
    socket.pause();
    busy = busy.then(async () => {
      for (const one of requests) {
        // A reload may take long, and it is not the client that is waited for.
        socket.setTimeout(0);
        const response = line(await answer(one, handlers));
        socket.setTimeout(idleMs);
        // Closed meanwhile: nobody reads the rest.
        if (socket.destroyed) return;
        if (!socket.write(response)) await drained(socket);
      }
      socket.resume();
    });
  });
}

/** Say why and hang up. What the client still sends is read and thrown away: closed with unread data, it would see a reset instead. */
function refuse(socket: Socket, code: ErrorCode, message: string): void {
  socket.resume();
  socket.setTimeout(1000, () => socket.destroy());
  socket.end(line({ v: protocolVersion, id: null, error: { code, message } }));
}

/** Also when it is closed instead. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done);
    socket.on("close", done);
  });
}

/** Never rejects. */
async function answer(text: string, handlers: Handlers): Promise<Response> {
  let id: number | string | null = null;
  try {
    const request = parseRequest(text);
    id = request.id;
    return { v: protocolVersion, id, result: await call(request, handlers) };
  } catch (error) {
    if (error instanceof ControlError) {
      return { v: protocolVersion, id: id ?? idOf(text), error: { code: error.code, message: error.message } };
    }
    const message = error instanceof Error ? error.message : String(error);
    return { v: protocolVersion, id, error: { code: "internal", message } };
  }
}

function parseRequest(text: string): Request {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ControlError("bad-json", "not a line of JSON");
  }
  const parsed = requestSchema.safeParse(value);
  if (!parsed.success) throw new ControlError("bad-request", issues(parsed.error));
  if (parsed.data.v !== protocolVersion) {
    throw new ControlError("unsupported-version", `version ${parsed.data.v} is not spoken here; ${protocolVersion} is`);
  }
  return parsed.data;
}

function call(request: Request, handlers: Handlers): unknown {
  if (!Object.hasOwn(methods, request.method)) {
    throw new ControlError(
      "unknown-method",
      `there is no method ${JSON.stringify(request.method)}; there are ${Object.keys(methods).join(", ")}`,
    );
  }
  const name = request.method as MethodName;
  const params = methods[name].safeParse(request.params ?? {});
  if (!params.success) throw new ControlError("bad-params", issues(params.error));
  return (handlers[name] as (params: unknown) => unknown)(params.data);
}

function issues(error: { issues: readonly { path: PropertyKey[]; message: string }[] }): string {
  return error.issues.map((one) => `${one.path.length > 0 ? `${one.path.join(".")}: ` : ""}${one.message}`).join("; ");
}

/** So that a client can match the error to its request, as far as the request can be read. */
function idOf(text: string): number | string | null {
  try {
    const id = (JSON.parse(text) as { id?: unknown } | null)?.id;
    return typeof id === "number" || (typeof id === "string" && id.length <= 64) ? id : null;
  } catch {
    return null;
  }
}

function line(response: Response): string {
  return `${JSON.stringify(response)}\n`;
}
