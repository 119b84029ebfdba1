/** Every scenario, in the order they run and are reported. A new one is one line. */
import type { Scenario } from "../harness/types.js";
import { core } from "./core.js";
import { ebpf } from "./ebpf.js";

export const scenarios: readonly Scenario[] = [ebpf, core];
