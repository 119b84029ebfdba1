/** A router that forwards and does nothing else: what everything is compared with. */
import { release } from "node:os";
import type { System } from "../harness/types.js";

export const plain: System = {
  name: "plain",
  title: "plain forwarding",
  fair: "The same router without any rule, filter or connection tracking: the most that this machine can forward.",
  ways: ["open"],
  version: () => `Linux ${release()}`,
  start: () => Promise.resolve({ pids: () => [], stop: () => Promise.resolve() }),
};
