/** `l7egg doctor` */
import { diagnose } from "../edge/features.js";
import { loadAddon } from "../edge/preflight.js";
import { UsageError } from "../edge/errors.js";
import { print } from "./output.js";

/** Exit code 0: a gateway can run here; 1: it can't. */
export async function doctor(options: { json?: boolean }): Promise<number> {
  if (process.geteuid?.() !== 0)
    throw new UsageError("this needs root: the kernel's features are found by trying them");
  const { features, warnings } = diagnose(await loadAddon());
  const fatal = features.filter((feature) => feature.needed && feature.answer === "no");
  const unsure = features.filter((feature) => feature.needed && feature.answer === "unknown");
  if (options.json) {
    print([JSON.stringify({ ready: fatal.length === 0, features, warnings }, undefined, 2)]);
  } else {
    const width = Math.max(...features.map((feature) => feature.name.length));
    print([
      ...features.map((feature) => {
        const answer = { yes: "yes", no: "no", unknown: "could not tell" }[feature.answer];
        const cost = feature.answer === "yes" ? "" : `  ${feature.needed ? "NEEDED: " : ""}${feature.cost}`;
        return `${feature.name.padEnd(width)}  ${answer.padEnd(14)}${cost}`.trimEnd();
      }),
      ...warnings.map((warning) => `warning: ${warning}`),
      fatal.length === 0
        ? unsure.length === 0
          ? "a gateway can run here"
          : `a gateway may run here; could not tell: ${unsure.map((feature) => feature.name).join(", ")}`
        : `no gateway can run here: ${fatal.map((feature) => feature.name).join(", ")} missing`,
    ]);
  }
  return fatal.length === 0 ? 0 : 1;
}
