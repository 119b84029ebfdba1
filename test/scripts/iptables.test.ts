/**
 * scripts/iptables-setup.sh in a network namespace of its own, with both kinds of iptables. What is installed is compared with
 * iptables-save as text; that the rules do what they are for is tried with pings between three namespaces.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { native } from "../../src/native/index.js";

const script = fileURLToPath(new URL("../../scripts/iptables-setup.sh", import.meta.url));
const id = `l7ipt${process.pid}`;
const [router, client, server] = [`${id}r`, `${id}c`, `${id}s`];
const scratch = mkdtempSync(join(tmpdir(), "l7egg-iptables-"));

interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

before(() => {
  for (const name of [router, client, server]) must("ip", "netns", "add", name);
  for (const [lan, peer, peerNs, net] of [
    ["lan0", "c0", client, 1],
    ["wan0", "s0", server, 2],
  ] as const) {
    must("ip", "link", "add", lan, "netns", router, "type", "veth", "peer", "name", peer, "netns", peerNs);
    for (const [ns, dev, host] of [
      [router, lan, 1],
      [peerNs, peer, 2],
    ] as const) {
      must("ip", "-n", ns, "addr", "add", `10.9.${net}.${host}/24`, "dev", dev);
      must("ip", "-n", ns, "addr", "add", `fd09:${net}::${host}/64`, "dev", dev, "nodad");
      must("ip", "-n", ns, "link", "set", dev, "up");
    }
    must("ip", "-n", peerNs, "route", "add", "default", "via", `10.9.${net}.1`);
    must("ip", "-n", peerNs, "route", "add", "default", "via", `fd09:${net}::1`);
  }
  must("ip", "-n", router, "link", "add", "lan1", "type", "veth", "peer", "name", "lan1peer");
  inRouter("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
});
process.on("exit", cleanUp);
after(cleanUp);

/** The folder of an instance's pins under `pins`; `pin` puts a program there by that name. All of it is gone afterwards. */
function withPins(instance: string, test: (pins: string, pin: (name: string) => void) => void): void {
  const pins = `/sys/fs/bpf/${id}`;
  mkdirSync(`${pins}/${instance}`, { recursive: true });
  const object = native.loadObject({ path: compileOutput() });
  try {
    test(pins, (name) => object.program("output").pin(`${pins}/${instance}/${name}`));
  } finally {
    object.close();
    rmSync(pins, { recursive: true, force: true });
  }
}

for (const kind of ["nft", "legacy"] as const) {
  describe(`iptables-${kind}`, () => {
    const ipt = { IPTABLES: `iptables-${kind}` };
    const setup = (...args: string[]): Result => setupWith(ipt, ...args);
    const up = (...args: string[]) => assertOk(setup("up", ...args));
    const saved = () => savedBy(kind);
    const add = (rule: string) => {
      for (const family of ["", "6"]) inRouter(`ip${family}tables-${kind}`, ...rule.split(" "));
    };

    beforeEach(() => {
      for (const other of ["nft", "legacy"]) {
        for (const family of ["", "6"]) {
          for (const table of ["raw", "mangle", "nat", "filter"]) {
            inRouter(`ip${family}tables-${other}`, "-t", table, "-F");
            inRouter(`ip${family}tables-${other}`, "-t", table, "-X");
          }
        }
      }
    });

    test("a LAN: the very rules, in both families", () => {
      up("--lan", "lan0", "--eface", "wan0", "--queues", "3:5", "--mark-mask", "0xc00", "--name", "a");
      const rules = (icmp: string) => [
        "-A INPUT -j L7EGG-IN-a",
        "-A FORWARD -j L7EGG-FWD-a",
        "-A OUTPUT -j L7EGG-OUT-a",
        "-A L7EGG-FWD-a -o wan0 -m mark --mark 0x800/0x800 -j RETURN",
        "-A L7EGG-FWD-a -i lan0 -o wan0 -m mark --mark 0x0/0xc00 -j MARK --set-xmark 0x400/0xc00",
        "-A L7EGG-FWD-a -i lan0 -o wan0 -m mark --mark 0x400/0xc00 -m conntrack --ctstate ESTABLISHED --ctdir REPLY -j MARK --set-xmark 0xc00/0xc00",
        `-A L7EGG-FWD-a -i lan0 -o wan0 -p ${icmp} -m mark --mark 0x400/0xc00 -m conntrack --ctstate RELATED -j MARK --set-xmark 0xc00/0xc00`,
        "-A L7EGG-FWD-a -i lan0 -o wan0 -p udp -m udp --dport 53 -m mark --mark 0x400/0xc00 -j NFQUEUE --queue-num 3",
        "-A L7EGG-FWD-a -i lan0 -o wan0 -p tcp -m tcp --dport 53 -m mark --mark 0x400/0xc00 -j NFQUEUE --queue-num 3",
        "-A L7EGG-FWD-a -i lan0 -o wan0 -m mark --mark 0x400/0xc00 -j NFQUEUE --queue-balance 4:5",
        "-A L7EGG-FWD-a -i lan0 ! -o wan0 -m mark --mark 0x400/0xc00 -j MARK --set-xmark 0x0/0xc00",
        "-A L7EGG-FWD-a -o lan0 -p udp -m udp --sport 53 -j NFQUEUE --queue-num 3",
        "-A L7EGG-FWD-a -i lan0 ! -o wan0 -p udp -m udp --dport 53 -j NFQUEUE --queue-num 3",
        "-A L7EGG-FWD-a -o lan0 -p tcp -m tcp --sport 53 -j NFQUEUE --queue-num 3",
        "-A L7EGG-FWD-a -i lan0 ! -o wan0 -p tcp -m tcp --dport 53 -j NFQUEUE --queue-num 3",
        "-A L7EGG-IN-a -i lan0 -p udp -m udp --dport 53 -j NFQUEUE --queue-num 3",
        "-A L7EGG-IN-a -i lan0 -p tcp -m tcp --dport 53 -j NFQUEUE --queue-num 3",
        "-A L7EGG-OUT-a -o lan0 -p udp -m udp --sport 53 -m mark ! --mark 0xc00/0xc00 -j NFQUEUE --queue-num 3",
        "-A L7EGG-OUT-a -o lan0 -p tcp -m tcp --sport 53 -m mark ! --mark 0xc00/0xc00 -j NFQUEUE --queue-num 3",
      ];
      assert.deepEqual(rulesOf(kind, "", "mangle"), rules("icmp"));
      assert.deepEqual(rulesOf(kind, "6", "mangle"), rules("ipv6-icmp"));
      assert.deepEqual(rulesOf(kind, "", "nat"), []);
      for (const family of ["", "6"]) {
        assert.deepEqual(rulesOf(kind, family, "raw"), [
          "-A PREROUTING -j L7EGG-PRE-a",
          "-A OUTPUT -j L7EGG-DNS-a",
          "-A L7EGG-DNS-a -p udp -m udp --sport 53 -m mark --mark 0xc00/0xc00 -j CT --notrack",
          "-A L7EGG-PRE-a -i lan0 -m mark --mark 0x0/0xc00 -m rpfilter --invert -j CT --notrack",
        ]);
      }
    });

    test("where QUIC's names decide, no conntrack entry makes a packet a reply", () => {
      withPins("a", (pins, pin) => {
        pin("output");
        const options = ["--lan", "lan0", "--own", "--eface", "wan0", "--name", "a", "--pin-dir", pins];
        for (const bad of ["", "x", "443,", "1:2:3"])
          assert.equal(setup("up", ...options, "--quic-ports", bad).code, 2);
        up(...options);
        const without = saved();
        up(...options, "--quic-ports", "443,8443:8450");
        const lines = saved();
        const output = `-m mark ! --mark 0x30/0x30 -m bpf --object-pinned ${pins}/a/output -j NFQUEUE --queue-num 0`;
        const added = ["443", "8443:8450"].flatMap((port) => [
          `-A L7EGG-FWD-a -i lan0 -o wan0 -p udp -m udp --dport ${port} -m mark --mark 0x10/0x30 -j NFQUEUE --queue-num 0`,
          `-A L7EGG-OUT-a -o wan0 -p udp -m udp --dport ${port} ${output}`,
          `-A L7EGG-OUT-a -o wan0 -p udp -m udp --dport ${port} -j RETURN`,
        ]);
        const found = lines.filter((line) => !without.includes(line));
        assert.deepEqual([...new Set(found)].sort(), added.sort());
        assert.equal(found.length, 12, "both families");
        const first = (start: string) => lines.findIndex((line) => line.startsWith(start) && line.includes("REPLY"));
        for (const line of added) assert.ok(lines.indexOf(line) < first(line.slice(0, 15)), line);
        up(...options);
        assert.deepEqual(saved(), without);
        assertOk(setup("down", "--name", "a"));
      });
    });

    test("flows that skip netfilter: conntrack guesses nothing about them", () => {
      withPins("a", (pins, pin) => {
        const options = ["--lan", "lan0", "--eface", "wan0", "--name", "a", "--pin-dir", pins];
        const refused = setup("up", ...options, "--fast");
        assert.equal(refused.code, 2);
        assert.match(refused.err, /no program is pinned at .*\/past/);
        pin("past");
        up(...options);
        const slow = saved();
        up(...options, "--fast");
        const added = saved().filter((line) => !slow.includes(line));
        assert.deepEqual([...new Set(added)].sort(), [
          "-A L7EGG-FWD-a -i wan0 -o lan0 -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j DROP",
          `-A L7EGG-PRE-a -i lan0 -m mark --mark 0x10/0x30 -m bpf --object-pinned ${pins}/a/past -j CT --notrack`,
        ]);
        assert.equal(added.length, 4, "both families");
        up(...options);
        assert.deepEqual(saved(), slow);
        assertOk(setup("down", "--name", "a"));
      });
    });

    test("answers that eBPF confirms don't go to the queue", () => {
      withPins("a", (pins, pin) => {
        const options = ["--lan", "lan0,lan1", "--eface", "wan0", "--name", "a", "--pin-dir", pins];
        const refused = setup("up", ...options, "--answers");
        assert.equal(refused.code, 2);
        assert.match(refused.err, /no program is pinned at .*\/answer/);
        pin("answer");
        up(...options);
        const without = saved();
        up(...options, "--answers");
        const lines = saved();
        const added = lines.filter((line) => !without.includes(line));
        const rule = (lan: string) =>
          `-A L7EGG-FWD-a -i wan0 -o ${lan} -p udp -m udp --sport 53 -m bpf --object-pinned ${pins}/a/answer -j RETURN`;
        assert.deepEqual([...new Set(added)].sort(), [rule("lan0"), rule("lan1")]);
        assert.equal(added.length, 4, "both families");
        // Before the rule that sends every answer to the queue.
        const queue = "-A L7EGG-FWD-a -o lan0 -p udp -m udp --sport 53 -j NFQUEUE --queue-num 0";
        assert.ok(lines.includes(queue));
        assert.ok(lines.indexOf(rule("lan0")) < lines.indexOf(queue));
        up(...options);
        assert.deepEqual(saved(), without);
        assertOk(setup("down", "--name", "a"));
      });
    });

    test("what --dry-run prints is what up installs, and it installs nothing", () => {
      const options = ["--lan", "lan0,lan1", "--eface", "wan0", "--masquerade", "--fail-mode", "open"];
      const empty = saved();
      const printed = assertOk(setup("up", ...options, "--dry-run")).out.split("\n");
      assert.deepEqual(saved(), empty);
      up(...options);
      const installed = saved().filter((line) => line.startsWith("-A L7EGG"));
      assert.equal(installed.length, 2 * (2 * 14 + 3));
      assert.deepEqual(printed.filter((line) => line.startsWith("-A")).sort(), installed.sort());
    });

    test("up twice is up once", () => {
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      const once = saved();
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      assert.deepEqual(saved(), once);
      assert.equal(once.filter((line) => line === "-A FORWARD -j L7EGG-FWD-default").length, 2);
    });

    test("up with other options replaces: nothing of the old ones is left", () => {
      up("--lan", "lan0", "--lan", "lan1", "--eface", "wan0", "--masquerade", "--queues", "7");
      up("--lan", "lan1", "--eface", "wan0", "--fail-mode", "open");
      const replaced = saved();
      assertOk(setup("down"));
      up("--lan", "lan1", "--eface", "wan0", "--fail-mode", "open");
      assert.deepEqual(replaced, saved());
      assert.ok(!replaced.some((line) => /lan0|queue-num 7|L7EGG-NAT/.test(line)));
      assert.ok(
        replaced.includes(
          "-A L7EGG-IN-default -i lan1 -p udp -m udp --dport 53 -j NFQUEUE --queue-num 0 --queue-bypass",
        ),
      );
    });

    test("foreign rules stay, in their order, and down leaves exactly them", () => {
      // Chains whose names only begin like ours, a comment that speaks of ours, and rules in the same hooks.
      for (const rule of [
        "-t mangle -N L7EGG-FWD-default-2",
        "-t mangle -A L7EGG-FWD-default-2 -p tcp -j RETURN",
        "-t mangle -A FORWARD -i lan1 -j L7EGG-FWD-default-2",
        "-t mangle -A FORWARD -m comment --comment jump:L7EGG-FWD-default -j ACCEPT",
        "-t mangle -A OUTPUT -p udp -j MARK --set-xmark 0x100/0x100",
        "-t nat -A POSTROUTING -o wan0 -j MASQUERADE",
        "-t filter -A FORWARD -i lan0 -j DROP",
      ]) {
        add(rule);
      }
      const before = saved();
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      const during = saved();
      assert.deepEqual(
        during.filter((line) => !/L7EGG-(FWD|IN|OUT|NAT|PRE|DNS)-default( |$)/.test(line) || line.includes("comment")),
        before,
      );
      const forward = during.filter((line) => line.startsWith("-A FORWARD") && !line.includes("DROP"));
      assert.equal(forward[0], "-A FORWARD -j L7EGG-FWD-default");
      assertOk(setup("down"));
      assert.deepEqual(saved(), before);
      assertOk(setup("down"));
      assert.deepEqual(saved(), before);
    });

    test("two instances stand side by side; one leaves, the other stays", () => {
      up("--lan", "lan0", "--eface", "wan0", "--name", "one");
      const one = saved();
      up("--lan", "lan1", "--eface", "wan0", "--name", "two", "--queues", "9", "--masquerade");
      assert.equal(setup("status", "--name", "one").code, 0);
      assert.equal(setup("status", "--name", "two").code, 0);
      assertOk(setup("down", "--name", "two"));
      assert.deepEqual(
        saved().filter((line) => !line.startsWith("*") && !line.startsWith(":P")),
        one.filter((line) => !line.startsWith("*") && !line.startsWith(":P")),
      );
      assert.equal(setup("status", "--name", "two").code, 1);
    });

    test("this box's own egress: OUTPUT asks the pinned program, and down doesn't need it any more", () => {
      withPins("own", (pins, pin) => {
        pin("output");
        up("--eface", "wan0", "--iface", "lan0", "--name", "own", "--pin-dir", pins);
        const expected = [
          "-A INPUT -j L7EGG-IN-own",
          "-A OUTPUT -j L7EGG-OUT-own",
          "-A POSTROUTING -j L7EGG-POST-own",
          "-A L7EGG-IN-own -i lan0 -p udp -m udp --sport 53 -j NFQUEUE --queue-num 0",
          "-A L7EGG-IN-own -i lan0 -p tcp -m tcp --sport 53 -j NFQUEUE --queue-num 0",
          "-A L7EGG-OUT-own -o wan0 -m conntrack --ctstate ESTABLISHED --ctdir REPLY -j MARK --set-xmark 0x30/0x30",
          "-A L7EGG-OUT-own -o wan0 -p icmp -m conntrack --ctstate RELATED -j MARK --set-xmark 0x30/0x30",
          `-A L7EGG-OUT-own -o wan0 -m mark ! --mark 0x30/0x30 -m bpf --object-pinned ${pins}/own/output -j NFQUEUE --queue-num 0`,
          // The resolver is behind lan0, which is not eface: user space must see the questions, too.
          ...["udp", "tcp"].flatMap((proto) => [
            `-A L7EGG-OUT-own -o lan0 -p ${proto} -m ${proto} --dport 53 -m mark ! --mark 0x30/0x30 -j MARK --set-xmark 0x10/0x30`,
            `-A L7EGG-OUT-own -o lan0 -p ${proto} -m ${proto} --dport 53 -m mark --mark 0x10/0x30 -j NFQUEUE --queue-num 0`,
          ]),
          // The mark is lent for the question: is there a gate?
          "-A L7EGG-POST-own -o wan0 -m mark --mark 0x0/0x30 -j MARK --set-xmark 0x10/0x30",
          `-A L7EGG-POST-own -o wan0 -m mark --mark 0x10/0x30 -m bpf --object-pinned ${pins}/own/output -j DROP`,
          "-A L7EGG-POST-own -o wan0 -m mark --mark 0x10/0x30 -j MARK --set-xmark 0x0/0x30",
        ];
        assert.deepEqual(rulesOf(kind, "", "mangle"), expected);
        assert.deepEqual(
          rulesOf(kind, "6", "mangle"),
          expected.map((line) => line.replace("-p icmp", "-p ipv6-icmp")),
        );
        assert.equal(setup("status", "--name", "own").code, 0);
        // Two queues: DNS to the first, all else to the second.
        up("--eface", "wan0", "--name", "own", "--pin-dir", pins, "--queues", "0:1");
        const asked = `-m mark ! --mark 0x30/0x30 -m bpf --object-pinned ${pins}/own/output -j NFQUEUE --queue-num`;
        assert.deepEqual(
          rulesOf(kind, "", "mangle").filter((line) => /\/own\/output -j NFQUEUE/.test(line)),
          [
            `-A L7EGG-OUT-own -o wan0 -p udp -m udp --dport 53 ${asked} 0`,
            `-A L7EGG-OUT-own -o wan0 -p tcp -m tcp --dport 53 ${asked} 0`,
            `-A L7EGG-OUT-own -o wan0 ${asked} 1`,
          ],
        );
        // A LAN and the box itself under one instance.
        up("--lan", "lan0", "--own", "--eface", "wan0", "--name", "own", "--pin-dir", pins);
        assert.equal(rulesOf(kind, "", "mangle").filter((line) => line.startsWith("-A L7EGG")).length, 14 + 8);
        rmSync(pins, { recursive: true });
        assertOk(setup("down", "--name", "own"));
        assert.deepEqual(rulesOf(kind, "", "mangle"), []);
      });
    });

    test("status: not up, up, and what is missing", () => {
      assert.deepEqual([setup("status").code, setup("status").out], [1, "instance default: not up\n"]);
      up("--lan", "lan0", "--eface", "wan0");
      const all = assertOk(setup("status")).out;
      assert.match(all, /^IPv6 mangle: -A L7EGG-FWD-default -i lan0 .*NFQUEUE/m);
      assert.match(all, /^instance default: up$/m);
      inRouter(`iptables-${kind}`, "-t", "mangle", "-D", "FORWARD", "-j", "L7EGG-FWD-default");
      inRouter(`ip6tables-${kind}`, "-t", "mangle", "-F", "L7EGG-IN-default");
      const partly = setup("status");
      assert.equal(partly.code, 1);
      assert.match(partly.out, /^IPv4: no jump to L7EGG-FWD-default$/m);
      assert.match(partly.out, /^IPv6: chain L7EGG-IN-default is empty$/m);
      // up repairs.
      up("--lan", "lan0", "--eface", "wan0");
      assert.equal(setup("status").code, 0);
      inRouter(`ip6tables-${kind}`, "-t", "mangle", "-F");
      inRouter(`ip6tables-${kind}`, "-t", "mangle", "-X");
      assert.match(setup("status").out, /^IPv6: chain L7EGG-OUT-default is missing$/m);
    });

    test("status: a jump that stands there twice", () => {
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      inRouter(`iptables-${kind}`, "-t", "mangle", "-A", "FORWARD", "-j", "L7EGG-FWD-default");
      inRouter(`ip6tables-${kind}`, "-t", "nat", "-A", "POSTROUTING", "-o", "lan1", "-j", "L7EGG-NAT-default");
      assert.deepEqual(problemsOf(setup("status")), [
        "IPv4: 2 rules jump to L7EGG-FWD-default, it should be one",
        "IPv6: 2 rules jump to L7EGG-NAT-default, it should be one",
        "instance default: partly up",
      ]);
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      assert.deepEqual(problemsOf(setup("status")), ["instance default: up"]);
    });

    test("status: a rule before the jump that takes packets past it", () => {
      up("--lan", "lan0", "--eface", "wan0");
      const past = (chain: string, rule: string) =>
        `: packets can get past L7EGG-${chain}-default by a rule that stands before its jump: ${rule}`;
      for (const chain of ["theirs", "inner", "harmless"]) add(`-t mangle -N ${chain}`);
      add("-t mangle -A inner -i lan0 -p tcp -j ACCEPT");
      add("-t mangle -A theirs -j inner");
      add("-t mangle -A harmless -i lan1 -j RETURN");
      add("-t mangle -A harmless -j MARK --set-xmark 0x100/0x100");
      for (const [table, hook, chain, target] of [
        ["mangle", "FORWARD", "FWD", "-j ACCEPT"],
        ["mangle", "FORWARD", "FWD", "-j RETURN"],
        ["mangle", "FORWARD", "FWD", "-j NFQUEUE --queue-num 7"],
        ["mangle", "FORWARD", "FWD", "-g harmless"],
        ["mangle", "FORWARD", "FWD", "-j theirs"],
        ["mangle", "INPUT", "IN", "-j ACCEPT"],
        ["mangle", "OUTPUT", "OUT", "-j ACCEPT"],
        ["raw", "PREROUTING", "PRE", "-j ACCEPT"],
        ["raw", "OUTPUT", "DNS", "-j ACCEPT"],
      ] as const) {
        add(`-t ${table} -I ${hook} -p udp ${target}`);
        const line = past(chain, `-A ${hook} -p udp ${target}`);
        const result = setup("status");
        assert.equal(result.code, 1);
        assert.deepEqual(problemsOf(result), [`IPv4${line}`, `IPv6${line}`, "instance default: partly up"]);
        // up puts the jump before it.
        up("--lan", "lan0", "--eface", "wan0");
        assert.deepEqual(problemsOf(setup("status")), ["instance default: up"], target);
        add(`-t ${table} -D ${hook} -p udp ${target}`);
      }
      // What neighbours put first and what lets nothing past: marks, logs, counters, drops, chains that hold only such, whatever their text says.
      for (const rule of [
        ["-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN,RST", "SYN", "-j", "TCPMSS", "--clamp-mss-to-pmtu"],
        ["-m", "comment", "--comment", 'a " -j ACCEPT', "-j", "LOG", "--log-prefix", "x -j ACCEPT "],
        ["-i", "lan1", "-m", "comment", "--comment", "no target: -g inner"],
        ["-s", "198.51.100.1/32", "-j", "DROP"],
        ["-j", "harmless"],
      ]) {
        inRouter(`iptables-${kind}`, "-t", "mangle", "-I", "FORWARD", ...rule);
      }
      assert.equal(rulesOf(kind, "", "mangle").filter((line) => line.startsWith("-A FORWARD")).length, 6);
      assert.deepEqual(problemsOf(setup("status")), ["instance default: up"]);
    });

    test("status: an exception from masquerading before the jump is nobody's fault", () => {
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      add("-t nat -I POSTROUTING -o wan0 -p udp -j ACCEPT");
      assert.deepEqual(problemsOf(setup("status")), ["instance default: up"]);
    });

    test("status: two instances are in each other's way neither after up nor after another up", () => {
      const one = ["--lan", "lan0", "--eface", "wan0", "--name", "one", "--masquerade"];
      const two = ["--lan", "lan1", "--eface", "wan0", "--name", "two", "--queues", "9"];
      for (const options of [one, two, one]) up(...options);
      for (const name of ["one", "two"])
        assert.deepEqual(problemsOf(setup("status", "--name", name)), [`instance ${name}: up`]);
      // A rule that the second instance's jump stands before and the first's doesn't is the first's matter.
      add("-t mangle -I FORWARD 2 -i lan0 -j ACCEPT");
      assert.deepEqual(problemsOf(setup("status", "--name", "one")), ["instance one: up"]);
      assert.match(setup("status", "--name", "two").out, /^IPv4: packets can get past L7EGG-FWD-two /m);
    });

    test("status reads each table once, and needs no process for anything else", () => {
      up("--lan", "lan0,lan1", "--eface", "wan0", "--masquerade");
      // No grep, no sed; the script itself adds the folders that hold iptables.
      const folder = mkdtempSync(join(scratch, "path-"));
      symlinkSync("/usr/bin/flock", join(folder, "flock"));
      const trace = join(folder, "trace");
      // Bash writes each command that it carries out, with a plus sign, one more in a sourced script, and one more in a subshell.
      const traced = `exec 7>${trace}; BASH_XTRACEFD=7 PS4='+ ' PATH=${folder}; set -x; . ${script} status`;
      assertOk(inRouter("env", `IPTABLES=iptables-${kind}`, "bash", "-c", traced));
      const forked = readFileSync(trace, "utf8")
        .split("\n")
        .filter((line) => line.startsWith("+++"))
        .map((line) => line.replace(/^\++ exec /, ""));
      const saves = ["", "6"].flatMap((family) =>
        ["raw", "mangle", "nat"].map((table) => `ip${family}tables-${kind}-save -t ${table}`),
      );
      const versions = ["", "6"].map((family) => `ip${family}tables-${kind} --version`);
      assert.deepEqual(forked, [...versions, ...saves]);
    });

    test("chains that an earlier up left in the other kind of iptables go", () => {
      const other = kind === "nft" ? "legacy" : "nft";
      assertOk(setupWith({ IPTABLES: `iptables-${other}` }, "up", "--lan", "lan0", "--eface", "wan0"));
      up("--lan", "lan0", "--eface", "wan0");
      assert.deepEqual(
        savedBy(other).filter((line) => line.includes("L7EGG")),
        [],
      );
      assert.equal(setup("status").code, 0);
      assertOk(setupWith({ IPTABLES: `iptables-${other}` }, "down"));
      assert.deepEqual(
        saved().filter((line) => line.includes("L7EGG")),
        [],
      );
    });

    test("what stands in the other kind can't be removed: all is put back", () => {
      const other = kind === "nft" ? "legacy" : "nft";
      assertOk(setupWith({ IPTABLES: `iptables-${other}` }, "up", "--lan", "lan0", "--eface", "wan0"));
      const before = savedBy(other);
      const folder = mkdtempSync(join(scratch, "path-"));
      const program = `ip6tables-${other}-restore`;
      const real = join("/usr/sbin", program);
      writeFileSync(
        join(folder, program),
        `#!/bin/sh\ncase "$*" in *--test*) exec ${real} "$@" ;; esac\necho no such luck >&2\nexit 1\n`,
      );
      chmodSync(join(folder, program), 0o755);
      for (const args of [["up", "--lan", "lan1", "--eface", "wan0"], ["down"]]) {
        const result = setupWith({ ...ipt, PATH: `${folder}:${process.env.PATH}` }, ...args);
        assert.equal(result.code, 2, args[0]);
        assert.match(result.err, new RegExp(`^iptables-setup: ${program} .*\\n$`));
        assert.deepEqual(savedBy(other), before);
        assert.ok(!saved().some((line) => line.includes("L7EGG")), "nothing of the refused call stays");
      }
    });

    test("bad input: one line, exit 2, nothing changed", () => {
      const good = ["--lan", "lan0", "--eface", "wan0"];
      up(...good);
      const before = saved();
      const cases: readonly (readonly [string[], RegExp])[] = [
        [[], /say what to do/],
        [["start"], /unknown command 'start'/],
        [["up"], /--eface is missing/],
        [["up", "--lan", "lan0"], /--eface is missing/],
        [["up", "--lan", "", "--eface", "wan0"], /--lan is empty/],
        [
          ["up", "--lan", "lan0\nlan1", "--eface", "wan0"],
          /^iptables-setup: --lan \$'lan0\\nlan1': there is a line break or another control character in it; several LANs: --lan A,B or --lan A --lan B\n$/,
        ],
        [["up", "--lan=lan0,lan1\n", "--eface", "wan0"], /--lan \$'lan0,lan1\\n': there is a line break/],
        [["up", "--lan", "\nlan0", "--eface", "wan0"], /there is a line break/],
        [["up", "--lan", "lan0\u001b[31m", "--eface", "wan0"], /--lan \$'lan0\\E\[31m': there is a line break/],
        [
          ["up", "--lan", "lan0", "--eface", "wan0\n"],
          /^iptables-setup: --eface \$'wan0\\n': .* control character in it\n$/,
        ],
        [["up", ...good, "--iface", "wan0\r"], /--iface .* control character/],
        [["up", ...good, "--queues", "1\n:2"], /--queues .* control character/],
        [["up", ...good, "--mark-mask", "0x30\t"], /--mark-mask .* control character/],
        [["up", ...good, "--mode", "nfqueue\n"], /--mode .* control character/],
        [["up", ...good, "--fail-mode", "open\n"], /--fail-mode .* control character/],
        [["up", ...good, "--pin-dir", "/sys\n/fs"], /--pin-dir .* control character/],
        [["down", "--name", "default\nx"], /--name .* control character/],
        [["up", ...good, "--frob\nx"], /unknown option \$'--frob\\nx'/],
        [["up\n"], /unknown command \$'up\\n'/],
        [["up", "--lan", "lan9", "--eface", "wan0"], /--lan lan9: there is no such interface/],
        [["up", "--lan", "lan+", "--eface", "wan0"], /--lan lan\+: there is no such interface/],
        [["up", "--lan", "la.0", "--eface", "wan0"], /--lan la\.0: there is no such interface/],
        [["up", "--lan", "lan0", "--eface", "wan9"], /--eface wan9: there is no such interface/],
        [["up", ...good, "--iface", "wan9"], /--iface wan9: there is no such interface/],
        [["up", "--lan", "wan0", "--eface", "wan0"], /can't be --lan and --eface/],
        [["up", "--lan", "lan0,lan0", "--eface", "wan0"], /given twice/],
        [["up", "--lan", "lan0", "--lan", "lan0", "--eface", "wan0"], /given twice/],
        ...["0x50", "0x10", "0x70", "0", "0x180000000", "-3", "x", "0x", ""].map(
          (mask) => [["up", ...good, "--mark-mask", mask], /bad mark mask/] as [string[], RegExp],
        ),
        ...["65536", "5:4", "1:65536", "-1", "1:", ":1", "1:2:3", "a", "", "99999999999"].map(
          (queues) => [["up", ...good, "--queues", queues], /bad queue/] as [string[], RegExp],
        ),
        [["up", ...good, "--mode", "tproxy"], /unknown mode 'tproxy'/],
        [["up", ...good, "--fail-mode", "ajar"], /unknown fail mode 'ajar'/],
        [["up", ...good, "--name", "Default"], /bad instance name/],
        [["up", ...good, "--name", "a234567890123456"], /bad instance name/],
        [["down", "--name", ""], /bad instance name/],
        [["up", ...good, "--pin-dir", "a b"], /bad --pin-dir/],
        [["up", ...good, "--frob"], /unknown option '--frob'/],
        [["up", ...good, "--frob=1"], /unknown option '--frob'/],
        [["up", "--lan"], /--lan needs a value/],
        [["up", "--eface", "wan0", "--pin-dir", scratch], /no program is pinned at .*default\/output/],
      ];
      for (const [args, message] of cases) {
        const result = setup(...args);
        assert.equal(result.code, 2, args.join(" "));
        assert.match(result.err, message, args.join(" "));
        assert.equal(result.err.trim().split("\n").length, 1, result.err);
        assert.equal(result.out, "");
      }
      assert.deepEqual(saved(), before);
      // The neighbours of the refused ones.
      for (const args of [
        ["--mark-mask", "0xc0000000"],
        ["--mark-mask", "3"],
        ["--queues", "65535"],
        ["--queues", "0:65535"],
        ["--name", "a23456789012345"],
      ]) {
        assertOk(setup("up", ...good, ...args, "--dry-run"));
      }
    });

    test("an extension that iptables lacks is named, and nothing is changed", () => {
      const lib = spawnSync("sh", ["-c", "dirname /usr/lib/*/xtables/libxt_NFQUEUE.so"], {
        encoding: "utf8",
      }).stdout.trim();
      for (const [missing, message] of [
        ["libxt_NFQUEUE.so", /lacks: target NFQUEUE$/m],
        ["libxt_conntrack.so", /lacks: match conntrack$/m],
      ] as const) {
        const folder = mkdtempSync(join(scratch, "xtables-"));
        for (const file of readdirSync(lib)) if (file !== missing) symlinkSync(join(lib, file), join(folder, file));
        const before = saved();
        const result = setupWith({ ...ipt, XTABLES_LIBDIR: folder }, "up", "--lan", "lan0", "--eface", "wan0");
        assert.equal(result.code, 2);
        assert.match(result.err, message);
        assert.deepEqual(saved(), before);
      }
    });

    test("the kernel refuses the second family: the first is put back as it was", () => {
      const shims = failingIp6Restore(kind);
      const broken = (...args: string[]) => setupWith({ IPTABLES: join(shims, "iptables") }, "up", ...args);
      const empty = saved();
      const first = broken("--lan", "lan0", "--eface", "wan0");
      assert.equal(first.code, 2);
      assert.match(first.err, /ip6tables-restore refused the rules of table raw: no such luck/);
      assert.deepEqual(
        saved().filter((line) => line.includes("L7EGG")),
        [],
      );
      assert.deepEqual(
        empty.filter((line) => line.includes("L7EGG")),
        [],
      );

      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      const before = saved();
      assert.equal(broken("--lan", "lan1", "--eface", "wan0").code, 2);
      assert.deepEqual(saved(), before);
    });

    test("a signal amid the steps: all of them are done", () => {
      // Like Ctrl-C: the whole process group gets it, while the first table changes.
      const shims = shimmed(
        kind,
        "",
        "-restore",
        (real) => `case "$*" in *--test*) ${real} ;; esac\nkill -INT 0\nkill -TERM 0\n${real}`,
      );
      const up = ["bash", script, "up", "--lan", "lan0", "--eface", "wan0"];
      assertOk(inRouter("env", `IPTABLES=${join(shims, "iptables")}`, "setsid", "-w", ...up));
      assert.equal(setup("status").code, 0);
    });

    test("iptables-save fails: one line, and nothing is changed", () => {
      up("--lan", "lan0", "--eface", "wan0");
      const before = saved();
      const shims = shimmed(kind, "6", "-save", () => "echo no such luck >&2\nexit 1");
      for (const args of [["up", "--lan", "lan1", "--eface", "wan0"], ["down"], ["status"]]) {
        const result = setupWith({ IPTABLES: join(shims, "iptables") }, ...args);
        assert.equal(result.code, 2, args[0]);
        assert.match(
          result.err,
          /^iptables-setup: \S+\/ip6tables-save can't show table (raw|mangle), [^\n]*: no such luck\n$/,
        );
        assert.deepEqual(saved(), before);
      }
    });

    test("how often iptables is asked for its kind: once for each family", () => {
      const count = join(mkdtempSync(join(scratch, "count-")), "calls");
      const shims = shimmed(kind, "", "", (real) => `[ "$1" != --version ] || echo >>${count}\n${real}`);
      assertOk(setupWith({ IPTABLES: join(shims, "iptables") }, "up", "--lan", "lan0", "--eface", "wan0"));
      assert.equal(readFileSync(count, "utf8"), "\n");
    });

    test("packets: two hosts' packets meet one queue, whichever of them sends; many hosts use all queues", () => {
      for (let host = 10; host < 26; host++) {
        must("ip", "-n", client, "addr", "add", `10.9.1.${host}/24`, "dev", "c0");
        must("ip", "-n", client, "addr", "add", `fd09:1::${host}/64`, "dev", "c0", "nodad");
      }
      try {
        for (const family of ["", "6"]) {
          inRouter(
            `ip${family}tables-${kind}`,
            "-t",
            "mangle",
            "-A",
            "FORWARD",
            "-j",
            "NFQUEUE",
            "--queue-balance",
            "11:13",
          );
        }
        const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", pairsByQueue];
        const seen = JSON.parse(assertOk(inRouter(...node)).out) as Record<string, Record<string, number>>;
        assert.equal(Object.keys(seen).length, 32, "sixteen hosts of each family");
        const used = new Set<string>();
        for (const [pair, queues] of Object.entries(seen)) {
          assert.equal(Object.keys(queues).length, 1, `${pair} met the queues ${JSON.stringify(queues)}`);
          assert.equal(Object.values(queues)[0], 2, `${pair}: a SYN and the reset that answers it`);
          for (const queue of Object.keys(queues)) used.add(queue);
        }
        assert.deepEqual([...used].sort(), ["11", "12", "13"]);
      } finally {
        for (let host = 10; host < 26; host++) {
          must("ip", "-n", client, "addr", "del", `10.9.1.${host}/24`, "dev", "c0");
          must("ip", "-n", client, "addr", "del", `fd09:1::${host}/64`, "dev", "c0");
        }
      }
    });

    test("packets: INSPECT stops at a queue without a listener, ALLOW passes, replies and open do", () => {
      for (const family of ["4", "6"] as const) {
        const tool = family === "4" ? `iptables-${kind}` : `ip6tables-${kind}`;
        const [toServer, toClient] = family === "4" ? ["10.9.2.2", "10.9.1.2"] : ["fd09:2::2", "fd09:1::2"];
        const ping = (from: string, to: string) => inNamespace(from, "ping", "-c1", "-W2", to).code === 0;
        const mark = (value: string) => {
          inRouter(tool, "-t", "mangle", "-F", "PREROUTING");
          inRouter(tool, "-t", "mangle", "-A", "PREROUTING", "-i", "lan0", "-j", "MARK", "--set-xmark", value);
        };
        assert.ok(ping(client, toServer), "plain forwarding works");

        up("--lan", "lan0", "--eface", "wan0");
        mark("0x10/0xffffffff");
        assert.ok(!ping(client, toServer), "INSPECT goes to the queue, where nobody listens");
        mark("0x0/0xffffffff");
        assert.ok(!ping(client, toServer), "and so does what eBPF has not seen at all");
        assert.ok(ping(client, family === "4" ? "10.9.1.1" : "fd09:1::1"), "what is for the router itself passes");
        // Echo replies are in REPLY direction of a connection from outside. The bit outside of the mask is still there afterwards.
        mark("0x110/0xffffffff");
        inRouter(tool, "-A", "FORWARD", "-i", "lan0", "-m", "mark", "--mark", "0x130", "-j", "ACCEPT");
        assert.ok(ping(server, toClient), "replies to connections from outside pass");
        assert.match(inRouter(tool, "-nvxL", "FORWARD").out, /^\s*1\s+\d+\s+ACCEPT .*mark match 0x130/m);
        mark("0x30/0xffffffff");
        assert.ok(ping(client, toServer), "ALLOW passes");
        mark("0x20/0xffffffff");
        assert.ok(ping(client, toServer), "PENDING passes (the gate decides)");

        // The user's filter table still decides after an accept.
        inRouter(tool, "-I", "FORWARD", "-i", "lan0", "-j", "DROP");
        mark("0x30/0xffffffff");
        assert.ok(!ping(client, toServer), "the filter table still has its say");
        inRouter(tool, "-F", "FORWARD");

        up("--lan", "lan0", "--eface", "wan0", "--fail-mode", "open");
        mark("0x10/0xffffffff");
        assert.ok(ping(client, toServer), "fail mode open: a queue without a listener lets pass");
        assertOk(setup("down"));
        mark("0x10/0xffffffff");
        assert.ok(ping(client, toServer), "down leaves no rule behind");
        inRouter(tool, "-t", "mangle", "-F", "PREROUTING");
      }
    });

    test("packets: --masquerade hides the client, in both families", () => {
      up("--lan", "lan0", "--eface", "wan0", "--masquerade");
      // What eBPF would have allowed.
      add("-t mangle -A PREROUTING -i lan0 -j MARK --set-xmark 0x30/0x30");
      for (const [tool, to, source] of [
        ["iptables", "10.9.2.2", "10.9.2.1"],
        ["ip6tables", "fd09:2::2", "fd09:2::1"],
      ] as const) {
        const match = ["INPUT", "-s", source];
        inNamespace(server, `${tool}-${kind}`, "-A", ...match);
        assert.equal(inNamespace(client, "ping", "-c1", "-W2", to).code, 0);
        assert.match(
          inNamespace(server, `${tool}-${kind}`, "-nvxL", "INPUT").out,
          new RegExp(`^\\s*1\\s.*${source}`, "m"),
        );
        inNamespace(server, `${tool}-${kind}`, "-D", ...match);
      }
    });
  });
}

describe("nftables rules that iptables can't show, in its own tables", () => {
  const nft = (...args: string[]) => {
    const result = inRouter("nft", ...args);
    assert.equal(result.code, 0, result.err);
    return result;
  };
  /** Without what trying an extension leaves with nft: tables that hold nothing. */
  const ruleset = () =>
    nft("list", "ruleset")
      .out.replace(/packets \d+ bytes \d+/g, "")
      .replace(/^table ip6? \w+ \{\n\}\n/gm, "");
  const options = ["--lan", "lan0", "--eface", "wan0"];
  const setup = (...args: string[]) => setupWith({ IPTABLES: "iptables-nft" }, ...args);
  const foreign = (family: string, table: string) => {
    nft("add", "table", family, table);
    nft("add", "chain", family, table, "theirs");
    nft("add", "rule", family, table, "theirs", "numgen", "random", "mod", "2", "0", "accept");
  };
  const refused = (result: Result, message: RegExp, before: string) => {
    assert.equal(result.code, 2, result.err);
    assert.match(result.err, message);
    assert.equal(result.err.trim().split("\n").length, 1, result.err);
    assert.equal(ruleset(), before);
  };
  beforeEach(() => {
    nft("flush", "ruleset");
    for (const family of ["", "6"]) {
      for (const table of ["raw", "mangle"]) {
        inRouter(`ip${family}tables-legacy`, "-t", table, "-F");
        inRouter(`ip${family}tables-legacy`, "-t", table, "-X");
      }
    }
  });
  after(() => nft("flush", "ruleset"));

  test("before up: refused. down and status have nothing to do with them", () => {
    foreign("ip6", "mangle");
    const before = ruleset();
    refused(
      setup("up", ...options),
      /ip6tables-nft-save can't show table mangle: .*\(nft list table ip6 mangle\)$/m,
      before,
    );
    assertOk(setup("down"));
    assert.equal(setup("status").code, 1);
    assert.equal(ruleset(), before);
  });

  test("after up: no second jump, no down that leaves rules behind, no wrong status", () => {
    assertOk(setup("up", ...options));
    foreign("ip", "mangle");
    const before = ruleset();
    const message = /^iptables-setup: iptables-nft-save can't show table mangle: .*\(nft list table ip mangle\)$/m;
    refused(setup("up", ...options), message, before);
    refused(setup("down"), message, before);
    refused(setup("status"), message, before);
    // What the line says would be right is right.
    nft("delete", "chain", "ip", "mangle", "theirs");
    assertOk(setup("down"));
    assert.doesNotMatch(ruleset(), /L7EGG/);
  });

  test("in a table that up doesn't need: no matter", () => {
    foreign("ip", "nat");
    assertOk(setup("up", ...options));
    const before = ruleset();
    refused(setup("up", ...options, "--masquerade"), /can't show table nat/, before);
    assertOk(setup("down"));
    assert.doesNotMatch(ruleset(), /L7EGG/);
  });

  test("an earlier up in nft, a new one in legacy: refused before anything is changed", () => {
    assertOk(setup("up", ...options));
    foreign("ip", "mangle");
    const before = ruleset();
    for (const args of [["up", ...options], ["down"]]) {
      refused(setupWith({ IPTABLES: "iptables-legacy" }, ...args), /iptables-nft-save can't show table mangle/, before);
      assert.deepEqual(savedBy("legacy"), []);
    }
    // With nothing of ours there, they are none of our business.
    nft("flush", "ruleset");
    foreign("ip", "mangle");
    assertOk(setupWith({ IPTABLES: "iptables-legacy" }, "up", ...options));
    assertOk(setupWith({ IPTABLES: "iptables-legacy" }, "down"));
  });
});

test("somebody holds the lock: refused after a while, with their pid", () => {
  const hold =
    'mount -t tmpfs none /run && { flock -n 9 && echo $$ >&9 && nsenter --net=/proc/self/ns/net bash "$0" status 9>&-; } 9>/run/l7egg-iptables.lock';
  const holder = ["unshare", "--mount", "--propagation", "private", "sh", "-c", `echo $$; ${hold}`, script];
  const { code, out, err } = inRouter(...holder);
  assert.equal(code, 2);
  assert.equal(
    err,
    `iptables-setup: pid ${out.trim()} has held /run/l7egg-iptables.lock for 20 s: wait for its end, or end it\n`,
  );
});

test("iptables that isn't there: one line", () => {
  const result = setupWith({ IPTABLES: "iptables-nowhere" }, "up", "--lan", "lan0", "--eface", "wan0");
  assert.equal(result.code, 2);
  assert.equal(
    result.err,
    "iptables-setup: iptables-nowhere is not installed (Debian, Ubuntu: apt-get install iptables)\n",
  );
});

test("--help explains every option that the script knows", () => {
  const { code, out } = setupWith({}, "--help");
  assert.equal(code, 0);
  for (const option of "lan eface iface own queues mark-mask mode fail-mode masquerade name pin-dir dry-run".split(
    " ",
  )) {
    assert.match(out, new RegExp(`^ +--${option}\\b`, "m"));
  }
});

/** In the router: from sixteen addresses of each family to a closed port of the server; which pairs of hosts met which queues, and how often. */
const pairsByQueue = `
  import { spawn } from "node:child_process";
  const { native, Meta, META_STRIDE } = await import(${JSON.stringify(new URL("../../src/native/index.ts", import.meta.url).href)});
  const seen = {};
  const queues = [11, 12, 13].map((number) => {
    const queue = native.openQueue({ queue: number }, (count, meta, data) => {
      for (let i = 0; i < count; i++) {
        const at = meta[i * META_STRIDE + Meta.offset];
        const [from, length] = data[at] >> 4 === 4 ? [12, 4] : [8, 16];
        const host = (n) => data.subarray(at + from + n * length, at + from + (n + 1) * length).toString("hex");
        const pair = [host(0), host(1)].sort().join(" ");
        seen[pair] ??= {};
        seen[pair][number] = (seen[pair][number] ?? 0) + 1;
        queue.verdict(meta[i * META_STRIDE + Meta.id], "accept");
      }
    });
    return queue;
  });
  const connect = \`
    import { connect } from "node:net";
    for (let host = 10; host < 26; host++)
      for (const [own, server] of [["10.9.1." + host, "10.9.2.2"], ["fd09:1::" + host, "fd09:2::2"]])
        await new Promise((done) => connect({ host: server, port: 9, localAddress: own }).on("error", done));
  \`;
  await new Promise((done) => spawn("nsenter", ["--net=/run/netns/${client}", process.execPath, "--input-type=module", "-e", connect]).on("exit", done));
  for (const queue of queues) queue.close();
  console.log(JSON.stringify(seen));
`;

function setupWith(env: Readonly<Record<string, string>>, ...args: string[]): Result {
  return run("nsenter", [`--net=/run/netns/${router}`, "bash", script, ...args], { ...process.env, ...env });
}

function inRouter(...command: string[]): Result {
  return inNamespace(router, ...command);
}

function inNamespace(name: string, ...command: string[]): Result {
  return run("nsenter", [`--net=/run/netns/${name}`, ...command], process.env);
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Result {
  const result = spawnSync(command, args, { encoding: "utf8", env, timeout: 60_000 });
  return { code: result.status, out: result.stdout, err: result.stderr };
}

function must(...command: [string, ...string[]]): void {
  assertOk(run(command[0], command.slice(1), process.env));
}

function assertOk(result: Result): Result {
  assert.equal(result.code, 0, result.err + result.out);
  assert.equal(result.err, "");
  return result;
}

/** iptables-save and ip6tables-save, without what changes by itself (times, counters), without tables that hold nothing. */
function savedBy(kind: string): string[] {
  return ["", "6"].flatMap((family) => {
    const lines = inRouter(`ip${family}tables-${kind}-save`).out.split("\n");
    return lines
      .filter((line) => line !== "" && !line.startsWith("#") && line !== "COMMIT")
      .filter((line) => !/^\*|^:[A-Z]+ ACCEPT/.test(line))
      .map((line) => line.replace(/ \[\d+:\d+\]$/, ""));
  });
}

function rulesOf(kind: string, family: string, table: string): string[] {
  return inRouter(`ip${family}tables-${kind}-save`, "-t", table)
    .out.split("\n")
    .filter((line) => line.startsWith("-A"));
}

/** What status says beside the rules that it lists: the problems, and its last line. */
function problemsOf(result: Result): string[] {
  assert.equal(result.err, "");
  return result.out.split("\n").filter((line) => line !== "" && !/^IPv[46] /.test(line));
}

/** A folder with an iptables whose IPv6 half passes every try-out and then fails. */
function failingIp6Restore(kind: string): string {
  return shimmed(
    kind,
    "6",
    "-restore",
    (real) =>
      `case "$*" in *--test*) ${real} ;; esac\ngrep -- '-A L7EGG-TRY' - >/dev/null && exit 0\necho no such luck >&2\nexit 1`,
  );
}

/** A folder with an iptables of this kind, one program of which is another shell script; `real` is the line that would call the real one. */
function shimmed(kind: string, family: string, part: string, body: (real: string) => string): string {
  const folder = mkdtempSync(join(scratch, "shims-"));
  for (const each of ["", "6"]) {
    for (const end of ["", "-save", "-restore"]) {
      const real = `exec ip${each}tables-${kind}${end} "$@"`;
      const path = join(folder, `ip${each}tables${end}`);
      writeFileSync(path, `#!/bin/sh\n${each === family && end === part ? body(real) : real}\n`);
      chmodSync(path, 0o755);
    }
  }
  return folder;
}

/** An object whose socket filter `output` sends everything to the queue: the rules are tried here, not the classifier. */
function compileOutput(): string {
  const path = join(scratch, "output.o");
  const source = `__attribute__((section("socket"), used)) int output(void *skb) { return 1; }`;
  const clang = spawnSync("clang", ["-O2", "-target", "bpf", "-c", "-x", "c", "-", "-o", path], { input: source });
  assert.equal(clang.status, 0, String(clang.stderr));
  return path;
}

function cleanUp(): void {
  for (const name of [router, client, server]) spawnSync("ip", ["netns", "del", name]);
  rmSync(scratch, { recursive: true, force: true });
}
