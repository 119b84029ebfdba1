/** Every scenario, in the order they run and are reported. A new one is one line. */
import type { Scenario } from "../harness/types.js";
import { connections } from "./connections.js";
import { core } from "./core.js";
import { denial } from "./denial.js";
import { dns } from "./dns.js";
import { ebpf } from "./ebpf.js";
import { firstByte } from "./firstByte.js";
import { growth } from "./growth.js";
import { interference } from "./interference.js";
import { packets } from "./packets.js";
import { startup } from "./startup.js";
import { throughput } from "./throughput.js";

export const scenarios: readonly Scenario[] = [
  throughput,
  packets,
  connections,
  firstByte,
  dns,
  denial,
  ebpf,
  core,
  growth,
  interference,
  startup,
];
