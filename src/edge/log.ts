/**
 * The log: pino, on stdout, asynchronous (logOutput.ts): the packet path never waits for a terminal or a pipe. One line for each decision, at
 * most `decisionsPerSecond`; the rest is counted and summed up in one line a second. Decisions are written some milliseconds later, together; all
 * else at once, and after the decisions before it. For people, a decision is written past pino and pino-pretty, which would make JSON of it
 * and read that again, on the thread that judges packets.
 */
import pino from "pino";
import pretty from "pino-pretty";
import { reasonName } from "../core/abi.generated.js";
import type { DecisionCommand } from "../core/engine/commands.js";
import { formatAddr } from "../core/net/address.js";
import { LogOutput } from "./logOutput.js";
import type { LogFormat } from "./options.js";

export interface LogOptions {
  readonly format: LogFormat;
  /** What a rule's number means: "" for 0 and unknown ones. */
  readonly ruleText: (policy: number, rule: number) => string;
  /** Default 1,000; 0 = no decision lines. */
  readonly decisionsPerSecond?: number;
  /** File descriptor, default 1; any but 1 and 2 is closed with the log. */
  readonly fd?: number;
}

export interface LogStats {
  readonly decisions: number;
  /** Decisions that the rate limit kept from the log. */
  readonly suppressed: number;
  /** Lines that a slow reader of the log cost. */
  readonly dropped: number;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  decision(decision: DecisionCommand): void;
  /** So many decisions were beyond the limit already where they were made. */
  beyond(count: number): void;
  stats(): LogStats;
  /** Write out what is buffered, synchronously. */
  close(): void;
}

export function createLog(options: LogOptions): Log {
  const limit = options.decisionsPerSecond ?? 1000;
  let decisions = 0;
  let suppressed = 0;
  let inSecond = 0;
  let suppressedInSecond = 0;

  const output = new LogOutput(options.fd ?? 1);
  const color = process.stdout.isTTY;
  const stream = options.format === "pretty" ? pretty(prettyOptions(output.direct, color)) : output;
  const logger = pino(
    { base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    stream,
  );

  const say = (level: "info" | "warn" | "error", fields: object, message: string) => {
    output.flush();
    logger[level](fields, message);
    output.flush();
  };

  const second = setInterval(() => {
    if (suppressedInSecond > 0) {
      say(
        "warn",
        { suppressed: suppressedInSecond },
        `${suppressedInSecond} more decisions in the last second are not shown`,
      );
    }
    inSecond = 0;
    suppressedInSecond = 0;
  }, 1000);
  second.unref();

  return {
    info: (fields, message) => say("info", fields, message),
    warn: (fields, message) => say("warn", fields, message),
    error: (fields, message) => say("error", fields, message),
    decision(decision) {
      decisions++;
      if (inSecond >= limit) {
        suppressed++;
        suppressedInSecond++;
        return;
      }
      inSecond++;
      const fields = decisionFields(decision, options.ruleText);
      if (options.format === "json") logger.info(fields, "decision");
      else output.write(`[${clock(new Date())}]: ${decisionText(fields, color)}\n`);
    },
    beyond(count) {
      decisions += count;
      suppressed += count;
      suppressedInSecond += count;
    },
    stats: () => ({ decisions, suppressed, dropped: output.dropped }),
    close() {
      clearInterval(second);
      output.close();
    },
  };
}

/** The fields of a decision line, the same in JSON and (as text) in pretty. */
export function decisionFields(
  decision: DecisionCommand,
  ruleText: (policy: number, rule: number) => string,
): Record<string, string | number> {
  const out: Record<string, string | number> = { verdict: decision.verdict, reason: reasonName(decision.reason) };
  if (decision.client !== undefined) out["client"] = formatAddr(decision.client);
  if (decision.name !== undefined) out["name"] = decision.name;
  if (decision.address !== undefined) out["address"] = formatAddr(decision.address);
  if (decision.port !== undefined) out["port"] = decision.port;
  if (decision.proto !== undefined) out["proto"] = protoName(decision.proto);
  const rule = ruleText(decision.policy, decision.rule);
  if (rule !== "") out["rule"] = rule;
  if (decision.detail !== undefined) out["detail"] = decision.detail;
  return out;
}

export function protoName(proto: number): string {
  return protocols[proto] ?? `proto-${proto}`;
}

const protocols: Readonly<Record<number, string>> = {
  1: "icmp",
  2: "igmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  41: "ipv6",
  47: "gre",
  50: "esp",
  51: "ah",
  58: "icmpv6",
  132: "sctp",
};

function prettyOptions(destination: pino.DestinationStream, color: boolean): pretty.PrettyOptions {
  return {
    destination: destination,
    colorize: color,
    translateTime: "SYS:HH:MM:ss.l",
    hideObject: true,
    // `name` is the name on the wire here, not the name of a logger.
    ignore: "level,name,pid",
    messageFormat: "{msg}",
  };
}

/** The time of day as pino-pretty writes it. */
function clock(time: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const ms = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${ms}`;
}

/** `deny  192.168.1.5 -> www.example.com 192.0.2.1:443/tcp  name-denied  (--domain *.x.io)` */
function decisionText(line: Readonly<Record<string, string | number>>, color: boolean): string {
  const text = (key: string) => {
    const value = line[key];
    return typeof value === "string" || typeof value === "number" ? String(value) : "";
  };
  const verdict = text("verdict");
  const address = text("address");
  const host = address.includes(":") ? `[${address}]` : address;
  const port = line["port"] === undefined ? "" : `:${text("port")}`;
  const target = [text("name"), `${host}${port}${line["proto"] === undefined ? "" : `/${text("proto")}`}`];
  const parts = [
    color ? `\x1b[${verdict === "allow" ? 32 : 31}m${verdict.padEnd(5)}\x1b[0m` : verdict.padEnd(5),
    text("client") || "-",
    "->",
    ...target.filter((part) => part !== ""),
    ` ${text("reason")}`,
  ];
  if (text("rule") !== "") parts.push(` (${text("rule")})`);
  if (text("detail") !== "") parts.push(` ${text("detail")}`);
  return parts.join(" ");
}
