/** Bad input: one clear line each on stderr, exit code 2. The machine is not touched: every case fails before the first change. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { originalProgram, program } from "../lab/gateway.js";

function cli(which: "main" | "original", ...args: string[]): { code: number | null; lines: string[]; stdout: string } {
  const [node, ...rest] = which === "main" ? program() : originalProgram();
  const result = spawnSync(node as string, [...rest, ...args], { encoding: "utf8" });
  return { code: result.status, lines: result.stderr.split("\n").filter((line) => line !== ""), stdout: result.stdout };
}

function refused(args: string[], ...lines: RegExp[]): void {
  const result = cli("main", "run", "--name", "argtest", ...args);
  assert.equal(result.code, 2, `${args.join(" ")}: ${result.lines.join("\n")}`);
  assert.equal(result.lines.length, lines.length, result.lines.join("\n"));
  lines.forEach((line, i) => assert.match(result.lines[i] as string, line));
  assert.equal(result.stdout, "");
  assert.ok(!existsSync("/run/l7egg/argtest"), "nothing was changed");
}

test("an unknown interface: the line lists the ones there are", () => {
  refused(
    ["--lan", "nolan0", "--eface", "noeface0", "--cn", "x.io"],
    /^l7egg: --lan nolan0: no such interface; there are .*\blo\b/,
    /^l7egg: --eface noeface0: no such interface; there are .*\blo\b/,
  );
});

test("malformed rules, all at once", () => {
  refused(
    [
      "--eface",
      "lo",
      "--cidr",
      "10.0.0.1/33,fe80::/129",
      "--cidr",
      "10.0.0.1/24",
      "--domain",
      "a..b",
      "--domain",
      "1.2.3.4",
    ],
    /--cidr 10\.0\.0\.1\/33: .*out of range/,
    /--cidr fe80::\/129: .*out of range/,
    /--cidr 10\.0\.0\.1\/24: .*10\.0\.0\.0\/24/,
    /--domain a\.\.b: /,
    /--domain 1\.2\.3\.4: /,
    /--eface lo: the loopback interface leads nowhere/,
  );
});

test("no rules at all, no eface", () => {
  refused([], /--eface is missing/, /no rules at all/);
});

test("options that contradict each other", () => {
  refused(
    ["--eface", "lo", "--lan", "lo", "--cidr", "10.0.0.0/8", "--deny-cidr", "10.0.0.0/8"],
    /contradicts/,
    /lo is --lan and --eface/,
    /--lan lo: the loopback interface/,
  );
  refused(
    ["--eface", "lo", "--cn", "x.io", "--masquerade", "--no-iptables"],
    /--masquerade is for a --lan/,
    /--masquerade and --no-iptables contradict/,
    /--eface lo: the loopback interface/,
  );
});

test("numbers and words out of range; rules are read all the same", () => {
  refused(
    [
      "--eface",
      "lo",
      "--queue",
      "5:3",
      "--mark-mask",
      "0x50",
      "--fail-mode",
      "ajar",
      "--max-flows",
      "0",
      "--cn",
      "a b",
    ],
    /--queue "5:3": give A or A:B/,
    /--mark-mask "0x50": give two neighbouring bits/,
    /--fail-mode "ajar": unknown; one of closed, open/,
    /--max-flows "0": give a number from 1/,
    /--cn a b|--cn "a b"/,
  );
  refused(["--eface", "lo", "--cn", "x.io", "--name", "Bad.Name"], /--name "Bad.Name": 1 to 15 of a-z/);
  refused(["--eface", "lo", "--cn", "x.io", "--pin-dir", "relative"], /--pin-dir "relative": give an absolute path/);
  refused(["--eface", "lo", "--cn", "x.io", "--queue", "0:70000"], /--queue "0:70000"/);
  refused(["--eface", "lo", "--cn", "x.io", "--queue", "0:100"], /--queue 0:100: at most 64 queues/);
});

test("an unknown option is answered with the nearest one, on one line", () => {
  refused(["--eface", "lo", "--cdir", "10.0.0.0/8"], /^l7egg: unknown option '--cdir': did you mean --cidr\?$/);
  const command = cli("main", "statsu");
  assert.equal(command.code, 2);
  assert.deepEqual(command.lines, ["l7egg: unknown command 'statsu': did you mean status?"]);
  const nothing = cli("main");
  assert.equal(nothing.code, 2);
  assert.equal(nothing.lines.length, 1);
});

test("an argument too many is named", () => {
  for (const [args, line] of [
    [["status", "foo"], 'unexpected argument "foo": l7egg status takes none; values follow an option'],
    [["explain", "x.io", "y.io", "z.io"], 'unexpected argument "y.io" "z.io": l7egg explain takes one'],
  ] as const) {
    const result = cli("main", ...args);
    assert.equal(result.code, 2);
    assert.deepEqual(result.lines, [`l7egg: ${line}`]);
  }
  refused(["--domain", "a.io", "b.io"], /^l7egg: unexpected argument "b\.io": l7egg run takes none; /);
});

test("--help has examples, --version a version; both end well", () => {
  const help = cli("main", "--help");
  assert.equal(help.code, 0);
  assert.match(help.stdout, /Examples:/);
  for (const command of ["run", "status", "explain", "clean", "doctor"])
    assert.match(help.stdout, new RegExp(`^ {2}${command}`, "m"));
  const version = cli("main", "--version");
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test("questions about a gateway that doesn't run", () => {
  const status = cli("main", "status", "--name", "argtest");
  assert.equal(status.code, 1, "the question is fine, there is nobody to answer");
  assert.match(status.lines.join(), /^l7egg: no gateway "argtest" is running/);
  const explain = cli("main", "explain", "*.x.io", "--name", "argtest");
  assert.equal(explain.code, 2);
  assert.match(explain.lines.join(), /a pattern; ask for one name/);
  assert.equal(cli("main", "explain", "x.io", "--name", "argtest").code, 1);
});

test("the original's misprint -cm= is answered with -cn", () => {
  const result = cli("original", "-iface=lo", "-eface=lo", "-cidr=10.0.2.0/24", '-cm=".ubuntu.com"');
  assert.equal(result.code, 2);
  assert.deepEqual(result.lines, ["l7egg-cli: unknown flag -cm: did you mean -cn?"]);
});
