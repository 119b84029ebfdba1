/** CIDRs: first and last address, the ones just outside, the other family, protocols and ports. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { GatewayStatus } from "../../src/edge/status.js";
import { cidr } from "../lab/plan.js";
import { curl, ping } from "../lab/tools.js";
import { fails, passes, scene } from "./scene.js";

describe("CIDRs of both families", () => {
  const hole = "198.51.100.130";
  const s = scene({}, { flags: ["--cidr", cidr.v4, "--cidr", cidr.v6, "--deny-cidr", `${hole}/32`] });

  it("lets TCP and UDP to the first and last address through, and nothing to the ones outside", async () => {
    for (const address of [...cidr.inside4, ...cidr.inside6]) {
      await passes(s, "tcp", address, 443, { reason: "allow-cidr" }, "GET / HTTP/1.0\r\n\r\n");
      await passes(s, "tcp", address, 5432, { reason: "allow-cidr" });
      await passes(s, "udp", address, 443, { reason: "allow-cidr" });
    }
    for (const address of [...cidr.outside4, ...cidr.outside6]) {
      await fails(s, "tcp", address, 443, { reason: "unlearned" });
      await fails(s, "tcp", address, 5432, { reason: "unlearned" });
      await fails(s, "udp", address, 443, { reason: "unlearned" });
    }
  });

  it("a hole in a CIDR stays a hole", async () => {
    await fails(s, "tcp", hole, 5432, { reason: "deny-cidr" });
    await passes(s, "tcp", "198.51.100.131", 5432, { reason: "allow-cidr" });
    await passes(s, "tcp", "198.51.100.129", 5432, { reason: "allow-cidr" });
  });

  it("packets of known flows are counted together, whatever their family", async () => {
    const known = async () => {
      const { counters } = JSON.parse((await s.gateway.command("status", ["--json"])).stdout) as GatewayStatus;
      return counters.find((one) => one.reason === "allow-flow")?.packets ?? 0;
    };
    for (const address of [cidr.inside4[0], cidr.inside6[0]]) {
      const before = await known();
      await passes(s, "tcp", address, 443, { reason: "allow-cidr" }, "GET / HTTP/1.0\r\n\r\n");
      const more = (await known()) - before;
      assert.ok(more >= 3, `${address}: the handshake's end, the request and the goodbye; ${more} were counted`);
    }
  });

  it("ping too", async () => {
    assert.ok(await ping(s.client, cidr.inside4[0]));
    assert.ok(await ping(s.client, cidr.inside6[0]));
    assert.equal(await ping(s.client, cidr.outside4[0]), false);
    assert.equal(await ping(s.client, cidr.outside6[0]), false);
  });

  it("names mean nothing where none is allowed", async () => {
    const got = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.allowed.example" }, () =>
      curl(s.client, "https://www.allowed.example/"),
    );
    assert.equal(got.outcome, "unresolved");
  });
});

describe("a CIDR of one family, with ports", () => {
  const s = scene({}, { flags: ["--cidr", cidr.v4, "--port", "tcp/443", "--port", "udp/7"] });

  it("says nothing of the other family", async () => {
    for (const address of cidr.inside6) await fails(s, "tcp", address, 443, { reason: "unlearned" });
  });

  it("ends at its ports", async () => {
    const address = cidr.inside4[0];
    await passes(s, "tcp", address, 443, { reason: "allow-cidr" }, "GET / HTTP/1.0\r\n\r\n");
    await passes(s, "udp", address, 7, { reason: "allow-cidr" });
    for (const port of [442, 444, 7]) await fails(s, "tcp", address, port, { reason: "port" });
    for (const port of [8, 443]) await fails(s, "udp", address, port, { reason: "port" });
    assert.equal(await ping(s.client, address), false);
  });
});
