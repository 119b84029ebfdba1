/** Network namespaces and what is set up in them with iproute2. Programs enter with nsenter: `ip netns exec` would remount /sys and hide bpffs. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { atExit, killInside, prefix, sweep } from "./cleanup.js";
import { run, start, until, type Daemon, type Output, type RunOptions } from "./process.js";

let serial = 0;
let swept = false;

/** Files that a namespace's programs see instead of the machine's: path → text. */
export type Overlay = Readonly<Record<string, string>>;

export class Namespace {
  readonly name: string;
  readonly path: string;
  #holder: Daemon | undefined;
  readonly #remove: () => void;

  /** Make a namespace with a unique name that ends in `label`. Loopback is up. Removed with the process or by `close()`. */
  constructor(readonly label: string) {
    if (!swept) sweep();
    swept = true;
    this.name = `${prefix}${serial++}-${label}`;
    this.path = `/run/netns/${this.name}`;
    must(["ip", "netns", "add", this.name]);
    this.#remove = atExit(() => {
      killInside(this.name);
      spawnSync("ip", ["netns", "del", this.name]);
    });
    // No duplicate address detection: a link-local address would be tentative, and neighbour discovery silent, for a second.
    this.sysctl({
      "net/ipv6/conf/default/accept_dad": 0,
      "net/ipv6/conf/all/accept_dad": 0,
      "net/ipv6/conf/default/dad_transmits": 0,
    });
    this.ip(["link set lo up"]);
  }

  /** iproute2 commands, one a line, in one process. Throws with its message. */
  ip(lines: readonly string[]): void {
    must(["ip", "-n", this.name, "-batch", "-"], lines.join("\n") + "\n");
  }

  /** Write to /proc/sys: `{ "net/ipv4/ip_forward": 1 }`. */
  sysctl(values: Readonly<Record<string, string | number>>): void {
    const script = Object.entries(values).map(([key, value]) => `echo ${value} > /proc/sys/${key}`);
    must(["nsenter", `--net=${this.path}`, "sh", "-ec", script.join("\n")]);
  }

  /**
   * From here on, programs run in a mount namespace of their own where these files stand over the machine's (resolv.conf, nsswitch.conf …),
   * and where each of `tmpfs` is empty. `bare` programs are not affected.
   */
  async overlay(folder: string, files: Overlay, tmpfs: readonly string[] = []): Promise<void> {
    const target = join(folder, this.label);
    mkdirSync(target, { recursive: true });
    // First, so that a resolv.conf that is a link into /run is found there afterwards.
    const script = tmpfs.map((path) => `mount -t tmpfs tmpfs ${path}`);
    for (const [path, text] of Object.entries(files)) {
      const copy = join(target, path.replaceAll("/", "_"));
      writeFileSync(copy, text, { mode: path.endsWith("shadow") ? 0o600 : 0o644 });
      // readlink -m: the file may be a link into /run, also a dangling one. Only what exists can be mounted over.
      script.push(
        `t=$(readlink -m ${path}); [ -e "$t" ] || { mkdir -p "$(dirname "$t")"; : > "$t"; }; mount --bind ${copy} "$t"`,
      );
    }
    script.push(`: > ${join(target, "ready")}`, "exec sleep infinity");
    this.#holder = start(["nsenter", `--net=${this.path}`, "unshare", "--mount", "sh", "-ec", script.join("\n")]);
    const holder = this.#holder;
    await until(
      () => `the file overlay of ${this.label}: ${holder.stderr}`,
      () => existsSync(join(target, "ready")),
    );
  }

  /** `argv` with what enters the namespace in front of it. */
  enter(argv: readonly string[], bare = false): string[] {
    const mount = this.#holder && !bare ? [`--mount=/proc/${this.#holder.pid}/ns/mnt`, `--wd=${process.cwd()}`] : [];
    return ["nsenter", `--net=${this.path}`, ...mount, "--", ...argv];
  }

  run(argv: readonly string[], options?: RunOptions): Promise<Output> {
    return run(this.enter(argv), options);
  }

  start(argv: readonly string[], options?: RunOptions, stdin?: "ignore" | "pipe" | "ipc"): Daemon {
    return start(this.enter(argv), options, stdin);
  }

  /** In the machine's own mount namespace: what pins under /sys/fs/bpf must run so. */
  runBare(argv: readonly string[], options?: RunOptions): Promise<Output> {
    return run(this.enter(argv, true), options);
  }

  startBare(argv: readonly string[], options?: RunOptions): Daemon {
    return start(this.enter(argv, true), options);
  }

  /** Run to the end; throws with its output if it fails. */
  async must(argv: readonly string[], options?: RunOptions): Promise<string> {
    const out = await this.run(argv, options);
    if (out.code !== 0)
      throw new Error(`${argv.join(" ")} in ${this.label}: exit ${out.code}: ${out.stderr}${out.stdout}`);
    return out.stdout;
  }

  /** Everything in it is killed, then it goes. */
  close(): void {
    this.#remove();
  }
}

/** A veth pair between two namespaces. */
export function connect(a: Namespace, aName: string, b: Namespace, bName: string): void {
  must(["ip", "link", "add", aName, "netns", a.name, "type", "veth", "peer", "name", bName, "netns", b.name]);
}

/** Is somebody bound there? Reads the socket table of the network namespace that `pid` lives in. */
export function isBound(pid: number, proto: "tcp" | "udp", port: number): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  // include/net/tcp_states.h: 0A is LISTEN; an unconnected UDP socket shows 07.
  const state = proto === "tcp" ? "0A" : "07";
  for (const table of [proto, `${proto}6`]) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/net/${table}`, "utf8");
    } catch {
      continue;
    }
    for (const line of text.split("\n")) {
      const [, local, , st] = line.trim().split(/\s+/);
      if (st === state && local?.endsWith(suffix)) return true;
    }
  }
  return false;
}

function must(argv: readonly string[], input?: string): void {
  const [command, ...args] = argv;
  const out = spawnSync(command as string, args, {
    input,
    encoding: "utf8",
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
  });
  if (out.status !== 0) {
    throw new Error(
      `${argv.join(" ")}: exit ${out.status}: ${out.error?.message ?? ""}${out.stderr}${input ? `\n${input}` : ""}`,
    );
  }
}
