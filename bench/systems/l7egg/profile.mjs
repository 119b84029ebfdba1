/**
 * Loaded into `l7egg run` when L7EGG_BENCH_CPU_PROF names a folder: a processor profile from three seconds after the start to the end.
 * Node's own --cpu-prof begins at once, and the kernel gives up verifying an eBPF program when the profiler's signals come in between.
 */
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";

const session = new Session();
session.connect();

setTimeout(() => {
  session.post("Profiler.enable");
  session.post("Profiler.start");
  process.on("exit", () => {
    session.post("Profiler.stop", (error, stopped) => {
      if (error) throw error;
      const file = join(process.env["L7EGG_BENCH_CPU_PROF"], `l7egg-${process.pid}.cpuprofile`);
      writeFileSync(file, JSON.stringify(stopped.profile));
    });
  });
}, 3_000).unref();
