/** An engine that judges all but DNS, on names that another one learned. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import dnsPacket from "dns-packet";
import { CommandList } from "../../../src/core/engine/commandList.js";
import { LearnedTable, type LearnedEntry } from "../../../src/core/engine/learned.js";
import { clientHello, tcp, udp } from "../../packets.js";
import { addr, CLIENT, CLIENT_ID, Playbook, RESOLVER, SITE } from "./playbook.js";

const site = { src: CLIENT, dst: SITE };
const hello = clientHello(["www.x.io"]);
const question = dnsPacket.encode({
  type: "query",
  id: 7,
  flags: dnsPacket.RECURSION_DESIRED,
  questions: [{ type: "A", name: "www.x.io", class: "IN" }],
});

function play(): { play: Playbook; learned: LearnedTable } {
  const learned = new LearnedTable(10);
  return { learned, play: new Playbook({}, {}, { learned }) };
}

function learn(learned: LearnedTable, now: number): void {
  const chain = ["www.x.io"];
  const entry = { policy: 1, client: CLIENT_ID, address: addr(SITE), name: "www.x.io", chain, rule: 1, ports: 0 };
  learned.learn({ ...entry, expires: now + 60_000 }, new CommandList());
}

/** Gives one object for every answer, as `KernelNames` does. */
class Lending extends LearnedTable {
  readonly #lent = {} as LearnedEntry;

  override latest(...of: Parameters<LearnedTable["latest"]>): LearnedEntry | undefined {
    const found = super.latest(...of);
    return found && Object.assign(this.#lent, found);
  }

  override binding(...of: Parameters<LearnedTable["binding"]>): LearnedEntry | undefined {
    const found = super.binding(...of);
    return found && Object.assign(this.#lent, found);
  }
}

it("what a flow's address was learned for is its own, whatever was asked of other flows since", () => {
  const learned = new Lending(10);
  const one = new Playbook({}, {}, { learned });
  const other = "198.51.100.8";
  for (const [name, address] of [["www.x.io", SITE], ["a.y.io", other]] as const) {
    const entry = { policy: 1, client: CLIENT_ID, address: addr(address), name, chain: [name], rule: 1, ports: 0 };
    learned.learn({ ...entry, expires: one.now + 60_000 }, new CommandList());
  } // prettier-ignore
  // To each the other one's name, in turns.
  const flows = [
    { ends: site, sport: 1, hello: clientHello(["a.y.io"]) },
    { ends: { src: CLIENT, dst: other }, sport: 2, hello },
  ];
  for (const { ends, sport } of flows) one.packet(tcp(ends, { sport, seq: 999, flags: "S" }));
  one.answer();
  for (const { ends, sport, hello } of flows) one.packet(tcp(ends, { sport, seq: 1000 }, hello.subarray(0, 20)));
  for (const { ends, sport, hello } of flows) one.packet(tcp(ends, { sport, seq: 1020 }, hello.subarray(20)));
  const said = one.all.flatMap((command) =>
    command.type === "decision" ? [`${command.name}: ${command.detail}`] : [],
  );
  assert.deepEqual(said, ["a.y.io: address was learned for www.x.io", "www.x.io: address was learned for a.y.io"]);
  const by = one.all.flatMap((command) => (command.type === "decision" ? [command.by] : []));
  assert.deepEqual(by, [CLIENT_ID, CLIENT_ID], "for whoever must look up a name");
  one.finish();
});

describe("names that another engine learns", () => {
  it("count from the moment that they are there, also amid a connection", () => {
    const { play: one, learned } = play();
    const handshake = () => {
      one.packet(tcp(site, { seq: 999, flags: "S", dport: 443 }));
      one.answer();
    };
    learn(learned, one.now);
    handshake();
    assert.deepEqual(one.packet(tcp(site, { seq: 1000 }, hello.subarray(0, 20))), []);
    assert.deepEqual(one.packet(tcp(site, { seq: 1020 }, hello.subarray(20))), [
      `flow allow allow-name judged=${hello.length}`,
      "accept 2 mark=allow",
      "accept 3 mark=allow",
      "ALLOW allow-name www.x.io",
    ]);
    one.finish();
  });

  it("DNS of trusted resolvers is dropped: nobody here knows its question, or would learn from its answer", () => {
    const { play: one } = play();
    const out = { src: CLIENT, dst: RESOLVER };
    assert.deepEqual(one.packet(udp(out, { dport: 53 }, question)), ["drop 1", "DENY internal"]);
    assert.deepEqual(one.packet(udp(out, { dport: 53 }, question)), ["drop 2", "count internal"]);
    assert.deepEqual(one.packet(tcp(out, { seq: 999, flags: "S", dport: 53 })), ["drop 3", "DENY internal"]);
    const back = { src: RESOLVER, dst: CLIENT };
    const towardsClient = { towardsClient: true };
    assert.deepEqual(one.packet(udp(back, { sport: 53 }, question), towardsClient), ["drop 4", "count internal"]);
    assert.deepEqual(one.packet(tcp(back, { seq: 1, sport: 53 }), towardsClient), ["drop 5", "count internal"]);
    // Other DNS is no business of ours, here as there.
    assert.deepEqual(one.packet(udp({ src: SITE, dst: CLIENT }, { sport: 53 }, question), towardsClient), ["accept 6"]);
    one.finish();
  });
});

describe("an engine that takes the place of one that is gone", () => {
  it("denies a connection of whose first bytes a part went on; judges one that was held as a whole", () => {
    for (const [released, verdict] of [
      [true, "deny"],
      [false, "allow"],
    ] as const) {
      const { play: one, learned } = play();
      learn(learned, one.now);
      const key = { policy: 1, src: addr(CLIENT), dst: addr(SITE), proto: 6, sport: 40_000, dport: 443 };
      const flow = { reason: 0, final: false, opened: true, fast: false, judgedStart: 1000, judgedEnd: 1000 };
      one.cache(key, { ...flow, verdict: "pending", released, openedAt: one.now });
      // A bare ACK carries nothing to judge.
      assert.deepEqual(one.packet(tcp(site, { seq: 1000, dport: 443, sport: 40_000 })), ["accept 1 mark=pending"]);
      const lines = one.packet(tcp(site, { seq: 1000, dport: 443, sport: 40_000 }, hello));
      assert.ok(lines[0]?.startsWith(`flow ${verdict}`), lines.join("; "));
      assert.equal(lines.includes("DENY mid-flow"), released);
      one.finish();
    }
  });
});
