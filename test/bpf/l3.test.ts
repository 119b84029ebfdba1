/**
 * Interfaces without an Ethernet header (tun, wg, ppp). The kernel's test run always makes an Ethernet frame, so these are real packets
 * through the attached programs.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as abi from "../../src/core/abi.generated.js";
import { native } from "../../src/native/index.js";
import * as whole from "../packets.js";
import { byAddress, Datapath, makeRouter, ownNamespace, u32 } from "./harness.js";
import { ip, optionsHeader, PROTO, TCP, tcp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
const folder = mkdtempSync(join(tmpdir(), "l7egg-tun-"));
execFileSync("cc", ["-O1", "-o", join(folder, "tun"), fileURLToPath(new URL("tun.c", import.meta.url))]);
const tun = spawn(join(folder, "tun"), ["tun0"]);
const sent: string[] = [];
tun.stdout.on("data", (chunk: Buffer) => sent.push(...chunk.toString().trim().split("\n")));
await once(tun.stderr, "data", { signal: AbortSignal.timeout(10_000) });
for (const command of ["link set tun0 up", "addr add 10.5.0.1/24 dev tun0", "addr add fd00:5::1/64 dev tun0 nodad"]) {
  execFileSync("ip", command.split(" "));
}
const [link] = JSON.parse(execFileSync("ip", ["-j", "link", "show", "tun0"], { encoding: "utf8" })) as {
  ifindex: number;
}[];
const ifindex = link!.ifindex;

after(() => {
  tun.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

/** What is counted while `act` is under way, waiting for `packets` of them; but for `ignored`. */
async function counted(
  path: Datapath,
  packets: number,
  act: () => void,
  ignored?: number,
): Promise<Record<string, number>> {
  const total = () => path.counters().reduce((sum, one, reason) => sum + (reason === ignored ? 0 : one.packets), 0);
  const before = path.counters();
  const start = total();
  act();
  for (let i = 0; i < 200 && total() - start < packets; i++) await sleep(10);
  const out: Record<string, number> = {};
  path.counters().forEach((one, reason) => {
    const moved = one.packets - before[reason]!.packets;
    if (moved > 0 && reason !== ignored) out[abi.reasonName(reason)] = moved;
  });
  return out;
}

test("classify on a LAN interface without Ethernet", async () => {
  const path = new Datapath(router);
  path.governed(ifindex, { l3: 1 });
  path.policy(1, abi.Verify.BOTH);
  path.cidr(1, "198.51.100.7", 32, {});
  path.cidr(1, "2001:db8:1::7", 128, {});
  path.name(1, byAddress("10.5.0.10"), "198.51.100.8");
  const attached = native.attachTcx(path.object.program("classify"), ifindex, "ingress");
  const come = (packet: Buffer) => counted(path, 1, () => tun.stdin.write(packet.toString("hex") + "\n"));
  const syn = (src: string, dst: string, extra = {}) =>
    ip({ src, dst, proto: PROTO.TCP, body: tcp({ dport: 443, flags: TCP.SYN }), ...extra });
  assert.deepEqual(await come(syn("10.5.0.10", "198.51.100.7")), { "allow-cidr": 1 });
  assert.deepEqual(await come(syn("10.5.0.10", "198.51.100.8")), { pending: 1 });
  assert.deepEqual(await come(syn("10.5.0.11", "198.51.100.8")), { unlearned: 1 });
  assert.deepEqual(await come(syn("fd00:5::10", "2001:db8:1::7")), { "allow-cidr": 1 });
  const extensions = [optionsHeader(60)];
  assert.deepEqual(await come(syn("fd00:5::10", "2001:db8:1::7", { extensions })), { "allow-cidr": 1 });
  assert.deepEqual(await come(syn("fd00:5::10", "2001:db8:1::8")), { unlearned: 1 });
  assert.deepEqual(await come(syn("10.5.0.10", "10.5.0.1")), { "not-egress": 1 });
  assert.deepEqual(await come(syn("10.5.0.10", "198.51.100.7").subarray(0, 30)), { malformed: 1 });
  // No MAC to know a client by: nothing is learned for it.
  path.governed(ifindex, { l3: 1, clientBy: abi.ClientBy.MAC });
  assert.deepEqual(await come(syn("10.5.0.10", "198.51.100.8")), { unlearned: 1 });
  attached.close();
  path.object.close();
});

test("gate on an eface without Ethernet: this box's own datagrams", async () => {
  const path = new Datapath(router);
  path.put("egress", u32(ifindex), u32(1));
  path.governed(0);
  path.policy(1, abi.Verify.BOTH);
  path.portSet(1, [{ proto: PROTO.UDP, verdict: abi.Verdict.ALLOW, low: 7000, high: 7000, rule: 0 }]);
  path.cidr(1, "10.5.0.7", 32, { verdict: abi.Verdict.NONE, strict: 1, ports: 1 });
  path.cidr(1, "fd00:5::7", 128, { verdict: abi.Verdict.NONE, strict: 1, ports: 1 });
  const gate = native.attachTcx(path.object.program("gate"), ifindex, "egress");
  const watch = native.attachTcx(path.object.program("watch"), ifindex, "ingress");
  for (const [type, inside, outside] of [
    ["udp4", "10.5.0.7", "10.5.0.8"],
    ["udp6", "fd00:5::7", "fd00:5::8"],
  ] as const) {
    const socket = createSocket(type);
    // Whatever fails below, an open socket must not keep this process alive.
    socket.unref();
    socket.bind(5555);
    await once(socket, "listening");
    sent.length = 0;
    const send = () => {
      socket.send("denied", 7001, inside);
      socket.send("unknown", 7000, outside);
      socket.send("allowed", 7000, inside);
    };
    // The kernel sends router solicitations and multicast reports of its own whenever it likes.
    const results = await counted(path, 3, send, abi.Reason.NOT_EGRESS);
    assert.deepEqual(results, { port: 1, "not-inspected": 1, "allow-cidr": 1 });
    for (let i = 0; i < 100 && !sent.some((hex) => hex.endsWith(hexOf("allowed"))); i++) await sleep(10);
    const payloads = sent.filter((hex) =>
      [hexOf("allowed"), hexOf("denied"), hexOf("unknown")].some((end) => hex.endsWith(end)),
    );
    assert.equal(payloads.length, 1);
    // The answer is counted in the flow that the gate made.
    const self = type === "udp4" ? "10.5.0.1" : "fd00:5::1";
    const answer = whole.udp({ src: inside, dst: self }, { sport: 7000, dport: 5555 }, Buffer.from("answer"));
    const arrived = once(socket, "message", { signal: AbortSignal.timeout(10_000) });
    tun.stdin.write(Buffer.from(answer).toString("hex") + "\n");
    assert.equal(String((await arrived)[0]), "answer");
    const key = { policy: 1, src: byAddress(self), dst: byAddress(inside), proto: PROTO.UDP, sport: 5555, dport: 7000 };
    for (let i = 0; i < 100 && path.getFlow(key)?.replyPackets !== 1n; i++) await sleep(10);
    assert.equal(path.getFlow(key)?.replyPackets, 1n);
    socket.close();
  }
  gate.close();
  watch.close();
  path.object.close();
});

function hexOf(text: string): string {
  return Buffer.from(text).toString("hex");
}
