/**
 * A client that plays tricks with TCP and IP. Each trick is tried by plain forwarding first: there it works, so that its failure
 * is the gateway's doing. `allowed` and `denied` share an address, the case in which a decoy would pay.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Agent } from "../lab/agent.js";
import type { RawOpenArgs, RawReply, RawSegment } from "../lab/agent/raw.js";
import { Gateway } from "../lab/gateway.js";
import { clientHello, hello, isServerHello } from "../lab/hello.js";
import { buildLab, type Lab } from "../lab/lab.js";
import { server } from "../lab/plan.js";
import { ip, tcp } from "../lab/packets.js";
import { dig } from "../lab/tools.js";

const allowed = "one.shared.example";
const denied = "two.shared.example";
const shared = server(30);

interface Trick {
  readonly what: string;
  readonly open?: Partial<RawOpenArgs>;
  readonly segments: readonly RawSegment[];
}

/** Ways to say one hello: they must get the verdict of the whole hello in one packet. */
function ways(name: string): Trick[] {
  const whole = hello(name);
  const middle = whole.indexOf(name) + 4;
  const cut = (at: number) => [
    { at: 0, data: whole.subarray(0, at) },
    { at, data: whole.subarray(at) },
  ];
  return [
    { what: "whole", segments: [{ at: 0, data: whole }] },
    { what: "split inside the name", segments: cut(middle) },
    { what: "split inside the record header", segments: cut(3) },
    { what: "last part first", segments: cut(middle).reverse() },
    { what: "segments of one byte", segments: [...whole].map((byte, at) => ({ at, data: Uint8Array.of(byte) })) },
    { what: "segments of seven bytes, backwards", segments: pieces(whole, 7).reverse() },
    { what: "records of one byte", segments: [{ at: 0, data: clientHello({ names: [name], recordSize: 1 }) }] },
    {
      what: "records of twenty bytes in segments of nine",
      segments: pieces(clientHello({ names: [name], recordSize: 20 }), 9),
    },
    { what: "with the ACK of the handshake", open: { ackData: whole }, segments: [] },
    { what: "in the SYN and again after it", open: { synData: whole }, segments: [{ at: 0, data: whole }] },
    {
      what: "overlapping segments that agree",
      segments: [
        { at: 0, data: whole.subarray(0, 60) },
        { at: 30, data: whole.subarray(30) },
      ],
    },
    {
      what: "sent twice",
      segments: [
        { at: 0, data: whole },
        { at: 0, data: whole },
      ],
    },
    {
      what: "lost on its way and sent again",
      segments: [
        { at: 0, data: whole, ttl: 2 },
        { at: 0, data: whole, afterMs: 30 },
      ],
    },
    { what: "IP fragments", segments: [{ at: 0, data: whole, fragment: 64 }] },
    { what: "IP fragments, last first", segments: [{ at: 0, data: whole, fragment: 64, reverse: true }] },
    { what: "4 KiB of it", segments: pieces(clientHello({ names: [name], padding: 4_000 }), 1_300) },
  ];
}

/** Ways to let the gateway see an allowed hello and the server a denied one. */
function decoys(): Trick[] {
  const good = hello(allowed);
  const bad = hello(denied);
  const at = good.indexOf(allowed);
  assert.equal(good.length, bad.length, "the two names are of one length");
  const md5 = Buffer.from([19, 18, ...Array<number>(16).fill(7), 1, 1]);
  const decoy = (what: string, how: Partial<RawSegment>, open?: Partial<RawOpenArgs>): Trick => ({
    what,
    ...(open ? { open } : {}),
    segments: [
      { at: 0, data: good, ...how },
      { at: 0, data: bad, afterMs: 30 },
    ],
  });
  return [
    decoy("decoy that dies on this router (TTL 1)", { ttl: 1 }),
    decoy("decoy that dies on the next router (TTL 2)", { ttl: 2 }),
    decoy("decoy with a bad checksum", { badChecksum: true }),
    decoy("decoy with an MD5 option", { options: md5 }),
    decoy("decoy without ACK", { flags: "P" }),
    decoy("decoy before the window", { at: -70_000 }),
    decoy("decoy behind the window", { at: 500_000 }),
    decoy("decoy with an old timestamp", { timestampDelta: -500_000 }, { timestamps: true }),
    {
      what: "half a decoy, then the whole",
      segments: [
        { at, data: good.subarray(at), ttl: 2 },
        { at: 0, data: bad, afterMs: 30 },
      ],
    },
    {
      what: "decoy in halves",
      segments: [
        { at: 0, data: good.subarray(0, at), ttl: 2 },
        { at, data: good.subarray(at), ttl: 2 },
        { at: 0, data: bad.subarray(0, at), afterMs: 30 },
        { at, data: bad.subarray(at) },
      ],
    },
    {
      what: "RST that dies on the next router, then the hello",
      segments: [
        { at: 0, data: new Uint8Array(), flags: "R", ttl: 2 },
        { at: 0, data: bad },
      ],
    },
    {
      what: "FIN that dies on the next router, then the hello",
      segments: [
        { at: 0, data: new Uint8Array(), flags: "FA", ttl: 2 },
        { at: 0, data: bad },
      ],
    },
    {
      what: "SYN-ACK from the client, then the hello",
      segments: [
        { at: -1, data: new Uint8Array(), flags: "SA", ttl: 2 },
        { at: 0, data: bad },
      ],
    },
    {
      what: "a second SYN, so that the decoy ends where the stream begins",
      segments: [
        { at: -good.length - 1, data: new Uint8Array(), flags: "S" },
        { at: -good.length, data: good, afterMs: 30 },
        { at: 0, data: bad, afterMs: 30 },
      ],
    },
    {
      what: "another SYN that dies on the next router, then the hello",
      segments: [
        { at: 99, data: good, flags: "S", ttl: 2 },
        { at: 0, data: bad },
      ],
    },
  ];
}

/** `fast`: past netfilter. `queues`: of a range, workers judge. */
export function tricksWithTcp(fast: boolean, queues: string): void {
  describe(`tricks with TCP and IP, ${fast ? "past" : "through"} netfilter, queues ${queues}`, () => {
    let lab: Lab;
    let agent: Agent;
    let gateway: Gateway;
    const plain = new Map<string, boolean>();

    const attempt = async (trick: Trick, family: 4 | 6, waitMs: number): Promise<RawReply> => {
      const [local, remote] = family === 4 ? [lab.client.v4, shared.v4] : [lab.client.v6, shared.v6];
      const opened = await agent.call("rawOpen", { local, remote, port: 443, ...trick.open });
      // A hello in the SYN is judged there.
      if (opened.state === "refused" && trick.open?.synData)
        return { data: new Uint8Array(), reset: true, fin: false, acked: 0 };
      assert.equal(opened.state, "open", `${trick.what}: the handshake`);
      await agent.call("rawSend", { id: opened.id, segments: trick.segments });
      const reply = await agent.call("rawReceive", { id: opened.id, bytes: 6, timeoutMs: waitMs });
      await agent.call("rawClose", { id: opened.id });
      return reply;
    };
    const key = (trick: Trick, family: 4 | 6) => `${trick.what} ${family}`;

    before(async () => {
      // No NAT: conntrack would send segments outside the window on with the client's own address, and such a trick would spoil itself.
      lab = await buildLab({ hop: true, masquerade: false });
      agent = await lab.client.agent();
      for (const family of [4, 6] as const) {
        for (const trick of [...ways(denied), ...decoys()]) {
          plain.set(key(trick, family), isServerHello((await attempt(trick, family, 1_500)).data));
        }
      }
      gateway = await Gateway.start(lab, {
        flags: ["--domain", allowed, "--fast-path", fast ? "auto" : "off", "--queue", queues],
      });
      await gateway.fastPath(fast);
      for (const type of ["A", "AAAA"]) assert.equal((await dig(lab.client, allowed, { type })).answers.length, 1);
    });
    after(async () => {
      const code = await gateway.stop();
      lab.close();
      assert.equal(code, 0, gateway.daemon.stderr);
    });

    for (const family of [4, 6] as const) {
      for (const [i, trick] of ways(allowed).entries()) {
        it(`IPv${family}, ${trick.what}: allowed name passes, denied name doesn't`, async () => {
          const good = await gateway.expect({ verdict: "allow", reason: "allow-name", name: allowed }, () =>
            attempt(trick, family, 1_500),
          );
          assert.ok(isServerHello(good.data), "the allowed one is answered");
          const same = ways(denied)[i] as Trick;
          assert.ok(plain.get(key(same, family)), "by plain forwarding the denied one would have been answered");
          const bad = await gateway.expect({ verdict: "deny", reason: "name-denied", name: denied }, () =>
            attempt(same, family, 250),
          );
          assert.equal(bad.data.length, 0);
        });
      }
      for (const trick of decoys()) {
        it(`IPv${family}, ${trick.what}: the denied hello is not answered`, async () => {
          assert.ok(plain.get(key(trick, family)), "by plain forwarding the denied hello is answered");
          const since = gateway.decisions.length;
          const reply = await attempt(trick, family, 400);
          assert.equal(reply.data.length, 0, `server answered ${reply.data.length} bytes`);
          const address = family === 4 ? shared.v4 : shared.v6;
          await gateway.decision({ verdict: "deny", address, port: 443 }, since);
        });
      }

      it(`IPv${family}: overlapping segments that disagree end the flow`, async () => {
        const good = hello(allowed);
        const bad = hello(denied);
        const middle = good.indexOf(allowed) + allowed.length;
        for (const [first, second] of [
          [good, bad],
          [bad, good],
        ] as const) {
          const trick = {
            what: "overlap",
            segments: [
              { at: 0, data: first.subarray(0, middle) },
              { at: 20, data: second.subarray(20) },
            ],
          };
          const got = await gateway.expect({ verdict: "deny", reason: "overlap" }, () => attempt(trick, family, 300));
          assert.equal(got.data.length, 0);
        }
      });

      it(`IPv${family}: an urgent byte in a hello denies it`, async () => {
        const trick = { what: "urgent", segments: [{ at: 0, data: hello(allowed), flags: "PAU", urgent: 5 }] };
        const got = await gateway.expect({ verdict: "deny", reason: "hello-malformed" }, () =>
          attempt(trick, family, 300),
        );
        assert.equal(got.data.length, 0);
      });

      it(`IPv${family}: a flow that begins in the middle is denied`, async () => {
        const [local, remote] = family === 4 ? [lab.client.v4, shared.v4] : [lab.client.v6, shared.v6];
        const segment = tcp(local, remote, {
          sport: 50_001,
          dport: 443,
          seq: 1_000,
          ack: 1,
          flags: "PA",
          data: hello(allowed),
        });
        await gateway.expect({ verdict: "deny", reason: "mid-flow", address: remote }, () =>
          agent.call("rawPackets", { packets: [ip(local, remote, 6, segment)] }),
        );
      });
    }

    it("the tricks went the way that is tested here", async () => {
      const count = await lab.router.runBare(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]);
      const known = Number(count.stdout);
      // Past netfilter it is asked for what the stack answers itself: DNS, too few hops, fragments.
      assert.ok(fast ? known < 20 : known > 40, `conntrack knows ${known} connections`);
      await gateway.fastPath(fast);
    });

    it("a hello that never ends is denied by its size, and one that drips by its time", async () => {
      const big = clientHello({ names: [allowed], padding: 20_000 });
      const large = await gateway.expect({ verdict: "deny", reason: "hello-too-large" }, () =>
        agent.call("tcp", { address: shared.v4, port: 443, data: big, timeoutMs: 1_500 }),
      );
      assert.equal(large.received.length, 0);
      const since = gateway.decisions.length;
      const id = await agent.call("hold", { address: shared.v4, port: 443 });
      await agent.call("exchange", { id, data: hello(allowed).subarray(0, 40), timeoutMs: 10 });
      await gateway.decision({ verdict: "deny", reason: "hello-timeout", address: shared.v4 }, since, 13_000);
      const end = await agent.call("exchange", { id, data: "", timeoutMs: 500 });
      assert.equal(end.outcome, "reset");
    });
  });
}

function pieces(bytes: Uint8Array, size: number): RawSegment[] {
  const out: RawSegment[] = [];
  for (let at = 0; at < bytes.length; at += size) out.push({ at, data: bytes.subarray(at, at + size) });
  return out;
}
