/** The other end of the control socket: one question, one answer. */
import { createConnection } from "node:net";
import type { MethodName } from "./protocol.js";
import { ControlError, maxResponseBytes, protocolVersion, responseSchema } from "./protocol.js";

export interface CallOptions {
  readonly path: string;
  readonly method: MethodName;
  readonly params?: unknown;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * The method's result. Rejects with ControlError: the gateway's own code, or `unreachable` (nobody listens, or no permission),
 * `timeout`, `bad-response`.
 */
export function callControl(options: CallOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(options.path);
    const fail = (code: string, message: string) => {
      socket.destroy();
      reject(new ControlError(code, message));
    };
    const timer = setTimeout(
      () => fail("timeout", `no answer on ${options.path} in ${(options.timeoutMs ?? 10_000) / 1000} s`),
      options.timeoutMs ?? 10_000,
    );
    const chunks: Buffer[] = [];
    let bytes = 0;
    socket.on("connect", () => {
      socket.write(
        `${JSON.stringify({ v: protocolVersion, id: 1, method: options.method, params: options.params ?? {} })}\n`,
      );
    });
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxResponseBytes) return fail("bad-response", `longer than ${maxResponseBytes} bytes`);
      if (chunk.at(-1) !== 0x0a) return;
      clearTimeout(timer);
      socket.destroy();
      try {
        resolve(resultOf(Buffer.concat(chunks).toString("utf8")));
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
    socket.on("error", (error) => {
      clearTimeout(timer);
      fail("unreachable", error.message);
    });
    socket.on("close", () => {
      clearTimeout(timer);
      reject(new ControlError("unreachable", `${options.path}: closed before an answer came`));
    });
  });
}

function resultOf(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ControlError("bad-response", "not a line of JSON");
  }
  const parsed = responseSchema.safeParse(value);
  if (!parsed.success) throw new ControlError("bad-response", "not a response of this protocol version");
  const { error, result } = parsed.data;
  if (error) throw new ControlError(error.code, error.message);
  return result;
}
