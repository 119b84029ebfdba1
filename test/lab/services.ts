/** Configuration of the real servers, and a start that returns when they answer. All files lie in the lab's own folder. */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { isBound, type Namespace, type Overlay } from "./namespace.js";
import { certificateNames, http3, httpPorts, otherResolver, resolver, server, tlsPorts, zoneFile } from "./plan.js";
import { until, type Daemon } from "./process.js";

/** Keys and certificates of one run. */
export interface Keys {
  /** Certificate authority that the clients trust (PEM file). */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly sshHostKey: string;
  /** Private key that may log in; its public half is `${sshKey}.pub`. */
  readonly sshKey: string;
}

/** An ECDSA authority, one server certificate with all names, ssh keys. About 100 ms. */
export function makeKeys(folder: string): Keys {
  const at = (name: string) => join(folder, name);
  const addresses = [server(10), server(20)].flatMap(({ v4, v6 }) => [`IP:${v4}`, `IP:${v6}`]);
  const san = [...certificateNames().map((name) => `DNS:${name}`), ...addresses].join(",");
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  tool([
    "openssl",
    "req",
    "-x509",
    ...ec,
    "-keyout",
    at("ca.key"),
    "-out",
    at("ca.pem"),
    "-days",
    "2",
    "-subj",
    "/CN=l7egg lab CA",
  ]);
  tool(["openssl", "req", ...ec, "-keyout", at("server.key"), "-out", at("server.csr"), "-subj", "/CN=lab"]);
  writeFileSync(at("san.cnf"), `subjectAltName=${san}\nbasicConstraints=CA:FALSE\n`);
  tool([
    ...[
      "openssl",
      "x509",
      "-req",
      "-in",
      at("server.csr"),
      "-CA",
      at("ca.pem"),
      "-CAkey",
      at("ca.key"),
      "-CAcreateserial",
    ],
    ...["-days", "2", "-extfile", at("san.cnf"), "-out", at("server.pem")],
  ]);
  for (const name of ["host_ed25519", "user_ed25519"]) {
    tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", at(name)]);
  }
  return {
    ca: at("ca.pem"),
    certificate: at("server.pem"),
    key: at("server.key"),
    sshHostKey: at("host_ed25519"),
    sshKey: at("user_ed25519"),
  };
}

/** A bare repository with one commit, `repo.git` in `folder`. */
export function makeRepository(folder: string): string {
  const path = join(folder, "repo.git");
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_SYSTEM: "/dev/null",
    GIT_AUTHOR_NAME: "lab",
    GIT_AUTHOR_EMAIL: "lab@allowed.example",
    GIT_COMMITTER_NAME: "lab",
    GIT_COMMITTER_EMAIL: "lab@allowed.example",
  };
  tool(["git", "init", "-q", "--bare", "-b", "main", path], { env });
  const tree = tool(["git", "--git-dir", path, "mktree"], { env, input: "" }).trim();
  const commit = tool(["git", "--git-dir", path, "commit-tree", tree, "-m", "first"], { env }).trim();
  tool(["git", "--git-dir", path, "update-ref", "refs/heads/main", commit], { env });
  return path;
}

/** nginx in the foreground, one process: HTTP and TLS 1.2/1.3 on all addresses; answers with the name that was asked for. */
export function startNginx(internet: Namespace, folder: string, keys: Keys): Daemon {
  const home = join(folder, "nginx");
  mkdirSync(home, { recursive: true });
  const listen = [
    ...httpPorts.map((port) => `listen ${port}; listen [::]:${port};`),
    ...tlsPorts.map((port) => `listen ${port} ssl; listen [::]:${port} ssl;`),
  ].join("\n    ");
  writeFileSync(
    join(home, "nginx.conf"),
    `daemon off; master_process off; pid ${home}/pid; error_log ${home}/error.log;
events { worker_connections 8192; }
http {
  access_log off;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${home}/${kind};`).join(" ")}
  ssl_certificate ${keys.certificate}; ssl_certificate_key ${keys.key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;
  keepalive_timeout 60s; default_type text/plain;
  # Hold a connection open and answer when the client asks again: for flows that must survive.
  server {
    ${listen}
    location / { return 200 "host=$host sni=$ssl_server_name address=$server_addr tls=$ssl_protocol\\n"; }
  }
}
`,
  );
  return internet.start([
    ownCopy("/usr/sbin/nginx", home),
    "-p",
    home,
    "-c",
    join(home, "nginx.conf"),
    "-e",
    `${home}/error.log`,
  ]);
}

/** ngtcp2's server on each address of `http3`, HTTP/3 over QUIC versions 1 and 2: one file, `page`, of a line, and `large`, of a megabyte. */
export function startHttp3(internet: Namespace, folder: string, keys: Keys): Daemon[] {
  const home = join(folder, "http3");
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "page"), "a page over HTTP/3\n");
  writeFileSync(join(home, "large"), Buffer.alloc(2 ** 20, 0x61));
  const program = ownCopy("/usr/sbin/gtlsserver", home);
  return Object.entries(http3).flatMap(([kind, at]) =>
    [at.v4, at.v6].map((address) =>
      internet.start([
        program,
        ...["--quiet", "--no-pmtud", "--htdocs", home],
        ...(kind === "retry" ? ["--validate-addr"] : []),
        ...[address, "443", keys.key, keys.certificate],
      ]),
    ),
  );
}

/** unbound with the whole zone, on the trusted and on the other resolver's addresses. */
export function startUnbound(internet: Namespace, folder: string): Daemon {
  writeFileSync(join(folder, "root.zone"), zoneFile());
  const listen = [resolver, otherResolver].flatMap((r) => [r.v4, r.v6]).map((a) => `  interface: ${a}`);
  writeFileSync(
    join(folder, "unbound.conf"),
    `server:
${listen.join("\n")}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  username: ""
  chroot: ""
  directory: "${folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  num-threads: 1
  so-rcvbuf: 4m
  so-sndbuf: 4m
  outgoing-range: 1024
  num-queries-per-thread: 4096
  incoming-num-tcp: 256
  module-config: "iterator"
  qname-minimisation: no
  local-zone: "example." nodefault
auth-zone:
  name: "."
  zonefile: "${folder}/root.zone"
  for-upstream: yes
  for-downstream: no
`,
  );
  return internet.start([ownCopy("/usr/sbin/unbound", folder), "-c", join(folder, "unbound.conf")]);
}

/**
 * A server's program in the lab's folder. AppArmor knows programs by their path: Debian's and Ubuntu's profile for /usr/sbin/unbound
 * forbids it to read any configuration outside /etc/unbound, and others may follow. A copy has no profile, and the machine's own keeps its one.
 */
function ownCopy(program: string, folder: string): string {
  const copy = join(folder, basename(program));
  copyFileSync(program, copy);
  chmodSync(copy, 0o755);
  return copy;
}

export interface RouterServiceOptions {
  /** Interfaces to serve, e.g. lan0. */
  readonly interfaces: readonly string[];
  /** Answer DNS by asking the trusted resolver. */
  readonly dns: boolean;
  /** First and last address to lease. */
  readonly dhcp?: readonly [string, string];
}

/** dnsmasq on the router: forwards DNS, leases addresses. */
export function startDnsmasq(router: Namespace, folder: string, options: RouterServiceOptions): Daemon {
  const argv = [
    ownCopy("/usr/sbin/dnsmasq", folder),
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--user=root",
    "--group=root",
  ];
  argv.push("--pid-file", "--bind-interfaces", ...options.interfaces.map((name) => `--interface=${name}`));
  argv.push(options.dns ? `--server=${resolver.v4}` : "--port=0", "--cache-size=0", "--dns-forward-max=4096");
  if (options.dhcp) {
    argv.push(
      `--dhcp-range=${options.dhcp[0]},${options.dhcp[1]},1h`,
      `--dhcp-leasefile=${folder}/leases`,
      "--dhcp-authoritative",
      "--no-ping",
    );
  }
  return router.start(argv);
}

/** sshd on port 22 of every address; root logs in with the run's key. Needs `sshOverlay`. */
export function startSshd(where: Namespace, folder: string, keys: Keys): Daemon {
  const config = join(folder, "sshd_config");
  if (!existsSync(config)) {
    writeFileSync(
      config,
      `Port 22
ListenAddress 0.0.0.0
ListenAddress ::
HostKey ${keys.sshHostKey}
AuthorizedKeysFile ${keys.sshKey}.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
PidFile none
UseDNS no
MaxStartups 100
`,
    );
    chmodSync(`${keys.sshKey}.pub`, 0o644);
  }
  return where.start(["/bin/sh", "-c", `mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f ${config}`]);
}

/** What sshd must see: a root who is not locked (as it is on Ubuntu) and whose shell reads no start-up files. */
export function sshOverlay(): Overlay {
  const passwd = readFileSync("/etc/passwd", "utf8").replace(/^root:.*$/m, "root:x:0:0:root:/root:/bin/sh");
  const withSshd = /^sshd:/m.test(passwd) ? passwd : `${passwd}sshd:x:74:65534::/run/sshd:/usr/sbin/nologin\n`;
  return { "/etc/passwd": withSshd, "/etc/shadow": "root:*:19000:0:99999:7:::\n" };
}

/** Wait until all of these are bound; says what is missing, with the servers' own words. */
export async function untilBound(
  inside: Daemon,
  ports: readonly (readonly ["tcp" | "udp", number])[],
  daemons: readonly Daemon[],
): Promise<void> {
  await until(
    () => {
      const missing = ports.filter(([proto, port]) => !isBound(inside.pid, proto, port)).map((p) => p.join("/"));
      const words = daemons.map((d) => `${d.what.slice(0, 300)}${d.ended ? " (ended)" : ""}: ${d.stderr.slice(-600)}`);
      return `bound: ${missing.join(", ")}\n${words.join("\n")}`;
    },
    () => ports.every(([proto, port]) => isBound(inside.pid, proto, port)),
    15_000,
  );
}

function tool(argv: readonly string[], options: { env?: NodeJS.ProcessEnv; input?: string } = {}): string {
  const [command, ...args] = argv;
  const out = spawnSync(command as string, args, { encoding: "utf8", ...options });
  if (out.status !== 0)
    throw new Error(`${argv.join(" ")}: exit ${out.status}: ${out.error?.message ?? ""}${out.stderr}`);
  return out.stdout;
}
