/** The load program `swarm` in a lab. */
import { join } from "node:path";
import { lanInterface, type BenchLab } from "../lab.js";
import { buildFolder } from "../load.js";

export interface Swarm {
  readonly kind: "flows" | "clients";
  /** Number of the first one, and how many. */
  readonly first: number;
  readonly count: number;
  /** Packets a second at most; 0: no limit. */
  readonly rate: number;
  readonly address: string;
  /** The name that clients ask for; may hold one %. */
  readonly name?: string;
}

export async function swarm(lab: BenchLab, { kind, first, count, rate, address, name }: Swarm): Promise<number> {
  const numbers = [first, count, rate].map(String);
  const argv = ["eth0", await macOf(lab), kind, ...numbers, address, ...(name === undefined ? [] : [name])];
  const timeoutMs = 60_000 + (rate > 0 ? (1_000 * count) / rate : 0);
  const text = await lab.client.must([join(buildFolder, "swarm"), ...argv], { timeoutMs });
  return (JSON.parse(text) as { seconds: number }).seconds;
}

/** The router's answers to the addresses that the swarm's clients share go to the client's interface; nobody there has to say that they are its own. */
export async function hostSwarm(lab: BenchLab): Promise<void> {
  const [link] = JSON.parse(await lab.client.must(["ip", "-j", "link", "show", "eth0"])) as { address: string }[];
  const hosts = Array.from({ length: 250 }, (_, i) => `10.77.0.${i + 3}`);
  lab.router.ip(hosts.map((host) => `neigh replace ${host} lladdr ${link!.address} dev ${lanInterface}`));
}

async function macOf(lab: BenchLab): Promise<string> {
  const text = await lab.router.must(["ip", "-j", "link", "show", lanInterface]);
  return (JSON.parse(text) as { address: string }[])[0]!.address;
}
