/** Where an instance keeps what it leaves: two folders, nothing else. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defaults } from "./options.js";

export interface InstancePaths {
  /** Folder of the running instance, mode 0711. */
  readonly run: string;
  /** Held (flock) by the owner for as long as it lives. */
  readonly lock: string;
  /** What the instance holds: `InstanceRecord`. */
  readonly record: string;
  readonly socket: string;
  readonly journal: string;
  /** Folder under bpffs. Names in bpffs can't have dots. */
  readonly pins: string;
  readonly maps: string;
  readonly links: string;
  /** Socket filter for `iptables -m bpf --object-pinned` (own egress). */
  readonly output: string;
  readonly past: string;
  readonly answer: string;
  /** Symbolic links whose targets are words: the only way to keep a word in bpffs. */
  readonly abi: string;
  readonly policy: string;
}

export function instancePaths(name: string, pinDir: string, runDir: string = defaults.runDir): InstancePaths {
  const run = join(runDir, name);
  const pins = join(pinDir, name);
  return {
    run,
    lock: join(run, "lock"),
    record: join(run, "instance.json"),
    socket: join(run, "control.sock"),
    journal: join(run, "learned.jsonl"),
    pins,
    maps: join(pins, "maps"),
    links: join(pins, "links"),
    output: join(pins, "output"),
    past: join(pins, "past"),
    answer: join(pins, "answer"),
    abi: join(pins, "abi"),
    policy: join(pins, "policy"),
  };
}

/** Root of the installed package: the same from src/edge and from dist/edge. */
export const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
export const objectPath = join(packageRoot, "build", "l7egg.bpf.o");
export const iptablesScript = join(packageRoot, "scripts", "iptables-setup.sh");
