/** `l7egg run`: one gateway in the foreground until SIGINT or SIGTERM; SIGHUP stops it, too, unless it has a policy file to read again. */
import type { ControlServer } from "../control/server.js";
import { serveControl } from "../control/server.js";
import { ControlError } from "../control/protocol.js";
import { parseQuestion } from "../core/policy/question.js";
import { UsageError, describe } from "../edge/errors.js";
import { ruleText } from "../edge/livePolicy.js";
import { Gateway } from "../edge/gateway.js";
import type { Log } from "../edge/log.js";
import { createLog } from "../edge/log.js";
import { formatMask, type GatewayOptions } from "../edge/options.js";
import type { Plan } from "../edge/preflight.js";
import { loadAddon, preflight } from "../edge/preflight.js";
import { gatewayExplain, gatewayStatus } from "../edge/status.js";
import { counted } from "../core/counted.js";
import { formatAddr } from "../core/net/address.js";
import { report } from "./output.js";
import type { RawRunOptions } from "./runOptions.js";
import { readRunOptions } from "./runOptions.js";

/** Returns the exit code. UsageError: nothing was changed. `program`: as in `finish`. */
export async function run(raw: RawRunOptions, program = "l7egg"): Promise<number> {
  const options = readRunOptions(raw);
  const plan = await preflight(options, loadAddon);
  const native = await loadAddon();
  let gateway: Gateway | undefined;
  const log = createLog({ format: options.logFormat, ruleText: (_policy, rule) => textOf(gateway, plan, rule) });
  try {
    for (const warning of plan.warnings) log.warn({}, `warning: ${warning}`);
    const signals = listen(options);
    crashClosed(log);
    const running = await Gateway.start(native, plan, log);
    gateway = running;
    let control: ControlServer | undefined;
    try {
      control = await serve(running, log);
      signals.start(running);
      announce(plan, log);
      log.info({ signal: await signals.stop }, "stopping: the network opens, as when a firewall is removed");
    } finally {
      await control?.close();
      await running.stop();
    }
    log.info({}, "stopped, nothing is left behind");
    return 0;
  } catch (error) {
    return report(error, program);
  } finally {
    log.close();
  }
}

function serve(gateway: Gateway, log: Log): Promise<ControlServer> {
  return serveControl({
    path: gateway.parts.claim.paths.socket,
    handlers: {
      status: ({ learned }) => gatewayStatus(gateway, log.stats(), learned),
      explain: ({ target }) => {
        const question = parseQuestion(target);
        if (!question.ok) throw new ControlError("bad-params", question.error);
        return gatewayExplain(gateway, question.value);
      },
      reload: async () => {
        try {
          return await gateway.reload();
        } catch (error) {
          if (error instanceof UsageError) throw new ControlError("bad-policy", error.lines.join("\n"));
          throw error;
        }
      },
    },
  });
}

function announce(plan: Plan, log: Log): void {
  const { options, spec } = plan;
  const { first, last } = options.queues;
  const resolvers = spec.resolvers.map(formatAddr);
  const whom = options.lan.length === 0 ? "this box's own egress" : `what comes in by ${options.lan.join(", ")}`;
  const stop = `stop: Ctrl-C or kill ${process.pid} (opens the network); l7egg status${options.name === "default" ? "" : ` --name ${options.name}`} shows more`;
  if (options.logFormat === "pretty") {
    log.info(
      {},
      `governed: ${whom}${options.lan.length === 0 ? " that" : " and"} would leave by ${options.eface}; ${counted(spec.rules.length, "rule")}, verify ${spec.verify}`,
    );
    for (const rule of spec.rules.slice(0, 20)) log.info({}, `  ${rule.text}`);
    if (spec.rules.length > 20) log.info({}, `  ... and ${spec.rules.length - 20} more`);
    log.info({}, `trusted resolvers: ${resolvers.join(", ")}`);
    log.info({}, stop);
  }
  log.info(
    {
      instance: options.name,
      pid: process.pid,
      lan: options.lan,
      iface: options.iface,
      eface: options.eface,
      rules: spec.rules.length,
      resolvers,
      verify: spec.verify,
      queues: Array.from({ length: last - first + 1 }, (_, i) => first + i),
      markMask: formatMask(options.mark.mask),
      attach: plan.attachMode,
      stop,
    },
    "ready",
  );
}

/** Decisions may be told before the start is through. */
function textOf(gateway: Gateway | undefined, { compiled }: Plan, rule: number): string {
  return gateway ? ruleText(gateway.policy, rule) : (compiled.rules[rule - 1]?.text ?? "");
}

/** Also to signals that come while the start is under way: it is finished, then undone, or its file read once more. */
function listen(options: GatewayOptions): {
  readonly stop: Promise<string>;
  readonly start: (gateway: Gateway) => void;
} {
  let gateway: Gateway | undefined;
  let isDue = false;
  let isBusy = false;
  // Of signals that come meanwhile, however many, one counts.
  const reload = async () => {
    isDue = true;
    if (isBusy || !gateway) return;
    isBusy = true;
    while (isDue) {
      isDue = false;
      // What is wrong with the file is in the log.
      await gateway.reload().catch(() => undefined);
    }
    isBusy = false;
  };
  const stop = new Promise<string>((resolve) => {
    // A second Ctrl-C must not cut the clean-up short: the handlers stay.
    for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => resolve(name));
    process.on("SIGHUP", () => (options.policyFile === undefined ? resolve("SIGHUP") : void reload()));
  });
  const start = (started: Gateway) => {
    gateway = started;
    if (isDue) void reload();
  };
  return { stop, start };
}

/** A bug of ours ends the process like kill -9: the traffic stays governed, undecided packets are dropped. */
function crashClosed(log: Log): void {
  const die = (error: unknown) => {
    log.error({ stack: error instanceof Error ? error.stack : undefined }, `internal error: ${describe(error)}`);
    log.error({}, "the gateway dies; the traffic stays governed: start it again, or open the network with l7egg clean");
    log.close();
    process.exit(1);
  };
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
}
