/** `l7egg run`, as people start it, and nginx in the same place. */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit, prefix } from "../test/lab/cleanup.js";
import { until, type Daemon } from "../test/lab/process.js";
import { lanInterface, server, wanInterface, type BenchLab } from "./lab.js";
import { root } from "./load.js";

export interface Gateway {
  readonly instance: string;
  readonly startedMs: number;
  /** Its process, for a profiler. */
  readonly daemon: Daemon;
  /** What it has logged so far. */
  log(): string;
  /** SIGTERM; it takes back what it has set up. */
  stop(): Promise<void>;
}

let serial = 0;

/**
 * Its log goes to a file, as it would under a service manager: a terminal's speed is not what is measured.
 * `args` may be longer than a command line usually may (100,000 CIDRs): the kernel allows a quarter of the stack's limit.
 */
export async function startGateway(lab: BenchLab, args: readonly string[]): Promise<Gateway> {
  const instance = `${prefix}b${serial++}`;
  const folder = makeFolder(instance);
  const logFile = join(folder, "log");
  const argFile = join(folder, "args");
  writeFileSync(argFile, args.join("\n"));
  closeSync(openSync(logFile, "w"));
  const base = ["run", "--lan", lanInterface, "--eface", wanInterface, "--name", instance, "--resolver", server.base];
  // Each line of the file is one argument.
  const script = `ulimit -s 32768; IFS='\n'; set -f; exec "$@" $(cat ${argFile}) > ${logFile} 2>&1`;
  const profile = process.env["L7EGG_BENCH_CPU_PROF"];
  const node =
    profile === undefined ? [process.execPath] : [process.execPath, "--cpu-prof", `--cpu-prof-dir=${profile}`];
  const argv = ["sh", "-c", script, "sh", ...node, join(root, "dist/cli/main.js"), ...base];
  const begun = performance.now();
  const daemon = lab.router.startBare(argv);
  const log = () => readFileSync(logFile, "utf8");
  await until(
    () => `l7egg run to be ready:\n${log()}`,
    () => daemon.ended || /\bready\b/.test(log()),
    60_000,
    50,
  );
  if (daemon.ended) throw new Error(`l7egg run ended: ${log().split("\n")[0]!}`);
  return {
    instance,
    startedMs: performance.now() - begun,
    daemon,
    log,
    stop: async () => {
      await daemon.stop(10_000);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * nginx as an SNI proxy with the same rule (*.bench.example) in front of the same server. Two processes on two CPUs, no log, listening
 * sockets of their own, upstream addresses enough for its ports. Clients connect to it; it connects to the server.
 */
export async function startNginxProxy(lab: BenchLab, workers: number): Promise<Daemon> {
  const folder = makeFolder(`nginx${serial++}`);
  const [head, tail] = [server.base.replace(/\d+$/, ""), Number(/\d+$/.exec(server.base)![0])];
  const upstream = Array.from({ length: server.count }, (_, i) => `server ${head}${tail + i}:443;`).join(" ");
  const config = join(folder, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; worker_processes ${workers}; worker_rlimit_nofile 65536; user root;
pid ${folder}/pid; error_log ${folder}/error.log crit;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events { worker_connections 16384; multi_accept on; }
stream {
  access_log off;
  upstream server { ${upstream} }
  map $ssl_preread_server_name $way { hostnames; *.bench.example server; default 127.0.0.1:1; }
  server {
    listen 443 reuseport backlog=16384;
    ssl_preread on; preread_timeout 5s; proxy_connect_timeout 5s; tcp_nodelay on;
    proxy_pass $way;
  }
}
`,
  );
  const daemon = lab.router.start(["nginx", "-p", folder, "-c", config, "-e", `${folder}/error.log`]);
  const listening = async () => (await lab.router.run(["ss", "-Hltn", "sport = :443"])).stdout.includes(":443");
  await until(
    () => `nginx to listen: ${daemon.stderr}`,
    async () => daemon.ended || (await listening()),
  );
  if (daemon.ended) throw new Error(`nginx ended: ${daemon.stderr}`);
  return daemon;
}

function makeFolder(label: string): string {
  const folder = mkdtempSync(join(tmpdir(), `${prefix}${label}-`));
  mkdirSync(folder, { recursive: true });
  atExit(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
