/** The commands of the README's "Use it", as they stand there, with the lab's names of the interfaces. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { originalProgram, program } from "../lab/gateway.js";
import { buildLab, type Lab } from "../lab/lab.js";
import type { Namespace } from "../lab/namespace.js";
import { until, type Daemon, type Output } from "../lab/process.js";

const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
const useIt = readme.slice(readme.indexOf("## Use it"), readme.indexOf("## Three degrees"));

/** All commands that begin so, as words: as a shell would split these (quotes, continued lines, comments). */
function commands(begin: string): string[][] {
  return [...useIt.matchAll(/```sh\n([^]*?)```/g)]
    .flatMap(([, block]) => (block as string).replaceAll("\\\n", " ").split("\n"))
    .map((line) => line.replace(/ +#.*/, ""))
    .filter((line) => line.startsWith(begin))
    .map((line) => [...line.slice(begin.length).matchAll(/(?:[^\s"']+|'[^']*'|"[^"]*")+/g)].map(([word]) => word.replaceAll(/["']/g, ""))); // prettier-ignore
}

/** As `su` without a dash leaves it on Debian: iptables and tc are not in it. */
const plainPath = ["env", "PATH=/usr/local/bin:/usr/bin:/bin"];

async function ready(ns: Namespace, argv: readonly string[], folder = process.cwd()): Promise<Daemon> {
  // /run and bpffs of its own: these commands use the instance "default", which this machine may have, too.
  const alone = 'mount -t tmpfs tmpfs /run && mount -t bpf bpf /sys/fs/bpf && cd "$0" && exec "$@"';
  const daemon = ns.startBare(["unshare", "--mount", "sh", "-ec", alone, folder, ...plainPath, ...argv]);
  await until(
    () => `ready: ${daemon.stdout}${daemon.stderr}`,
    () => /\]: ready$/m.test(daemon.stdout) || (daemon.ended && "ended"),
    20_000,
  );
  assert.ok(!daemon.ended, daemon.stdout + daemon.stderr);
  return daemon;
}

/** A command of the program in the mount namespace of the gateway. */
function beside(ns: Namespace, { pid }: Daemon, words: readonly string[], folder = process.cwd()): Promise<Output> {
  return ns.runBare(["nsenter", `--mount=/proc/${pid}/ns/mnt`, `--wd=${folder}`, ...plainPath, ...program(), ...words]);
}

/** The lab's names for the README's interfaces. */
const interfaces: Readonly<Record<string, string>> = { eth0: "wan0", eth1: "lan0" };

describe("README: on a router", () => {
  let lab: Lab;
  let daemon: Daemon;
  before(async () => {
    lab = await buildLab({ masquerade: false });
    const [run] = commands("node dist/cli/main.js ");
    assert.ok(run);
    daemon = await ready(lab.router, [...program(), ...run.map((word) => interfaces[word] ?? word)]);
  });
  after(() => lab.close());

  const l7egg = (words: readonly string[]) => beside(lab.router, daemon, words);

  it("the gateway starts, with its rules and with NAT", async () => {
    assert.match(daemon.stdout, /governed: what comes in by lan0 and would leave by wan0; 4 rules, verify both/);
    assert.doesNotMatch(daemon.stdout, /warning/, "followed to the letter, there is nothing to warn of");
    assert.match(await lab.router.must(["iptables-save", "-t", "nat"]), /-o wan0 -j MASQUERADE/);
  });

  it("status, explain and doctor answer; clean refuses while it runs", async () => {
    const [status, explain, doctor, clean] = commands("l7egg ");
    assert.ok(status && explain && doctor && clean);
    const shown = await l7egg(status);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /^governed: LAN lan0 -> wan0;/m);
    const why = await l7egg(explain);
    assert.equal(why.code, 0, why.stderr);
    assert.match(why.stdout, /--domain \*\.debian\.org/);
    assert.equal((await l7egg(doctor)).code, 0);
    const refused = await l7egg(clean);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /is running \(pid \d+\)/);
    assert.equal((await daemon.stop(8_000)).code, 0, daemon.stderr);
  });
});

describe("README: with a policy file", () => {
  let lab: Lab;
  const folder = mkdtempSync(join(tmpdir(), "l7egg-readme-"));
  before(async () => {
    copyFileSync(
      fileURLToPath(new URL("../../docs/policy.example.yaml", import.meta.url)),
      join(folder, "policy.yaml"),
    );
    lab = await buildLab({ masquerade: false });
  });
  after(() => {
    lab.close();
    rmSync(folder, { recursive: true });
  });

  it("check, run and reload, as they stand there", async () => {
    const [check, run, reload] = commands("l7egg ").slice(-3);
    assert.deepEqual([check?.[0], run?.[0], reload?.[0]], ["check", "run", "reload"]);
    assert.ok(check && run && reload);
    const daemon = await ready(lab.router, [...program(), ...run.map((word) => interfaces[word] ?? word)], folder);
    const good = await beside(lab.router, daemon, check, folder);
    assert.equal(good.code, 0, good.stderr);
    const done = await beside(lab.router, daemon, reload, folder);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /policy\.yaml is in force, the same as before/);
    assert.equal((await daemon.stop(8_000)).code, 0, daemon.stderr);
  });
});

describe("README: the original's command line", () => {
  let lab: Lab;
  before(async () => {
    lab = await buildLab({ masquerade: false });
  });
  after(() => lab.close());

  it("starts on this machine's own egress", async () => {
    const [words] = commands("l7egg-cli ");
    assert.ok(words);
    const argv = [...originalProgram(), ...words.map((word) => word.replace("enp0s3", "eth0"))];
    const daemon = await ready(lab.client.ns, argv);
    assert.match(daemon.stdout, /governed: this box's own egress that would leave by eth0; 3 rules/);
    assert.doesNotMatch(daemon.stdout, /warning/);
    assert.equal((await daemon.stop(8_000)).code, 0, daemon.stderr);
  });
});
