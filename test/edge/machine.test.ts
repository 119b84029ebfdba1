/** Small readers of what the machine says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientBy } from "../../src/core/abi.generated.js";
import { parseAddr } from "../../src/core/net/address.js";
import type { Addr } from "../../src/core/net/address.js";
import { clientText } from "../../src/edge/clientText.js";
import { clientOf } from "../../src/edge/clients.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { parseFlowtables, shares } from "../../src/edge/flowtables.js";
import { Interfaces } from "../../src/edge/interfaces.js";
import { featureProblems, hasProgram, queueOwner } from "../../src/edge/preflight.js";
import { missingCapabilities } from "../../src/edge/privileges.js";
import { defaultResolvers, nameservers } from "../../src/edge/resolvers.js";
import { mergeCounters } from "../../src/edge/status.js";

test("nameservers of resolv.conf", () => {
  const text =
    "# nameserver 192.0.2.9\nsearch x.io\nnameserver 192.0.2.1\n nameserver\tfe80::1%eth0\nnameserver nonsense\nnameserver 2001:DB8::1\n";
  assert.deepEqual(nameservers(text), ["192.0.2.1", "fe80::1", "2001:db8::1"]);
});

test("default resolvers: resolv.conf, what a stub asks, this box; each once", () => {
  const files: Record<string, string> = {
    "/etc/resolv.conf": "nameserver 127.0.0.53\n",
    "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.1\nnameserver 127.0.0.1\n",
  };
  const box = ["127.0.0.1", "192.0.2.7"].map((text) => parseAddr(text) as Addr);
  assert.deepEqual(
    defaultResolvers(box, (path) => files[path] ?? ""),
    ["127.0.0.53", "192.0.2.1", "127.0.0.1", "192.0.2.7"],
  );
  files["/etc/resolv.conf"] = "nameserver 192.0.2.9\n";
  assert.deepEqual(
    defaultResolvers([], (path) => files[path] ?? ""),
    ["192.0.2.9"],
  );
});

test("who holds a queue", () => {
  const text = `    0 ${process.pid}     0 2 65531     0     0        5  1\n   17  4294967295 0 2 65531 0 0 5 1\n`;
  assert.match(queueOwner(0, text) as string, new RegExp(`^another process \\(pid ${process.pid}, .+\\)$`));
  assert.equal(queueOwner(17, text), "another process (netlink port 4294967295)");
  assert.equal(queueOwner(1, text), undefined);
  assert.equal(queueOwner(0, ""), undefined);
});

test("what a kernel lacks: one line each; what could not be told is tried", () => {
  const all = { bpf: "yes", tcx: "yes", btf: "yes", ringbuf: "yes", lpmTrie: "yes", batchOps: "yes", nfqueue: "yes", transparent: "yes", bpfLoop: "yes", fibLookup: "yes" } as const; // prettier-ignore
  assert.deepEqual(featureProblems(all, "tcx"), []);
  assert.deepEqual(featureProblems({ ...all, btf: "no", batchOps: "no", tcx: "no", bpf: "unknown" }, "auto"), []);
  assert.deepEqual(featureProblems({ ...all, tcx: "no", nfqueue: "no", ringbuf: "no" }, "tcx"), [
    "this kernel lacks the eBPF ring buffer (5.8 and later)",
    "this kernel lacks NFQUEUE (CONFIG_NETFILTER_NETLINK_QUEUE)",
    "--attach tcx: this kernel lacks TCX links (6.6 and later)",
  ]);
});

test("without eBPF one line says it; a process's capabilities", () => {
  const none = { bpf: "no", tcx: "unknown", btf: "no", ringbuf: "no", lpmTrie: "no", batchOps: "unknown", nfqueue: "yes", transparent: "yes", bpfLoop: "unknown", fibLookup: "unknown" } as const; // prettier-ignore
  assert.deepEqual(featureProblems(none, "auto"), [
    "this kernel lacks eBPF programs on TC (CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF)",
  ]);
  const bits = (...set: number[]) => `Name:\tx\nCapEff:\t${set.reduce((all, bit) => all | (1n << BigInt(bit)), 0n).toString(16).padStart(16, "0")}\n`; // prettier-ignore
  assert.deepEqual(missingCapabilities(bits(12, 13, 38, 39)), []);
  assert.deepEqual(missingCapabilities(bits(12, 13, 21)), [], "CAP_SYS_ADMIN holds both");
  assert.deepEqual(missingCapabilities(bits(12, 13, 39)), ["CAP_PERFMON"]);
  assert.deepEqual(missingCapabilities(bits(11, 14, 20, 37, 40)), [
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_BPF",
    "CAP_PERFMON",
  ]);
});

test("nftables flowtables: which devices, in software or hardware", () => {
  const text = `table inet a {
	flowtable soft {
		hook ingress priority filter
		devices = { lan0, wan0 }
	}
	flowtable hard {
		hook ingress priority filter + 5
		devices = { "eth1.7" }
		flags offload
		counter
	}
}
table ip b {
	flowtable empty {
		hook ingress priority 0
	}
}
`;
  const tables = parseFlowtables(text);
  assert.deepEqual(tables, [
    { name: "soft", devices: ["lan0", "wan0"], hardware: false },
    { name: "hard", devices: ["eth1.7"], hardware: true },
    { name: "empty", devices: [], hardware: false },
  ]);
  assert.deepEqual(
    tables.map((table) => shares(table, ["wan0", "eth1"])),
    [true, false, false],
  );
  assert.deepEqual(parseFlowtables(""), []);
});

test("programs in the PATH", () => {
  assert.equal(hasProgram("sh"), true);
  assert.equal(hasProgram("no-such-program-l7egg"), false);
});

test("links and addresses by rtnetlink: the loopback interface is there", async () => {
  const interfaces = new Interfaces();
  const lo = (await interfaces.links()).find((link) => link.name === "lo");
  assert.deepEqual(lo && { ...lo, up: true }, { name: "lo", index: 1, ethernet: true, loopback: true, up: true });
  const addresses = await interfaces.addresses();
  assert.ok(addresses.includes(parseAddr("127.0.0.1") as Addr));
  interfaces.close();
});

test("a client by MAC, by address, by interface, and as text", () => {
  const v4 = Buffer.alloc(20);
  v4[0] = 0x45;
  v4.set([192, 0, 2, 5], 12);
  const v6 = Buffer.alloc(40);
  v6[0] = 0x60;
  v6.set(Buffer.from("20010db8000000000000000000000007", "hex"), 8);
  const hex = (client: string | undefined) => Buffer.from(client as string, "latin1").toString("hex");
  const lan = (clientBy: number) => new Map([[0x01020304, { ifindex: 0x01020304, policy: 1, clientBy, l3: false }]]);

  const mac = clientOf(ClientBy.MAC, 0x01020304, v4, true, 0xff03fe02, 0x0605);
  assert.equal(hex(mac), "04030201" + "0000" + "02fe03ff0506" + "00000000");
  assert.equal(clientText(mac as string, lan(ClientBy.MAC)), "02:fe:03:ff:05:06");
  assert.equal(clientOf(ClientBy.MAC, 4, v4, false, 0, 0), undefined);

  const by4 = clientOf(ClientBy.ADDRESS, 4, v4, false, 0, 0);
  assert.equal(hex(by4), "00000000000000000000ffffc0000205");
  assert.equal(clientText(by4 as string, lan(ClientBy.ADDRESS)), "192.0.2.5");
  const by6 = clientOf(ClientBy.ADDRESS, 4, v6, false, 0, 0);
  assert.equal(clientText(by6 as string, lan(ClientBy.ADDRESS)), "2001:db8::7");
  assert.equal(clientOf(ClientBy.ADDRESS, 4, v4.subarray(0, 19), false, 0, 0), undefined);
  assert.equal(clientOf(ClientBy.ADDRESS, 4, Buffer.alloc(0), false, 0, 0), undefined);

  const box = clientOf(ClientBy.INTERFACE, 0, v4, false, 0, 0);
  assert.equal(hex(box), "0".repeat(32));
  assert.equal(
    clientText(box as string, new Map([[0, { ifindex: 0, policy: 1, clientBy: ClientBy.INTERFACE, l3: false }]])),
    "this box",
  );
});

test("the clock is CLOCK_MONOTONIC, in milliseconds", async () => {
  const { readFileSync } = await import("node:fs");
  // /proc/uptime counts suspend, too, and has centiseconds: close enough on a machine that doesn't sleep.
  const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
  assert.ok(Math.abs(monotonicMs() - uptime) < 5000, `${monotonicMs()} and ${uptime}`);
});

test("counters of the kernel and of user space are one list", () => {
  const kernel = new Map([[34, { packets: 2, bytes: 100 }]]);
  assert.deepEqual(mergeCounters(kernel, { 34: { packets: 1, bytes: 50 }, 5: { packets: 9, bytes: 0 } }), [
    { reason: "allow-name", packets: 9, bytes: 0 },
    { reason: "unlearned", packets: 3, bytes: 150 },
  ]);
});
