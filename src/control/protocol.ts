/**
 * The control protocol, version 1: JSON lines over the instance's unix socket. One request a line, one response a line, in order.
 *
 *   → {"v":1,"id":7,"method":"status","params":{"learned":100}}
 *   ← {"v":1,"id":7,"result":{…}}
 *   ← {"v":1,"id":7,"error":{"code":"bad-params","message":"…"}}
 *
 * Fields that a side doesn't know are ignored in results and refused in params, so that a newer client notices an older gateway.
 */
import { z } from "zod";

export const protocolVersion = 1;

/** Bytes of one request line; a longer one ends the connection. */
export const maxRequestBytes = 64 * 1024;
/** Bytes of one response line that the client accepts. */
export const maxResponseBytes = 64 * 1024 * 1024;

export const requestSchema = z.object({
  v: z.number().int(),
  id: z.union([z.number(), z.string().max(64)]),
  method: z.string().max(64),
  params: z.unknown().optional(),
});
export type Request = z.infer<typeof requestSchema>;

export const errorCodes = [
  /** The line is no JSON, or longer than `maxRequestBytes`; id is null. */
  "bad-json",
  /** Not a request of this shape. */
  "bad-request",
  /** `v` is another version; the message names the one spoken here. */
  "unsupported-version",
  "unknown-method",
  /** The method doesn't take these params. */
  "bad-params",
  /** The policy file is bad: a line for each thing that is wrong. The policy stays as it was. */
  "bad-policy",
  /** Too many clients, or the gateway stops. */
  "busy",
  /** The method failed. */
  "internal",
] as const;
export type ErrorCode = (typeof errorCodes)[number];

export const responseSchema = z.object({
  v: z.literal(protocolVersion),
  id: z.union([z.number(), z.string(), z.null()]),
  result: z.unknown().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});
export type Response = z.infer<typeof responseSchema>;

/** Params of each method. */
export const methods = {
  /** `learned`: most learned names listed, the newest; 0–100,000, default 1,000; 0 = none. */
  status: z.strictObject({ learned: z.number().int().min(0).max(100_000).default(1000) }),
  /** `target`: NAME or IP, with or without :PORT. */
  explain: z.strictObject({ target: z.string().min(1).max(300) }),
  /** Read the policy file again. Answered when the new policy is in force. */
  reload: z.strictObject({}),
} as const;
export type MethodName = keyof typeof methods;

export type MethodParams = { [M in MethodName]: z.output<(typeof methods)[M]> };

/** An error that goes to the client with its code. */
export class ControlError extends Error {
  readonly code: ErrorCode | (string & {});

  constructor(code: ErrorCode | (string & {}), message: string) {
    super(message);
    this.name = "ControlError";
    this.code = code;
  }
}
