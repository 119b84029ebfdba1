import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { native } from "../../src/native/index.js";
import { namespace, succeeds } from "./place.js";

const inside = namespace();
inside.run("ip", "addr", "add", "fd00::1/128", "dev", "lo", "nodad");

describe("raw sender", () => {
  test("IPv4 and IPv6 packets arrive as written, with the sender's mark", async () => {
    inside.run(
      "iptables",
      "-A",
      "OUTPUT",
      "-p",
      "udp",
      "--dport",
      "9001",
      "-m",
      "mark",
      "!",
      "--mark",
      "0x77",
      "-j",
      "DROP",
    );
    inside.run(
      "ip6tables",
      "-A",
      "OUTPUT",
      "-p",
      "udp",
      "--dport",
      "9001",
      "-m",
      "mark",
      "!",
      "--mark",
      "0x77",
      "-j",
      "DROP",
    );
    await succeeds(
      `
      import dgram from "node:dgram";
      const heard = [];
      for (const type of ["udp4", "udp6"]) {
        const socket = dgram.createSocket({ type, ipv6Only: type === "udp6" });
        socket.on("message", (bytes, from) => heard.push([bytes.toString(), from.address, from.port]));
        await new Promise((resolve) => socket.bind(9001, resolve));
      }
      const six = (text) => {
        const to = Buffer.from("fd000000000000000000000000000001", "hex");
        const packet = Buffer.concat([Buffer.from([0x60, 0, 0, 0, 0, 8 + text.length, 17, 64]), to, to, udp(9001, text).subarray(20)]);
        const pseudo = Buffer.concat([to, to, Buffer.from([0, 0, 0, 8 + text.length, 0, 0, 0, 17]), packet.subarray(40)]);
        packet.writeUInt16BE(sum(pseudo), 46);
        return packet;
      };
      const unmarked = native.openRawSender();
      for (const packet of [udp(9001, "unmarked"), six("unmarked")]) {
        // A drop in OUTPUT is the sender's EPERM.
        try { unmarked.send(packet); } catch (error) { assert.equal(error.code, "EPERM"); }
      }
      const marked = native.openRawSender(0x77);
      marked.send(udp(9001, "four"));
      marked.send(six("six"));
      marked.send(udp(9001, "by interface"), 1);
      marked.send(six("six by interface"), 1);
      for (let i = 0; i < 200 && heard.length < 4; i++) await sleep(5);
      const [f, s] = ["127.0.0.1", "fd00::1"];
      assert.deepEqual(heard.map(([text, from]) => text + " " + from).sort(), ["by interface " + f, "four " + f, "six by interface " + s, "six " + s]);
      assert.ok(heard.every((one) => one[2] === 4444));
      process.exit(0);
      `,
      { in: inside },
    );
  });

  test("what the kernel refuses is a SystemError, what is no packet a RangeError", async () => {
    await succeeds(
      `
      const sender = native.openRawSender();
      const nowhere = udp(9, "x");
      nowhere.set([203, 0, 113, 1], 16);
      assert.throws(() => sender.send(nowhere), { code: "ENETUNREACH", operation: "send raw packet" });
      assert.throws(() => sender.send(udp(9, "x"), 99), { name: "SystemError", code: "ENODEV" });
      assert.throws(() => sender.send(udp(9, "x".repeat(65507 + 10))), RangeError);
      process.setuid(65534);
      assert.throws(() => native.openRawSender(), { code: "EPERM", operation: "open raw socket" });
      `,
      { in: inside },
    );
    const sender = native.openRawSender();
    for (const bad of [Buffer.alloc(0), Buffer.alloc(19, 0x45), Buffer.alloc(39, 0x60), Buffer.alloc(60, 0x50)]) {
      assert.throws(() => sender.send(bad), /RangeError: packet must begin with an IPv4 or IPv6 header/);
    }
    assert.throws(() => sender.send("x" as never), /TypeError: packet/);
    assert.throws(() => native.openRawSender(-1), /RangeError: mark/);
    sender.close();
  });
});

describe("transparent sockets", () => {
  test("TCP: a connection to an address that is not this box's arrives by TPROXY, under its own destination", async () => {
    inside.run("ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo");
    inside.run(
      "iptables",
      "-t",
      "mangle",
      "-A",
      "PREROUTING",
      "-p",
      "tcp",
      "--dport",
      "80",
      "-j",
      "TPROXY",
      "--on-port",
      "8080",
      "--on-ip",
      "127.0.0.1",
    );
    await succeeds(
      `
      import net from "node:net";
      const fd = native.openTransparentSocket({ type: "tcp", family: 4, address: "127.0.0.1", port: 8080 });
      const server = net.createServer((socket) => socket.end(socket.localAddress + ":" + socket.localPort));
      await new Promise((resolve) => server.listen({ fd }, resolve));
      const answer = await new Promise((resolve, reject) => {
        let text = "";
        net.connect(80, "203.0.113.5").on("data", (part) => (text += part)).on("end", () => resolve(text)).on("error", reject);
      });
      assert.equal(answer, "203.0.113.5:80");
      server.close();
      `,
      { in: inside },
    );
  });

  test("both types and families bind to foreign addresses; a taken TCP port is EADDRINUSE", async () => {
    await succeeds(
      `
      for (const type of ["tcp", "udp"]) {
        for (const [family, address] of [[4, "198.51.100.7"], [6, "2001:db8::7"]]) {
          const options = { type, family, address, port: 5353 };
          const fd = native.openTransparentSocket(options);
          assert.ok(fd > 2);
          // Datagram sockets share a port on purpose: the one that hears, and those that answer from the address that was asked.
          if (type === "tcp") assert.throws(() => native.openTransparentSocket(options), { code: "EADDRINUSE" });
          else native.closeFd(native.openTransparentSocket(options));
          native.closeFd(fd);
          assert.throws(() => native.closeFd(fd), { code: "EBADF" });
        }
      }
      process.setuid(65534);
      assert.throws(() => native.openTransparentSocket({ type: "tcp", family: 4, address: "0.0.0.0", port: 0 }), { code: "EPERM", operation: "IP_TRANSPARENT" });
      `,
      { in: inside },
    );
  });

  test("addresses of the other family and no addresses are RangeErrors", () => {
    const open = (family: number, address: string): void =>
      void native.openTransparentSocket({ type: "tcp", family: family as 4, address, port: 1 });
    assert.throws(() => open(4, "::1"), /address must be an IPv4 address, not ::1/);
    assert.throws(() => open(6, "127.0.0.1"), /IPv6/);
    assert.throws(() => open(5, "127.0.0.1"), RangeError);
    assert.throws(() => open(6, "fe80::1%lo"), RangeError);
    assert.throws(() => open(4, ""), RangeError);
    assert.throws(() => native.closeFd(2), /RangeError: fd must be an integer from 3/);
  });
});

test("probe: three answers, and without privilege it says that it could not tell", async () => {
  const answers = native.probe();
  assert.deepEqual(Object.keys(answers).sort(), [
    "batchOps",
    "bpf",
    "bpfLoop",
    "btf",
    "fibLookup",
    "lpmTrie",
    "nfqueue",
    "ringbuf",
    "tcx",
    "transparent",
  ]);
  // What the other tests of this folder used is there.
  for (const feature of ["bpf", "ringbuf", "lpmTrie", "nfqueue", "transparent"] as const)
    assert.equal(answers[feature], "yes", feature);
  await succeeds(`
    native.possibleCpus();
    process.setuid(65534);
    const answers = native.probe();
    for (const feature of ["bpf", "tcx", "bpfLoop", "fibLookup", "nfqueue", "transparent"]) assert.equal(answers[feature], "unknown", feature);
  `);
});
