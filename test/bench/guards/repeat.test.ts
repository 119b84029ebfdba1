/** Operations are measured in calls of whatever length the clock asks for: what they keep must not depend on where a call ends. */
import { describe, it } from "node:test";
import { enginePaths } from "../../../bench/core/operations.js";

describe("an operation goes on from call to call", () => {
  for (const { name, make } of enginePaths) {
    it(name, () => {
      const times = make();
      // Each checks its own answers, and throws.
      for (const count of [1, 700, 700, 17, 1_000, 300]) times(count);
    });
  }
});
