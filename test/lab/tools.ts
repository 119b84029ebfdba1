/** Real programs as a client runs them, with what came out of it in one word. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prefix } from "./cleanup.js";
import { type Client } from "./lab.js";
import { type Output } from "./process.js";

export interface CurlOptions {
  /** Address family; default: what the name has, IPv6 first. */
  readonly family?: 4 | 6;
  readonly tls?: "1.2" | "1.3";
  /** Connect to this address, whatever DNS says (no query is sent): SNI and Host stay those of the URL. */
  readonly address?: string;
  /** Seconds, default 3. */
  readonly seconds?: number;
  readonly http1?: boolean;
  readonly args?: readonly string[];
}

export interface CurlResult {
  /** `ok`, or why not, from curl's exit code. */
  readonly outcome: "ok" | "unresolved" | "refused" | "reset" | "timeout" | "tls" | "other";
  readonly body: string;
  readonly exit: number | null;
  readonly error: string;
}

/** GET `url` as curl does. */
export async function curl(client: Client, url: string, options: CurlOptions = {}): Promise<CurlResult> {
  const seconds = options.seconds ?? 3;
  const argv = [
    "curl",
    "-sS",
    "--cacert",
    client.keys.ca,
    "--connect-timeout",
    String(seconds),
    "--max-time",
    String(seconds + 1),
  ];
  if (options.family) argv.push(`-${options.family}`);
  if (options.tls) argv.push(`--tlsv${options.tls}`, "--tls-max", options.tls);
  if (options.http1) argv.push("--http1.1");
  if (options.address !== undefined) {
    const { hostname, port, protocol } = new URL(url);
    const address = options.address.includes(":") ? `[${options.address}]` : options.address;
    argv.push("--resolve", `${hostname}:${port || (protocol === "https:" ? "443" : "80")}:${address}`);
  }
  const out = await client.ns.run([...argv, ...(options.args ?? []), url], { timeoutMs: (seconds + 3) * 1_000 });
  return { outcome: curlOutcome(out), body: out.stdout, exit: out.code, error: out.stderr.trim() };
}

function curlOutcome(out: Output): CurlResult["outcome"] {
  // curl(1), EXIT CODES.
  switch (out.code) {
    case 0:
      return "ok";
    case 6:
      return "unresolved";
    case 7:
      return /timed out/i.test(out.stderr) ? "timeout" : "refused";
    case 28:
      return /resolving/i.test(out.stderr) ? "unresolved" : "timeout";
    case 35:
      return /reset/i.test(out.stderr) ? "reset" : "tls";
    case 52:
    case 56:
      return "reset";
    default:
      return "other";
  }
}

export interface DigResult {
  /** NOERROR, REFUSED, NXDOMAIN …; "" if no answer came. */
  readonly status: string;
  readonly answers: readonly string[];
  readonly text: string;
}

/** dig; `server` default: the client's resolver. */
export async function dig(
  client: Client,
  name: string,
  options: { readonly type?: string; readonly server?: string; readonly tcp?: boolean; readonly seconds?: number } = {},
): Promise<DigResult> {
  const argv = [
    "dig",
    `@${options.server ?? client.resolver}`,
    "+tries=1",
    `+timeout=${options.seconds ?? 2}`,
    "+noall",
    "+comments",
    "+answer",
  ];
  if (options.tcp) argv.push("+tcp");
  const out = await client.ns.run([...argv, name, options.type ?? "A"], { timeoutMs: 8_000 });
  const answers = out.stdout
    .split("\n")
    .flatMap((line) => /^\S+\s+\d+\s+IN\s+(?:A|AAAA)\s+(\S+)$/.exec(line)?.[1] ?? []);
  return { status: /status: (\w+)/.exec(out.stdout)?.[1] ?? "", answers, text: out.stdout };
}

export interface SClientResult {
  /** `ok`: the handshake was completed with the lab's certificate. */
  readonly outcome: "ok" | "refused" | "reset" | "timeout" | "other";
  readonly text: string;
}

/** openssl s_client to `address`; `sni` undefined: no server name at all. */
export async function sClient(
  client: Client,
  address: string,
  options: {
    readonly sni?: string;
    readonly port?: number;
    readonly tls?: "1.2" | "1.3";
    readonly seconds?: number;
    readonly args?: readonly string[];
  } = {},
): Promise<SClientResult> {
  const host = address.includes(":") ? `[${address}]` : address;
  const argv = [
    "openssl",
    "s_client",
    "-connect",
    `${host}:${options.port ?? 443}`,
    "-CAfile",
    client.keys.ca,
    "-verify_return_error",
    "-brief",
  ];
  argv.push(...(options.sni === undefined ? ["-noservername"] : ["-servername", options.sni]));
  if (options.tls) argv.push(options.tls === "1.2" ? "-tls1_2" : "-tls1_3");
  const out = await client.ns.run([...argv, ...(options.args ?? [])], {
    timeoutMs: (options.seconds ?? 3) * 1_000,
    input: "Q\n",
  });
  const text = out.stderr + out.stdout;
  if (/CONNECTION ESTABLISHED/.test(text)) return { outcome: "ok", text };
  if (out.timedOut) return { outcome: "timeout", text };
  if (/refused/i.test(text)) return { outcome: "refused", text };
  if (/reset|unexpected eof|errno=104/i.test(text)) return { outcome: "reset", text };
  return { outcome: "other", text };
}

export interface Http3Result {
  /** The page came. */
  readonly ok: boolean;
  /** Of the page. */
  readonly body: string;
  readonly text: string;
}

/** ngtcp2's client: GET `path` from `address` under this name, over QUIC and nothing else. It takes both from DNS, so it has a hosts file of its own. */
export async function http3Get(
  client: Pick<Client, "ns">,
  name: string,
  address: string,
  options: { readonly path?: string; readonly seconds?: number; readonly args?: readonly string[] } = {},
): Promise<Http3Result> {
  const { path = "page", seconds = 2, args = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), prefix));
  writeFileSync(join(folder, "hosts"), `${address} ${name}\n`);
  const argv = [
    "gtlsclient",
    "--quiet",
    "--exit-on-all-streams-close",
    "--no-pmtud",
    `--handshake-timeout=${seconds}s`,
  ];
  argv.push(`--timeout=${seconds}s`, `--download=${folder}`, ...args, name, "443", `https://${name}/${path}`);
  const script = 'mount --bind "$1/hosts" "$(readlink -m /etc/hosts)"; shift; exec "$@"';
  try {
    const out = await client.ns.run(["unshare", "--mount", "sh", "-ec", script, "sh", folder, ...argv], {
      timeoutMs: (seconds + 3) * 1_000,
    });
    const file = join(folder, path);
    const body = existsSync(file) ? readFileSync(file, "utf8") : "";
    return { ok: body.length > 0, body, text: `${out.code} ${out.stdout}${out.stderr}` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** ping once; true: an answer came. */
export async function ping(client: Client, target: string): Promise<boolean> {
  const out = await client.ns.run(["ping", "-n", "-c", "1", "-W", "1", target], { timeoutMs: 6_000 });
  return out.code === 0;
}

/** What ssh and git need to log in with the run's key and nothing of the user's own. */
export function sshOptions(client: Client): string[] {
  const options = [
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "BatchMode=yes",
    "ConnectTimeout=3",
  ];
  return ["-F", "/dev/null", "-i", client.keys.sshKey, ...options.flatMap((option) => ["-o", option])];
}

/** `ssh root@host true`. */
export async function ssh(
  client: Client,
  host: string,
  options: { readonly family?: 4 | 6; readonly port?: number } = {},
): Promise<Output> {
  const argv = [
    "ssh",
    ...sshOptions(client),
    ...(options.family ? [`-${options.family}`] : []),
    "-p",
    String(options.port ?? 22),
  ];
  return client.ns.run([...argv, `root@${host}`, "echo logged in"], { timeoutMs: 8_000 });
}

/** `git ls-remote` over ssh. */
export async function gitLsRemote(client: Client, host: string, repository: string): Promise<Output> {
  const env = {
    GIT_SSH_COMMAND: ["ssh", ...sshOptions(client)].join(" "),
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_SYSTEM: "/dev/null",
  };
  return client.ns.run(["git", "ls-remote", `ssh://root@${host}${repository}`], { timeoutMs: 10_000, env });
}

/** iperf3 to `address` for `seconds`; bits a second that arrived. */
export async function iperf(
  client: Client,
  address: string,
  seconds: number,
  args: readonly string[] = [],
): Promise<number> {
  const argv = ["iperf3", "-J", "-c", address, "-t", String(seconds), "--connect-timeout", "2000", ...args];
  const out = await client.ns.run(argv, { timeoutMs: (seconds + 8) * 1_000 });
  const report = JSON.parse(out.stdout) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  if (report.error !== undefined || !report.end?.sum_received) throw new Error(`iperf3: ${report.error ?? out.stdout}`);
  return report.end.sum_received.bits_per_second;
}
