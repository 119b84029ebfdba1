/** One mode of l7egg as a system: what `l7egg run` is told besides the policy. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { root } from "../../load.js";
import type { System, Way } from "../../harness/types.js";
import { commaLists, settled, startGateway } from "./start.js";

export interface Mode {
  /** The system is called l7egg-`name`. */
  readonly name: string;
  /** What its tables say behind "l7egg". */
  readonly title: string;
  readonly args: readonly string[];
  /** What the mode decides by, besides CIDRs. */
  readonly way: Way;
  readonly gap?: string;
}

export function l7eggMode({ name, title, args, way, gap }: Mode): System {
  return {
    name: `l7egg-${name}`,
    title: `l7egg ${title}`,
    fair: `\`l7egg run ${args.join(" ")}\` as it comes, no option tuned, every decision logged to a file. It is transparent: clients and servers know nothing of it.`,
    ways: ["cidr", way],
    family: "l7egg",
    ...(gap === undefined ? {} : { gap }),
    version,
    start: async (lab, workload) => {
      const policy = [...commaLists("--cidr", workload.cidrs), ...commaLists("--domain", workload.domains)];
      const gateway = await settled(await startGateway(lab, [...args, ...policy]));
      return { pids: () => [gateway.daemon.pid], log: () => gateway.log(), stop: () => gateway.stop() };
    },
  };
}

function version(): string {
  try {
    const text = execFileSync(process.execPath, [join(root, "dist/cli/main.js"), "--version"], { encoding: "utf8" });
    return `${text.trim()}, Node ${process.versions.node}`;
  } catch {
    return "not built";
  }
}
