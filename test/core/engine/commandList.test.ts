import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CommandList } from "../../../src/core/engine/commandList.js";
import type { PacketId } from "../../../src/core/engine/events.js";
import { addr, CLIENT, CLIENT_ID, SITE } from "./playbook.js";

const id = (value: number) => value as PacketId;

describe("CommandList", () => {
  it("has the commands in their order, whatever their kind", () => {
    const list = new CommandList();
    list.verdict(id(1), "accept", 3, undefined);
    list.push({ type: "send", bytes: Buffer.from("reset") });
    Object.assign(list.flowPut("allow", 2, 7, 4, 1000, 1500), { src: addr(CLIENT), dst: addr(SITE), dport: 443 });
    list.count(5, 60);
    list.verdict(id(2), "drop", undefined, undefined);
    assert.deepEqual(
      [...list].map(({ type }) => type),
      ["verdict", "send", "flowPut", "count", "verdict"],
    );
    const [first, , put, count, last] = [...list];
    assert.deepEqual(first, { type: "verdict", id: 1, action: "accept", mark: 3, bytes: undefined });
    assert.deepEqual(last, { type: "verdict", id: 2, action: "drop", mark: undefined, bytes: undefined });
    assert.deepEqual(count, { type: "count", reason: 5, bytes: 60 });
    const key = { policy: 0, src: addr(CLIENT), dst: addr(SITE), proto: 0, sport: 0, dport: 443 };
    const flow = { verdict: "allow", reason: 2, rule: 7, flags: 4, judgedStart: 1000, judgedEnd: 1500 };
    assert.deepEqual(put, { type: "flowPut", key, ...flow });
    assert.equal(list.at(4), last);
  });

  it("is empty once it is cleared, and gives the same objects to other commands", () => {
    const list = new CommandList();
    list.verdict(id(1), "accept", 3, Buffer.from("changed"));
    const decision = list.decision("deny", 9, true, 2, 3);
    Object.assign(decision, {
      client: addr(CLIENT),
      address: addr(SITE),
      port: 1,
      proto: 6,
      name: "a.io",
      detail: "x",
    });
    const before = [...list];
    list.clear();
    assert.deepEqual([list.length, [...list]], [0, []]);
    const again = list.decision("allow", 8, false, 4, 5);
    list.verdict(id(2), "drop", undefined, undefined);
    assert.equal(again, before[1], "else this test shows nothing");
    const nothing = { by: undefined, client: undefined, address: undefined, port: undefined, proto: undefined, name: undefined, detail: undefined }; // prettier-ignore
    const said = { verdict: "allow", reason: 8, inKernel: false, policy: 4, rule: 5 };
    assert.deepEqual(
      [...list],
      [
        { type: "decision", ...said, ...nothing },
        { type: "verdict", id: 2, action: "drop", mark: undefined, bytes: undefined },
      ],
    );
  });

  it("takes more than it keeps", () => {
    const list = new CommandList();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 5_000; i++) {
        list.verdict(id(i), "drop", undefined, undefined);
        list.allowQuestion(i, CLIENT_ID, addr(SITE)).name = `${i}`;
      }
      assert.equal(list.length, 10_000);
      for (let i = 0; i < 5_000; i++) {
        const [verdict, question] = [list.at(2 * i), list.at(2 * i + 1)];
        assert.ok(verdict.type === "verdict" && verdict.id === i);
        assert.ok(question.type === "allowQuestion" && question.policy === i && question.name === `${i}`);
      }
      list.clear();
    }
  });
});
