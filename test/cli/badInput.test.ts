/**
 * Whatever a user can get wrong, through the real programs on a real router: one line that says what, where and what would be right, exit
 * code 2, and nothing on the machine has changed.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { start, withRouter } from "../edge/life.js";
import { originalProgram, program } from "../lab/gateway.js";
import type { Output } from "../lab/process.js";
import { snapshot } from "../lab/snapshot.js";
import { runAsNobody } from "../nobody.js";
import { without } from "./without.js";

const script = fileURLToPath(new URL("../../scripts/iptables-setup.sh", import.meta.url));
const long = "a".repeat(64);

/** What is typed behind `--eface wan0`, and all that must be answered. */
const rules: readonly (readonly [typed: string[], answer: string])[] = [
  [["--cidr", "10.0.0.1/33"], "--cidr 10.0.0.1/33: prefix length 33 is out of range; IPv4 has 0 to 32"],
  [["--cidr", "fe80::/129"], "--cidr fe80::/129: prefix length 129 is out of range; IPv6 has 0 to 128"],
  [["--cidr", "10.0.2.9/24"], "--cidr 10.0.2.9/24: host bits are set; the network is 10.0.2.0/24"],
  [["--cidr", "2001:db8::1/32"], "--cidr 2001:db8::1/32: host bits are set; the network is 2001:db8::/32"],
  [["--cidr", "x.io"], "--cidr x.io: not an address; if x.io is a name, use --domain for it"],
  [["--cn", "a..io"], "--cn a..io: an empty label: a dot too many, or nothing but a dot"],
  [["--cn", `${long}.io`], `--cn ${long}.io: the label ${long} has 64 bytes; at most 63`],
  [["--cn", "a b.io"], '--cn "a b.io": contains a space; one name for each flag'],
  [["--cn", "192.0.2.1"], "--cn 192.0.2.1: an address, not a name; use --cidr 192.0.2.1/32"],
  [["--cn", "2001:db8::1"], "--cn 2001:db8::1: an address, not a name; use --cidr 2001:db8::1/128"],
  [["--cn", "x.io", "--cn", "x.io"], "--cn x.io: given twice"],
  [["--cn", "x.io", "--cn", "X.IO."], "--cn X.IO.: the same as --cn x.io; keep one of them"],
  [[], "no rules at all: nothing could pass; give at least one --cidr, --cn or --domain"],
];

/** Only `l7egg run` has these flags. */
const more: typeof rules = [
  [["--domain", "a..io"], "--domain a..io: an empty label: a dot too many, or nothing but a dot"],
  [["--domain", "*.192.0.2.1"], "--domain *.192.0.2.1: the last label is a number, which no name has; for an address use --cidr"],
  [["--cn", "x.io", "--port", "tcp/65536"], "--port tcp/65536: port 65536 is out of range; ports are 1 to 65535"],
  [["--cn", "x.io", "--port", "0"], "--port 0: port 0 is out of range; ports are 1 to 65535"],
  [["--cidr", "10.0.0.0/8", "--deny-cidr", "10.0.0.0/8"], "--cidr 10.0.0.0/8: contradicts --deny-cidr 10.0.0.0/8; keep one of them"],
  [["--cn", "x.io", "--resolver", "dns.io"], "--resolver dns.io: not an address; if dns.io is a name, give the resolver's address instead"],
  [["--cn", "x.io", "--lan", "wan0"], "wan0 is --lan and --eface: traffic can't leave where it comes in"],
  [["--cn", "x.io", "--queue", "65536"], '--queue "65536": give A or A:B, each 0 to 65535, A not above B'],
]; // prettier-ignore

describe("bad input", () => {
  const at = withRouter();
  const run = (...args: string[]) => [...program(), "run", "--name", at.name, "--eface", "wan0", ...args];
  /** In the original's syntax. */
  const original = (args: readonly string[], eface = "wan0") => [
    ...originalProgram(),
    `-iface=${eface}`,
    `-eface=${eface}`,
    ...args.flatMap((word, i) => (word.startsWith("--") ? [`${word.slice(1)}=${args[i + 1] ?? ""}`] : [])),
  ];
  const rulesUp = (...args: string[]) => ["bash", script, "up", "--name", at.name, ...args];

  function refused(out: Pick<Output, "code" | "stdout" | "stderr">, answer: string): void {
    assert.deepEqual([out.stderr, out.stdout, out.code], [`${answer}\n`, "", 2]);
  }

  /** Each command is answered by its line, and the machine is as it was. */
  async function allRefused(cases: readonly (readonly [argv: readonly string[], answer: string])[]): Promise<void> {
    const clean = await snapshot(at.router, at.name);
    const left = [...cases];
    const worker = async () => {
      for (let next = left.shift(); next; next = left.shift())
        refused(await at.router.runBare(next[0], { timeoutMs: 30_000 }), next[1]);
    };
    await Promise.all([worker(), worker(), worker()]);
    assert.equal(await snapshot(at.router, at.name), clean);
  }

  it("rules: l7egg run", () =>
    allRefused([...rules, ...more].map(([typed, answer]) => [run(...typed), `l7egg: ${answer}`])));

  it("rules: l7egg-cli", () => allRefused(rules.map(([typed, answer]) => [original(typed), `l7egg-cli: ${answer}`])));

  it("interfaces that aren't there, in all three", async () => {
    const names = [...(await at.router.must(["ip", "-o", "link"])).matchAll(/^\d+: ([^:@]+)/gm)].map(
      (match) => match[1],
    );
    const there = (flag: string, program = "l7egg") =>
      `${program}: ${flag} nope0: no such interface; there are ${names.join(", ")}`;
    await allRefused([
      [run("--cn", "x.io", "--lan", "nope0"), there("--lan")],
      [run("--cn", "x.io", "--iface", "nope0"), there("--iface")],
      [run("--cn", "x.io", "--eface", "nope0"), there("--eface")],
      [original(["--cn", "x.io"], "nope0"), there("--eface", "l7egg-cli")],
    ]);
    const out = await at.router.runBare(rulesUp("--lan", "nope0", "--eface", "wan0"));
    assert.equal(out.code, 2);
    assert.match(
      out.stderr,
      /^iptables-setup: --lan nope0: there is no such interface; there are [^\n]*\bwan0\b[^\n]*\n$/,
    );
  });

  it("the original's misprint, and a flag that nobody has", () =>
    allRefused([
      [[...original(["--cn", "x.io"]), "-cm=.x.io"], "l7egg-cli: unknown flag -cm: did you mean -cn?"],
      [run("--cdir", "10.0.0.0/8"), "l7egg: unknown option '--cdir': did you mean --cidr?"],
      [rulesUp("--cidr", "10.0.0.0/8"), "iptables-setup: unknown option '--cidr' (--help lists them)"],
    ]));

  it("a kernel without what is needed", () =>
    allRefused([
      [[...without("bpf"), ...run("--cn", "x.io")], "l7egg: this kernel lacks eBPF programs on TC (CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF)"],
      [[...without("nfqueue"), ...run("--cn", "x.io")], "l7egg: this kernel lacks NFQUEUE (CONFIG_NETFILTER_NETLINK_QUEUE)"],
      [[...without("tcx"), ...run("--cn", "x.io", "--attach", "tcx")], "l7egg: --attach tcx: this kernel lacks TCX links (6.6 and later)"],
    ])); // prettier-ignore

  it("a root that may not: a container's", () => {
    const may = (set: string, argv: readonly string[]) => ["setpriv", `--bounding-set=${set}`, ...argv];
    const lacks = (what: string, program = "l7egg") =>
      `${program}: this root may not do what is needed: it lacks ${what} (a container? give it these capabilities)`;
    return allRefused([
      [may("-all", run("--domain", "x.io")), lacks("CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON")],
      [may("-net_admin", run("--domain", "x.io")), lacks("CAP_NET_ADMIN")],
      [may("-bpf,-sys_admin", original(["--cn", "x.io"])), lacks("CAP_BPF", "l7egg-cli")],
      [
        may("-net_admin", rulesUp("--lan", "lan0", "--eface", "wan0")),
        "iptables-setup: this root may not change the network: it lacks CAP_NET_ADMIN (a container? give it this capability)",
      ],
    ]);
  });

  it("no root", () => {
    const nobody = (...argv: string[]) => runAsNobody(argv, at.router.enter([], true));
    const node = (...args: string[]) => nobody("node", "--import", "tsx", ...args);
    const root = "this needs root: it loads eBPF programs and takes packets from the kernel";
    refused(node("src/cli/main.ts", "run", "--eface", "wan0", "--domain", "x.io", "--name", at.name), `l7egg: ${root}`);
    refused(node("src/cli/original.ts", "-eface=wan0", "-cn=.x.io"), `l7egg-cli: ${root}`);
    refused(
      node("src/cli/main.ts", "clean"),
      "l7egg: this needs root: it detaches eBPF programs and removes iptables rules",
    );
    refused(
      node("src/cli/main.ts", "doctor"),
      "l7egg: this needs root: the kernel's features are found by trying them",
    );
    const up = ["scripts/iptables-setup.sh", "up", "--lan", "lan0", "--eface", "wan0"];
    refused(nobody("bash", ...up), "iptables-setup: this needs root: it changes the rules of iptables");
  });

  it("no iptables", async () => {
    // A mount namespace whose /usr is an overlay without it.
    const hidden = [
      "set -e",
      "mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work",
      "mount -t overlay none -o lowerdir=/usr,upperdir=/mnt/upper,workdir=/mnt/work /usr",
      "rm -f /usr/sbin/iptables* /usr/sbin/ip6tables*",
      'exec "$@"',
    ].join("\n");
    const bare = (argv: readonly string[]) => ["unshare", "--mount", "--propagation", "private", "bash", "-c", hidden, "bash", ...argv]; // prettier-ignore
    await allRefused([
      [
        bare(run("--domain", "x.io")),
        "l7egg: iptables and ip6tables missing (Debian, Ubuntu: apt-get install iptables), or give --no-iptables and set the rules yourself",
      ],
      [
        bare(rulesUp("--lan", "lan0", "--eface", "wan0")),
        "iptables-setup: iptables is not installed (Debian, Ubuntu: apt-get install iptables)",
      ],
    ]);
  });

  it("a second instance of the name; the first goes on", async () => {
    const first = await start(at);
    const before = await snapshot(at.router, at.name);
    const answer = `l7egg: instance "${at.name}" is running already (pid ${first.pid}): stop it, or give this one another --name`;
    refused(await at.router.runBare(run("--lan", "lan1", "--queue", "7", "--domain", "x.io")), answer);
    const sameQueue = [...run("--lan", "lan1", "--domain", "x.io"), "--name", `${at.name}b`, "--eface", "lan0"];
    refused(
      await at.router.runBare(sameQueue),
      `l7egg: --queue 0 is taken: instance "${at.name}" (pid ${first.pid}) holds 0`,
    );
    assert.equal(await snapshot(at.router, at.name), before);
    assert.equal((await first.stop(8000)).code, 0, first.stderr);
  });
});
