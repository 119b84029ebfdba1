import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { reasonName } from "../../../src/core/abi.generated.js";
import { parseAddr, type Addr } from "../../../src/core/net/address.js";
import { compilePolicies } from "../../../src/core/policy/compile.js";
import { explain, type Explanation } from "../../../src/core/policy/explain.js";
import type { LearnedName, LearnedView } from "../../../src/core/policy/learnedView.js";
import type { PolicyFlags } from "../../../src/core/policy/flags.js";
import { formatExplanation } from "../../../src/core/policy/formatExplanation.js";
import { parseQuestion } from "../../../src/core/policy/question.js";
import { specOf } from "./random.js";

const NOW = 1_000_000;

interface Learned {
  readonly name: string;
  readonly address: string;
  readonly chain?: readonly string[];
  readonly rule?: number;
  readonly policy?: number;
  readonly client?: string;
  /** Seconds from now. */
  readonly left?: number;
}

function view(entries: readonly Learned[]): LearnedView {
  const all: LearnedName[] = entries.map((entry) => ({
    policy: entry.policy ?? 1,
    client: entry.client ?? "\x0a",
    name: entry.name,
    address: parseAddr(entry.address) as Addr,
    chain: entry.chain ?? [entry.name],
    rule: entry.rule ?? 1,
    expires: NOW + (entry.left ?? 60) * 1000,
  }));
  return {
    now: NOW,
    byAddress: (address) => all.filter((entry) => entry.address === address),
    byName: (name) => all.filter((entry) => entry.name === name),
    clientText: (client) => `client-${client.charCodeAt(0)}`,
  };
}

function ask(flags: Partial<PolicyFlags>, text: string, learned: readonly Learned[] = []): Explanation {
  const question = parseQuestion(text);
  assert.ok(question.ok, question.ok ? "" : question.error);
  return explain(compilePolicies([specOf(flags)]).policies, view(learned), question.value);
}

/** "tcp/443 deny unlearned learned 0", one for each outcome. */
function outcomes(flags: Partial<PolicyFlags>, text: string, learned: readonly Learned[] = []): string[] {
  return (ask(flags, text, learned).policies[0]?.outcomes ?? []).map((one) => {
    const what = one.what === "query" ? "query" : one.proto === null ? "all" : `${one.proto}/${one.port}`;
    assert.equal(one.reason, reasonName(one.reasonCode));
    return `${what} ${one.verdict} ${one.reason} ${one.stage} ${one.rule.id}`;
  });
}

describe("the question", () => {
  for (const [text, kind, subject, port] of [
    ["1.2.3.4", "address", "1.2.3.4", null],
    ["1.2.3.4:443", "address", "1.2.3.4", 443],
    ["2001:db8::1", "address", "2001:db8::1", null],
    ["2001:DB8::443", "address", "2001:db8::443", null],
    ["[2001:db8::1]", "address", "2001:db8::1", null],
    ["[2001:db8::1]:65535", "address", "2001:db8::1", 65535],
    ["Example.COM.", "name", "example.com", null],
    ["example.com:1", "name", "example.com", 1],
    ["münchen.de:443", "name", "xn--mnchen-3ya.de", 443],
    ["localhost", "name", "localhost", null],
  ] as const) {
    test(text, () => {
      const { question } = ask({ domain: ["x.io"] }, text);
      assert.deepEqual(question, { text, kind, subject, port });
    });
  }
  for (const [text, error] of [
    ["", 'explain "": empty; ask for a name or an address, with or without a port: example.com:443'],
    ["1.2.3.4:0", "explain 1.2.3.4:0: port 0 is out of range; ports are 1 to 65535"],
    ["1.2.3.4:65536", "explain 1.2.3.4:65536: port 65536 is out of range; ports are 1 to 65535"],
    ["1.2.3.4:", 'explain 1.2.3.4:: "" is no port; write a number from 1 to 65535'],
    ["example.com:https", "explain example.com:https: https is no port; write a number from 1 to 65535"],
    [":443", "explain :443: nothing before the port; write it like example.com:443"],
    ["[1.2.3.4]:443", "explain [1.2.3.4]:443: brackets are for IPv6 addresses, like [2001:db8::1]:443"],
    ["[::1]x", "explain [::1]x: not an IPv6 address"],
    ["[zz::1]:443", "explain [zz::1]:443: not an IPv6 address"],
    ["::1%eth0", "explain ::1%eth0: a zone id has no meaning here; write ::1"],
    ["::ffff:1.2.3.4", "explain ::ffff:1.2.3.4: an IPv4-mapped IPv6 address; write 1.2.3.4"],
    ["10.0.0.0/8", "explain 10.0.0.0/8: a network; ask for one address in it"],
    ["300.1.2.3", "explain 300.1.2.3: 300 is out of range; each number of an IPv4 address is 0 to 255"],
    ["*.x.io", "explain *.x.io: a pattern; ask for one name, like www.example.com"],
    [".x.io", "explain .x.io: a pattern; ask for one name, like www.example.com"],
    ["https://x.io/", "explain https://x.io/: a URL; write the name alone: x.io"],
    ["a..b", "explain a..b: an empty label: a dot too many, or nothing but a dot"],
    ["a b", 'explain "a b": contains a space; one name for each flag'],
  ] as const) {
    test(`bad: ${JSON.stringify(text)}`, () => {
      const question = parseQuestion(text);
      assert.ok(!question.ok);
      assert.equal(question.error, error);
    });
  }
});

describe("addresses and CIDRs", () => {
  const flags = { cidr: ["10.0.0.0/8"], denyCidr: ["10.9.0.0/16"], domain: ["x.io"], resolver: ["9.9.9.9"] };
  test("inside, denied inside, just outside", () => {
    assert.deepEqual(outcomes(flags, "10.1.2.3:22"), ["all allow allow-cidr cidr 1"]);
    assert.deepEqual(outcomes(flags, "10.9.2.3"), ["all deny deny-cidr cidr 2"]);
    assert.deepEqual(outcomes(flags, "11.0.0.0"), [
      "tcp/443 deny unlearned learned 0",
      "udp/443 deny unlearned learned 0",
    ]);
    assert.equal(ask(flags, "10.9.2.3").policies[0]?.network?.cidr, "10.9.0.0/16");
    assert.equal(ask(flags, "11.0.0.0").policies[0]?.network, null);
  });
  test("ports", () => {
    const limited = { ...flags, port: ["tcp/443", "udp/123"] };
    assert.deepEqual(outcomes(limited, "10.1.2.3:443"), [
      "tcp/443 allow allow-cidr cidr 1",
      "udp/443 deny port cidr 1",
    ]);
    assert.deepEqual(outcomes(limited, "10.1.2.3:444"), ["tcp/444 deny port cidr 1", "udp/444 deny port cidr 1"]);
    assert.deepEqual(outcomes(limited, "10.1.2.3:123"), [
      "tcp/123 deny port cidr 1",
      "udp/123 allow allow-cidr cidr 1",
    ]);
    assert.deepEqual(ask(limited, "10.1.2.3").policies[0]?.network, {
      cidr: "10.0.0.0/8",
      verdict: "ports",
      rule: { id: 1, text: "--cidr 10.0.0.0/8" },
      ranges: ["allow tcp/443", "allow udp/123"],
      strict: true,
    });
  });
  test("a trusted resolver", () => {
    assert.deepEqual(outcomes(flags, "9.9.9.9:53"), [
      "tcp/53 inspect inspect resolver 0",
      "udp/53 inspect inspect resolver 0",
    ]);
    assert.deepEqual(outcomes(flags, "9.9.9.9:853"), [
      "tcp/853 deny unlearned learned 0",
      "udp/853 deny unlearned learned 0",
    ]);
    assert.deepEqual(outcomes(flags, "9.9.9.8:53"), [
      "tcp/53 deny unlearned learned 0",
      "udp/53 deny unlearned learned 0",
    ]);
  });
});

describe("addresses that names decide", () => {
  const learned = [{ name: "x.io", address: "192.0.2.1" }];
  const expired = [{ name: "x.io", address: "192.0.2.1", left: -5 }];
  const other = [{ name: "x.io", address: "192.0.2.1", policy: 2 }];
  test("verify: both", () => {
    const flags = { domain: ["x.io"] };
    assert.deepEqual(outcomes(flags, "192.0.2.1", learned), [
      "tcp/443 inspect inspect learned 1",
      "udp/443 inspect inspect learned 1",
    ]);
    assert.deepEqual(outcomes({ ...flags, quic: "deny" }, "192.0.2.1", learned), [
      "tcp/443 inspect inspect learned 1",
      "udp/443 deny quic name 1",
    ]);
    assert.deepEqual(outcomes(flags, "192.0.2.1:22", learned), [
      "tcp/22 inspect inspect learned 1",
      "udp/22 allow allow-address learned 1",
    ]);
    assert.deepEqual(outcomes(flags, "192.0.2.1:22", expired), [
      "tcp/22 deny expired learned 1",
      "udp/22 deny expired learned 1",
    ]);
    assert.deepEqual(outcomes(flags, "192.0.2.1:22", other), [
      "tcp/22 deny unlearned learned 0",
      "udp/22 deny unlearned learned 0",
    ]);
    assert.deepEqual(outcomes(flags, "192.0.2.2:22", learned), [
      "tcp/22 deny unlearned learned 0",
      "udp/22 deny unlearned learned 0",
    ]);
    // What belongs on a name port and what doesn't is not told in the same words.
    const because = (port: number) => ask(flags, `192.0.2.1:${port}`, learned).policies[0]?.outcomes[0]?.because;
    assert.match(because(443) as string, /must carry a name/);
    assert.match(because(22) as string, /passes without a name/);
  });
  test("verify: dns", () => {
    const flags = { domain: ["x.io"], verify: "dns" };
    const allowed = ["tcp/443 allow allow-address learned 1", "udp/443 allow allow-address learned 1"];
    assert.deepEqual(outcomes(flags, "192.0.2.1", learned), allowed);
    assert.deepEqual(outcomes(flags, "192.0.2.2", learned), [
      "tcp/443 deny unlearned learned 0",
      "udp/443 deny unlearned learned 0",
    ]);
  });
  test("verify: sni", () => {
    const flags = { domain: ["x.io"], verify: "sni" };
    assert.deepEqual(outcomes(flags, "192.0.2.2"), [
      "tcp/443 inspect inspect name 0",
      "udp/443 inspect inspect name 0",
    ]);
    assert.deepEqual(outcomes({ ...flags, quic: "deny" }, "192.0.2.2"), [
      "tcp/443 inspect inspect name 0",
      "udp/443 deny quic name 0",
    ]);
    assert.deepEqual(outcomes(flags, "192.0.2.2:123"), [
      "tcp/123 inspect inspect name 0",
      "udp/123 deny no-name name 0",
    ]);
  });
  test("--port", () => {
    const flags = { domain: ["x.io"], port: ["tcp/443"] };
    assert.deepEqual(outcomes(flags, "192.0.2.1:22", learned), [
      "tcp/22 deny port learned 1",
      "udp/22 deny port learned 1",
    ]);
    assert.deepEqual(outcomes({ ...flags, verify: "sni" }, "192.0.2.1:22"), [
      "tcp/22 deny port name 0",
      "udp/22 deny no-name name 0",
    ]);
  });
});

describe("names", () => {
  const learned = [{ name: "a.x.io", address: "192.0.2.1", chain: ["a.x.io", "edge.cdn.net"] }];
  const flags = { domain: ["*.x.io", ".io"] };
  test("verify: both", () => {
    assert.deepEqual(outcomes(flags, "a.x.io", learned), [
      "query allow allow-query name 1",
      "tcp/443 allow allow-name name 1",
      "udp/443 allow allow-name name 1",
    ]);
    assert.equal(outcomes({ ...flags, quic: "deny" }, "a.x.io", learned)[2], "udp/443 deny quic name 1");
    assert.deepEqual(outcomes(flags, "a.x.io:22", learned), [
      "query allow allow-query name 1",
      "tcp/22 allow allow-address learned 1",
      "udp/22 allow allow-address learned 1",
    ]);
    assert.deepEqual(outcomes(flags, "x.com"), [
      "query deny dns-name name 0",
      "tcp/443 deny name-denied name 0",
      "udp/443 deny unlearned learned 0",
    ]);
  });
  test("verify: sni and dns", () => {
    const sni = { ...flags, verify: "sni" };
    assert.deepEqual(outcomes(sni, "a.x.io:8000").slice(1), [
      "tcp/8000 allow allow-name name 1",
      "udp/8000 deny no-name name 1",
    ]);
    assert.deepEqual(outcomes(sni, "x.com").slice(1), [
      "tcp/443 deny name-denied name 0",
      "udp/443 deny name-denied name 0",
    ]);
    assert.equal(outcomes({ ...sni, quic: "deny" }, "x.com")[2], "udp/443 deny quic name 0");
    assert.equal(outcomes(sni, "a.x.io")[2], "udp/443 allow allow-name name 1");
    const dns = { ...flags, verify: "dns" };
    assert.deepEqual(outcomes(dns, "a.x.io").slice(1), [
      "tcp/443 allow allow-address learned 1",
      "udp/443 allow allow-address learned 1",
    ]);
    assert.deepEqual(outcomes(dns, "x.com").slice(1), [
      "tcp/443 deny unlearned learned 0",
      "udp/443 deny unlearned learned 0",
    ]);
  });
  test("--port", () => {
    const limited = { ...flags, port: ["tcp/443"] };
    assert.deepEqual(outcomes(limited, "a.x.io:80").slice(1), ["tcp/80 deny port name 1", "udp/80 deny port name 1"]);
    assert.deepEqual(ask(limited, "a.x.io").policies[0]?.ports, ["tcp/443"]);
  });
  test("the rule that counts and the others that match, the chain, the client, the time", () => {
    const policy = ask(flags, "a.x.io", [
      ...learned,
      { name: "a.x.io", address: "2001:db8::1", left: -1, client: "\x0b" },
    ]).policies[0];
    assert.deepEqual(policy?.nameRules, [
      { id: 1, text: "--domain *.x.io" },
      { id: 2, text: "--domain .io" },
    ]);
    assert.deepEqual(policy.learned, [
      {
        client: "client-10",
        name: "a.x.io",
        address: "192.0.2.1",
        chain: ["a.x.io", "edge.cdn.net"],
        rule: { id: 1, text: "--domain *.x.io" },
        secondsLeft: 60,
        overruledBy: null,
      },
      {
        client: "client-11",
        name: "a.x.io",
        address: "2001:db8::1",
        chain: ["a.x.io"],
        rule: { id: 1, text: "--domain *.x.io" },
        secondsLeft: -1,
        overruledBy: null,
      },
    ]);
  });
  test("an address of the name that a CIDR rule denies", () => {
    const policy = ask({ ...flags, denyCidr: ["192.0.2.0/24"] }, "a.x.io", [{ ...(learned[0] as Learned), rule: 2 }])
      .policies[0];
    assert.deepEqual(policy?.learned[0]?.overruledBy, {
      verdict: "deny",
      rule: { id: 1, text: "--deny-cidr 192.0.2.0/24" },
    });
  });
});

test("several policies are explained apart, and the answer survives JSON", () => {
  const question = parseQuestion("a.x.io:443");
  assert.ok(question.ok);
  const { policies } = compilePolicies([specOf({ domain: ["y.io"] }, 1), specOf({ domain: ["*.x.io"] }, 2)]);
  const answer = explain(
    policies,
    view([{ name: "a.x.io", address: "192.0.2.1", policy: 2, rule: 2 }]),
    question.value,
  );
  assert.deepEqual(
    answer.policies.map((policy) => [policy.name, policy.outcomes[0]?.verdict, policy.learnedTotal]),
    [
      ["p1", "deny", 0],
      ["p2", "allow", 1],
    ],
  );
  assert.deepEqual(JSON.parse(JSON.stringify(answer)), answer);
});

test("a thousand clients: all are counted, a hundred listed, those with the longest time left", () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ name: "x.io", address: "192.0.2.1", left: i - 500 }));
  const policy = ask({ domain: ["x.io"] }, "x.io", many).policies[0];
  assert.equal(policy?.learnedTotal, 1000);
  assert.equal(policy.learned.length, 100);
  assert.equal(policy.learned[0]?.secondsLeft, 499);
});

describe("lines for people", () => {
  test("a name", () => {
    const lines = formatExplanation(
      ask({ domain: ["*.x.io", ".io"], denyCidr: ["198.51.100.0/24"], port: ["tcp/443"] }, "A.x.io", [
        { name: "a.x.io", address: "192.0.2.1", chain: ["a.x.io", "edge.cdn.net"], rule: 2 },
        { name: "a.x.io", address: "198.51.100.7", rule: 2, left: -5 },
      ]),
    );
    assert.deepEqual(lines, [
      "A.x.io (a.x.io)",
      "policy p1 (verify: both)",
      "  DNS query: allow (allow-query): a rule matches this name [rule 2: --domain *.x.io]",
      "  tcp/443: allow (allow-name): if the first bytes carry this name, at the addresses listed [rule 2: --domain *.x.io]",
      "  udp/443: deny (port): allow rules let tcp/443 through only [rule 2: --domain *.x.io]",
      "  no port was asked for: 443 is assumed",
      "  name: rule 2: --domain *.x.io; also matched by --domain .io",
      "  ports: allow rules let tcp/443 through",
      "  learned: 2",
      "    client-10: a.x.io → 192.0.2.1 by a.x.io → edge.cdn.net, 60 s left [rule 2: --domain *.x.io]",
      "    client-10: a.x.io → 198.51.100.7, expired 5 s ago [rule 2: --domain *.x.io]; " +
        "but a CIDR rule decides: deny [rule 1: --deny-cidr 198.51.100.0/24]",
    ]);
  });
  test("an address", () => {
    assert.deepEqual(formatExplanation(ask({ cidr: ["10.0.0.0/8"], denyCidr: ["10.9.0.0/16"] }, "10.9.0.1:443")), [
      "10.9.0.1:443 (10.9.0.1)",
      "policy p1 (verify: both)",
      "  all ports: deny (deny-cidr): the address is in a network that is denied [rule 2: --deny-cidr 10.9.0.0/16]",
      "  network: 10.9.0.0/16: deny [rule 2: --deny-cidr 10.9.0.0/16]",
      "  learned: nothing",
    ]);
    const resolver = formatExplanation(ask({ domain: ["x.io"], resolver: ["9.9.9.9"] }, "9.9.9.9:53"));
    assert.ok(
      resolver.includes(
        "  network: 9.9.9.9/32: inspect udp/53, inspect tcp/53; the rest is left to the names [a trusted resolver]",
      ),
      resolver.join("\n"),
    );
  });
  test("no policy, no rule", () => {
    const question = parseQuestion("y.com");
    assert.ok(question.ok);
    assert.deepEqual(formatExplanation(explain([], view([]), question.value)), ["y.com", "  no policy is loaded"]);
    assert.ok(formatExplanation(ask({ domain: ["x.io"] }, "y.com")).includes("  name: no rule matches"));
  });
});
