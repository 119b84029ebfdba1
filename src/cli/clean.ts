/** `l7egg clean` */
import { cleanInstance, knownInstances } from "../edge/clean.js";
import { UsageError } from "../edge/errors.js";
import { isInstanceName } from "../edge/options.js";
import { loadAddon } from "../edge/preflight.js";
import { print } from "./output.js";

export async function clean(options: {
  name: string;
  all?: boolean;
  force?: boolean;
  pinDir: string;
}): Promise<number> {
  if (!isInstanceName(options.name)) {
    throw new UsageError(`--name ${JSON.stringify(options.name)}: 1 to 15 of a-z, 0-9 and -, not beginning with -`);
  }
  if (process.geteuid?.() !== 0)
    throw new UsageError("this needs root: it detaches eBPF programs and removes iptables rules");
  const native = await loadAddon();
  const names = options.all ? knownInstances(options.pinDir) : [options.name];
  const problems: string[] = [];
  let removed = 0;
  for (const name of names) {
    try {
      const lines = await cleanInstance(native, name, options.pinDir, options.force ?? false);
      removed += lines.length;
      print(lines);
    } catch (error) {
      // The others are cleaned all the same.
      if (!options.all || !(error instanceof UsageError)) throw error;
      problems.push(...error.lines);
    }
  }
  if (problems.length > 0) throw new UsageError(problems);
  if (removed === 0) print([options.all ? "nothing to clean" : `${options.name}: nothing to clean`]);
  return 0;
}
