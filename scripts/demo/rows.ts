/** What the demo tries, and what must come of it. */
import { type Decision, type Gateway } from "../../test/lab/gateway.js";
import { type Client, type Lab } from "../../test/lab/lab.js";
import { cidr, otherResolver, server } from "../../test/lab/plan.js";
import { curl, dig, gitLsRemote, ping, sClient } from "../../test/lab/tools.js";

/** The policy of the demo, as a person would type it. */
export const policy = [
  ...["--domain", "www.allowed.example", "--domain", "git.allowed.example"],
  ...["--domain", "alias.allowed.example", "--domain", "one.shared.example"],
  ...["--cidr", cidr.v4, "--cidr", cidr.v6],
  ...["--port", "tcp/22", "--port", "tcp/80", "--port", "tcp/443", "--port", "tcp/5201", "--port", "tcp/5432"],
  ...["--port", "udp/443", "--port", "icmp"],
];

export interface Happened {
  /** The client got what it wanted. */
  readonly worked: boolean;
  readonly text: string;
}

export interface Row {
  readonly group: string;
  readonly tried: string;
  readonly act: () => Promise<Happened>;
  readonly works: boolean;
  /** The line that the gateway must log; undefined: it must not log any, since it is not egress. */
  readonly why: (Partial<Decision> & { readonly reason: string }) | undefined;
}

export interface Result extends Happened {
  readonly row: Row;
  readonly reason: string;
  readonly rule: string;
  readonly asExpected: boolean;
}

export async function carryOut(row: Row, gateway: Gateway): Promise<Result> {
  const since = gateway.decisions.length;
  const happened = await row.act();
  const found = row.why && (await gateway.decision(row.why, since, 2_000).catch(() => undefined));
  const seen = found ?? gateway.decisions.slice(since).at(-1);
  const asLogged = row.why ? found !== undefined : seen === undefined;
  return {
    ...happened,
    row,
    reason: seen?.reason ?? (row.why ? "nothing logged" : "not egress"),
    rule: seen?.rule ?? "",
    asExpected: asLogged && happened.worked === row.works,
  };
}

export async function rows(lab: Lab): Promise<Row[]> {
  const client = lab.client;
  const agent = await client.agent();
  const www = server(10);
  const git = server(12);
  const shared = server(30);
  const list: Row[] = [];
  let group = "";
  const add = (tried: string, works: boolean, why: Row["why"], act: () => Promise<Happened>) =>
    list.push({ group, tried, works, why, act });
  const page = (url: string, family: 4 | 6, tls: "1.2" | "1.3" | undefined, works: boolean, why: Row["why"]) =>
    add(`curl ${url} (${tls ? `TLS ${tls}, ` : ""}IPv${family})`, works, why, () => get(client, url, family, tls));
  const handshake = (to: { v4: string }, sni: string | undefined, first: string, works: boolean, why: Row["why"]) =>
    add(
      `dig ${first}, then openssl s_client ${to.v4}:443 with ${sni ? `SNI ${sni}` : "no SNI"}`,
      works,
      why,
      async () => {
        await dig(client, first);
        const got = await sClient(client, to.v4, sni === undefined ? {} : { sni });
        return { worked: got.outcome === "ok", text: got.outcome === "ok" ? "handshake done" : failure(got.outcome) };
      },
    );
  const bytes = (proto: "tcp" | "udp", address: string, port: number, note: string, works: boolean, why: Row["why"]) =>
    add(`"hello" to ${proto}/${port} of ${address} (${note})`, works, why, async () => {
      const got = await agent.call(proto, { address, port });
      return {
        worked: got.outcome === "reply",
        text: got.outcome === "reply" ? "echo came back" : failure(got.outcome),
      };
    });

  group = "An allowed site";
  const byName = (port: number) =>
    ({ verdict: "allow", reason: "allow-name", name: "www.allowed.example", port }) as const;
  page("https://www.allowed.example/", 4, "1.3", true, byName(443));
  page("https://www.allowed.example/", 6, "1.2", true, byName(443));
  page("http://www.allowed.example/", 4, undefined, true, byName(80));
  page("http://www.allowed.example/", 6, undefined, true, byName(80));
  page("https://alias.allowed.example/", 4, "1.3", true, { reason: "allow-name", name: "alias.allowed.example" });

  group = "Its neighbours";
  const noQuery = (name: string) => ({ verdict: "deny", reason: "dns-name", name }) as const;
  page("https://api.allowed.example/", 4, "1.3", false, noQuery("api.allowed.example"));
  add("dig www.denied.example AAAA", false, noQuery("www.denied.example"), async () => {
    const got = await dig(client, "www.denied.example", { type: "AAAA" });
    return { worked: got.answers.length > 0, text: got.status === "" ? "no answer" : `answered ${got.status}` };
  });
  bytes("tcp", www.v4, 5433, "the port next to an allowed one", false, { reason: "port", port: 5433 });

  group = "A name that isn't the address's";
  handshake(www, "www.denied.example", "www.allowed.example", false, {
    reason: "name-denied",
    name: "www.denied.example",
  });
  handshake(shared, "one.shared.example", "one.shared.example", true, {
    reason: "allow-name",
    name: "one.shared.example",
  });
  handshake(shared, "two.shared.example", "one.shared.example", false, {
    reason: "name-denied",
    name: "two.shared.example",
  });
  handshake(git, "www.allowed.example", "git.allowed.example", false, { reason: "name-ip-mismatch" });

  group = "No name at all";
  handshake(www, undefined, "www.allowed.example", false, { reason: "no-name", address: www.v4 });
  bytes("tcp", www.v6, 443, "raw bytes where TLS belongs", false, { reason: "no-name", address: www.v6 });
  bytes("udp", www.v4, 443, "where QUIC goes", false, { reason: "quic", address: www.v4 });
  for (const address of [server(20).v4, server(20).v6]) {
    const host = address.includes(":") ? `[${address}]` : address;
    page(`https://${host}/`, address.includes(":") ? 6 : 4, undefined, false, { reason: "unlearned", address });
  }

  group = "CIDRs";
  bytes("tcp", cidr.inside4[1], 5432, "last of the CIDR", true, { reason: "allow-cidr", address: cidr.inside4[1] });
  bytes("tcp", cidr.outside4[1], 5432, "the one behind it", false, { reason: "unlearned", address: cidr.outside4[1] });
  bytes("tcp", cidr.inside6[0], 5432, "first of the CIDR", true, { reason: "allow-cidr", address: cidr.inside6[0] });
  bytes("tcp", cidr.outside6[0], 5432, "the one before it", false, { reason: "unlearned", address: cidr.outside6[0] });

  group = "Other protocols";
  const repository = `${lab.folder}/repo.git`;
  for (const [name, works] of [
    ["git.allowed.example", true],
    ["git.denied.example", false],
  ] as const) {
    const why = works ? { reason: "allow-address", name, port: 22 } : noQuery(name);
    add(`git ls-remote ssh://${name}/…`, works, why, async () => {
      const got = await gitLsRemote(client, name, repository);
      return got.code === 0 ? { worked: true, text: "refs listed" } : { worked: false, text: lastLine(got.stderr) };
    });
  }
  for (const [target, works] of [
    ["www.allowed.example", true],
    [server(20).v4, false],
  ] as const) {
    const why = works
      ? { reason: "allow-address", name: target, proto: "icmp" }
      : { reason: "unlearned", proto: "icmp" };
    add(`ping ${target}`, works, why, () => echo(client, target));
  }
  add(
    `dig @${otherResolver.v4} www.allowed.example`,
    false,
    { reason: "unlearned", address: otherResolver.v4 },
    async () => {
      const got = await dig(client, "www.allowed.example", { server: otherResolver.v4, seconds: 1 });
      return { worked: got.answers.length > 0, text: got.status === "" ? "no answer" : `answered ${got.status}` };
    },
  );
  add("ping 192.168.77.1 (the router itself)", true, undefined, () => echo(client, "192.168.77.1"));
  return list;
}

async function get(client: Client, url: string, family: 4 | 6, tls: "1.2" | "1.3" | undefined): Promise<Happened> {
  const got = await curl(client, url, { family, ...(tls ? { tls } : {}) });
  return { worked: got.outcome === "ok", text: got.outcome === "ok" ? "page came" : failure(got.outcome) };
}

async function echo(client: Client, target: string): Promise<Happened> {
  const worked = await ping(client, target);
  return { worked, text: worked ? "echo came back" : "no echo" };
}

const words: Readonly<Record<string, string>> = {
  unresolved: "name not resolved",
  refused: "connection refused",
  reset: "connection reset",
  prohibited: "prohibited (ICMP)",
  silent: "no answer",
  timeout: "timed out",
  closed: "closed without a byte",
};

function failure(outcome: string): string {
  return words[outcome] ?? outcome;
}

function lastLine(text: string): string {
  const lines = text.trim().split("\n");
  const line = lines.find((one) => one.startsWith("ssh:")) ?? lines[0] ?? "";
  return line.length > 40 ? "could not connect" : line;
}
