/** Where the addon is tested: a network namespace, a bpffs, compiled fixtures and child processes. Everything is gone at exit. */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const source = JSON.stringify(new URL("../../src/native/index.ts", import.meta.url).href);
const raw = JSON.stringify(new URL("../../src/native/binding.ts", import.meta.url).href);
const prefix = "l7nat";

const undo: (() => void)[] = [];
process.on("exit", () => {
  for (const step of undo.reverse()) {
    try {
      step();
    } catch (error) {
      process.stderr.write(`clean-up: ${String(error)}\n`);
    }
  }
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A bpffs of its own; returns its folder. */
export function bpffs(): string {
  const folder = temporaryFolder();
  run("mount", "-t", "bpf", "bpf", folder);
  undo.push(() => run("umount", folder));
  return folder;
}

/** Path of the object made of test/native/NAME.bpf.c. */
export function compile(name: string): string {
  const object = join(temporaryFolder(), `${name}.o`);
  const multiarch = `/usr/include/${run("cc", "-dumpmachine").trim()}`;
  const input = join(repository, "test/native", `${name}.bpf.c`);
  run("clang", "-O2", "-g", "-target", "bpf", `-I${multiarch}`, "-c", input, "-o", object);
  return object;
}

export interface Namespace {
  readonly name: string;
  /** Runs a command inside. bpffs and the file system are those outside. */
  run(command: string, ...args: string[]): string;
}

let made = 0;

/** With loopback up. Namespaces that a killed run left behind go first. */
export function namespace(): Namespace {
  for (const stale of readdirSync("/run/netns", { withFileTypes: true })) {
    const owner = new RegExp(`^${prefix}(\\d+)x`).exec(stale.name)?.[1];
    if (owner !== undefined && !alive(Number(owner))) run("ip", "netns", "del", stale.name);
  }
  const name = `${prefix}${process.pid}x${made++}`;
  run("ip", "netns", "add", name);
  undo.push(() => run("ip", "netns", "del", name));
  run("ip", "-n", name, "link", "set", "lo", "up");
  return { name, run: (command, ...args) => run("nsenter", `--net=/run/netns/${name}`, command, ...args) };
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/**
 * Runs the body of an ES module in a child. It finds `native`, `SystemError`, `binding` (the addon without checks), `assert`, `udp`
 * (bytes of an IPv4 packet on loopback) and `sleep`.
 */
export async function child(
  body: string,
  options: { in?: Namespace; node?: string[]; env?: Record<string, string> } = {},
): Promise<Finished> {
  const code = prelude + body;
  const node = [process.execPath, "--import", "tsx", ...(options.node ?? []), "--input-type=module", "-e", code];
  const [command, ...args] = options.in ? ["nsenter", `--net=/run/netns/${options.in.name}`, ...node] : node;
  const running = spawn(command!, args, {
    cwd: repository,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  running.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  running.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const timer = setTimeout(() => running.kill("SIGKILL"), 30_000);
  return await new Promise((resolve) => {
    running.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err });
    });
  });
}

/** As `child`, and it must end with 0. Returns what it printed. */
export async function succeeds(body: string, options: Parameters<typeof child>[1] = {}): Promise<string> {
  const { code, signal, out, err } = await child(body, options);
  if (code !== 0) throw new Error(`child ended with ${code ?? signal}\n${out}${err}`);
  return out;
}

export const prelude = `
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { native, SystemError, Meta, META_STRIDE } from ${source};
import { binding } from ${raw};
const sum = (bytes) => {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
};
// IPv4 127.0.0.1 to 127.0.0.1, UDP from port 4444 without checksum (RFC 768 allows 0); the kernel fills the IPv4 checksum.
const udp = (port, payload) => {
  const packet = Buffer.alloc(28 + payload.length);
  packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(4444, 20);
  packet.writeUInt16BE(port, 22);
  packet.writeUInt16BE(8 + payload.length, 24);
  packet.set(Buffer.from(payload), 28);
  return packet;
};
`;

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
