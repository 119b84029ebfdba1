/** A thousand names resolved and connected to at once: the answer is held until the maps hold its addresses, so no first packet is lost. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { resolver, thousand, thousandAddress, thousandName } from "../lab/plan.js";
import { scene } from "./scene.js";

const all = Array.from({ length: thousand }, (_, i) => thousandName(i));

describe("a thousand names at once", () => {
  const s = scene({}, { flags: ["--domain", "*.many.example"] });
  /** SYNs that the client had to send again, because the first one was not answered within a second (RFC 6298 section 2). */
  const synsAgain = () => tcpCounter(readFileSync(`/proc/${s.agent.daemon.pid}/net/netstat`, "utf8"), "TCPSynRetrans");

  for (const [family, port, data, reply] of [
    [4, 5432, "hello NAME", "raw bytes"],
    [6, 80, "GET / HTTP/1.1\r\nHost: NAME\r\n\r\n", "requests"],
  ] as const) {
    it(`over IPv${family}, ${reply}: every one is answered, no SYN is sent twice`, async () => {
      const before = synsAgain();
      const got = await s.agent.call("many", {
        names: all,
        resolver: family === 4 ? resolver.v4 : resolver.v6,
        family,
        port,
        data,
        timeoutMs: 15_000,
      });
      const failed = got.filter((one) => one.outcome !== "reply");
      assert.deepEqual(failed.slice(0, 5), [], `${failed.length} of ${thousand} failed`);
      const wrong = got.filter(
        (one, i) => one.address !== (family === 4 ? thousandAddress(i).v4 : thousandAddress(i).v6),
      );
      assert.deepEqual(wrong.slice(0, 5), []);
      assert.equal(synsAgain() - before, 0);
    });
  }

  it("and not one beside them: the next address was never learned", async () => {
    // The log takes a thousand decisions a second; the ones above have filled this one.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const got = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: "198.51.99.232" }, () =>
      s.agent.call("tcp", { address: "198.51.99.232", port: 5432 }),
    );
    assert.equal(got.outcome, "refused");
  });
});

function tcpCounter(netstat: string, name: string): number {
  const [head, values] = netstat.split("\n").filter((line) => line.startsWith("TcpExt:"));
  const index = (head ?? "").split(" ").indexOf(name);
  assert.ok(index > 0, "no such counter");
  return Number((values ?? "").split(" ")[index]);
}
