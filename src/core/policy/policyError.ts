/** A policy that is well written but doesn't fit the kernel's tables. The message is one line that names the rule. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
}
