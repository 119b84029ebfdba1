/** A lab and a gateway that one group of tests shares. */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import type { Agent } from "../lab/agent.js";
import { type Attempt } from "../lab/agent/sockets.js";
import { Gateway, type Decision, type GatewayOptions } from "../lab/gateway.js";
import { buildLab, type Client, type Lab, type LabOptions } from "../lab/lab.js";

export interface Scene {
  lab: Lab;
  gateway: Gateway;
  client: Client;
  agent: Agent;
}

/** Build before the group's tests, remove after them. The fields are there once the first test runs. */
export function scene(
  labOptions: LabOptions,
  gatewayOptions: GatewayOptions | ((lab: Lab) => GatewayOptions | Promise<GatewayOptions>),
): Scene {
  const made = {} as Scene;
  before(async () => {
    made.lab = await buildLab(labOptions);
    made.client = made.lab.client;
    made.agent = await made.client.agent();
    const options = typeof gatewayOptions === "function" ? await gatewayOptions(made.lab) : gatewayOptions;
    made.gateway = await Gateway.start(made.lab, options);
  });
  after(async () => {
    // One that could not be started leaves a lab that must go, too, or its processes keep this one alive.
    const { lab, gateway } = made as Partial<Scene>;
    // The gateway's own way out is part of what is tested.
    const code = !gateway || gateway.daemon.ended ? 0 : await gateway.stop();
    lab?.close();
    assert.equal(code, 0, `the gateway's end: ${gateway?.daemon.stderr}`);
  });
  return made;
}

export type Match = Partial<Decision>;

/** What a client that is denied can see of it. */
const denials: readonly Attempt["outcome"][] = ["refused", "reset", "prohibited", "silent", "timeout", "closed"];

/** One exchange of bytes; the reply must come, and the log must say why. */
export async function passes(
  s: Scene,
  proto: "tcp" | "udp",
  address: string,
  port: number,
  match: Match,
  data: Uint8Array | string = "hello\n",
): Promise<void> {
  const got = await s.gateway.expect({ verdict: "allow", address, port, proto, ...match }, () =>
    s.agent.call(proto, { address, port, data }),
  );
  assert.equal(got.outcome, "reply", `${proto}/${port} of ${address}: ${got.outcome} ${got.code ?? ""}`);
}

/** One exchange of bytes that must fail, with its reason in the log. */
export async function fails(
  s: Scene,
  proto: "tcp" | "udp",
  address: string,
  port: number,
  match: Match,
  data: Uint8Array | string = "hello\n",
): Promise<Attempt> {
  const got = await s.gateway.expect({ verdict: "deny", address, port, proto, ...match }, () =>
    s.agent.call(proto, { address, port, data, timeoutMs: 600 }),
  );
  assert.ok(denials.includes(got.outcome), `${proto}/${port} of ${address}: ${got.outcome}`);
  assert.equal(got.received.length, 0, "no byte of the server may come through");
  return got;
}

/** Both families of a server, for loops. */
export function families(at: { readonly v4: string; readonly v6: string }): readonly (readonly [4 | 6, string])[] {
  return [
    [4, at.v4],
    [6, at.v6],
  ];
}
