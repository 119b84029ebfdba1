/**
 * The thread of one queue: an engine that judges all but DNS, on the kernel's maps (kernelNames.ts). Started by queueWorkers.ts, ended by its
 * message; if it ends otherwise, its queue has no listener and the kernel drops what is for it (fail mode open: lets it pass).
 */
import { parentPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import type { DecisionCommand } from "../core/engine/commands.js";
import { Engine } from "../core/engine/engine.js";
import { NameHasher } from "../core/names/hash.js";
import { Reason, Verdict } from "../core/abi.generated.js";
import { CompiledPolicy } from "../core/policy/compiledPolicy.js";
import { native } from "../native/index.js";
import type { Queue } from "../native/types.js";
import { describe, errnoOf } from "./errors.js";
import { KernelFlows } from "./kernelFlows.js";
import { KernelMaps, forLiveMaps } from "./kernelMaps.js";
import { KernelNames, unknownName } from "./kernelNames.js";
import { Outbox } from "./outbox.js";
import { rateLimited } from "./rateLimited.js";
import { ReasonCounters } from "./reasonCounters.js";
import { Runner } from "./runner.js";
import type { FromWorker, ToWorker, WorkerSetup, WorkerStats } from "./workerMessages.js";

function work(port: MessagePort, setup: WorkerSetup): void {
  const { mark, failMode } = setup;
  const post = (message: FromWorker) => port.postMessage(message);
  const shared = forLiveMaps((name) => native.shareMap(setup.maps[name]));
  const maps = new KernelMaps(shared, new NameHasher(setup.hashSeed));
  const flowReader = native.shareProgram(setup.flowReader);
  const flows = new KernelFlows(shared, setup.generation, flowReader);
  flows.setGeneration(setup.generation, setup.previous);
  let coming: readonly CompiledPolicy[] = [];
  const engine = new Engine({
    policies: setup.policies.map((policy) => CompiledPolicy.fromPlain(policy)),
    limits: setup.limits,
    lookupFlow: (key) => flows.get(key),
    // DNS is the main thread's.
    lookupAsked: () => undefined,
    hashSeed: setup.hashSeed,
    learned: new KernelNames(maps),
  });
  const outbox = new Outbox(post);
  const sender = native.openRawSender((Verdict.ALLOW << mark.shift) >>> 0);
  const interfaces = new Map(setup.interfaces.map((one) => [one.ifindex, one]));
  const runner = new Runner({
    engine,
    maps: {
      learn: (command) => outbox.learned(command),
      // It forgets nothing: the tables are the main thread's.
      forget: () => undefined,
    },
    flows,
    questions: { allow: () => undefined, answered: () => undefined },
    journal: { append: () => undefined, flush: () => undefined },
    interfaces,
    mark,
    failMode,
    send: (packet) => sender.send(packet),
    decided: (decision) => outbox.decision(decision, lacksName(decision) ? decision.by : undefined),
    failed: rateLimited((message) => outbox.failure(message)),
    reasons: new ReasonCounters(setup.reasons),
  });
  const queue = native.openQueue({ queue: setup.queue, failOpen: failMode === "open" }, (count, meta, data) =>
    runner.onBatch(count, meta, data),
  );
  runner.start(queue);

  port.on("message", (message: ToWorker) => {
    switch (message.type) {
      case "interfaces":
        interfaces.clear();
        for (const one of message.interfaces) interfaces.set(one.ifindex, one);
        return;
      case "prepare":
        coming = message.policies.map((policy) => CompiledPolicy.fromPlain(policy));
        return post({ type: "prepared" });
      case "switch":
        flows.setGeneration(message.generation, message.previous);
        runner.inject([{ type: "policies", policies: coming, firstRule: message.firstRule }]);
        return post({ type: "switched" });
      case "settled":
        return runner.inject([{ type: "settled" }]);
      case "taken":
        return outbox.taken();
      case "stats":
        return post({ type: "stats", stats: statsOf(engine, runner, flows, queue) });
      case "stop":
        runner.stop();
        outbox.flush();
        return post({ type: "stopped", stats: statsOf(engine, runner, flows, queue) });
      case "close":
        // With it the last thing goes that keeps this thread alive.
        queue.close();
        sender.close();
        flowReader.close();
        for (const map of Object.values(shared)) map.close();
        outbox.flush();
        return port.close();
    }
  });
  post({ type: "ready" });
}

/** Only the main thread knows for which name an address was learned. */
function lacksName(decision: DecisionCommand): boolean {
  return decision.name === unknownName || decision.reason === Reason.NAME_IP_MISMATCH;
}

function statsOf(engine: Engine, runner: Runner, flows: KernelFlows, queue: Queue): WorkerStats {
  const { reasons: _, ...run } = runner.stats();
  return { engine: engine.stats(), runner: { ...run, mapFull: flows.full }, queue: queue.stats() };
}

if (parentPort) {
  try {
    work(parentPort, workerData as WorkerSetup);
  } catch (error) {
    parentPort.postMessage({ type: "refused", code: errnoOf(error), message: describe(error) } satisfies FromWorker);
    parentPort.close();
  }
}
