import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatAddr, parseAddr, type Addr } from "../../../src/core/net/address.js";
import { formatCidr } from "../../../src/core/policy/cidr.js";
import type { PolicyFlags } from "../../../src/core/policy/flags.js";
import { parsePolicy, withResolvers } from "../../../src/core/policy/parse.js";
import { formatRange } from "../../../src/core/policy/ports.js";
import type { PolicySpec } from "../../../src/core/policy/types.js";
import { noFlags, specOf } from "./random.js";

/** Errors of flags that stand beside one good rule, so that nothing else is wrong. */
function errors(flags: Partial<PolicyFlags>): string[] {
  const parsed = parsePolicy({ ...noFlags, domain: ["good.example"], ...flags });
  return parsed.ok ? [] : parsed.errors;
}

function warnings(flags: Partial<PolicyFlags>): string[] {
  const parsed = parsePolicy({ ...noFlags, ...flags });
  assert.ok(parsed.ok, parsed.ok ? "" : parsed.errors.join("\n"));
  return parsed.warnings;
}

/** [value, what the error says after "--flag value: "] */
type Bad = readonly [value: string, message: string];

function eachBad(
  flag: string,
  key: "cidr" | "denyCidr" | "cn" | "domain" | "resolver" | "port" | "namePort",
  list: readonly Bad[],
): void {
  for (const [value, message] of list) {
    const shown = /^[^\s"\p{C}]+$/u.test(value) ? value : JSON.stringify(value);
    const cut = shown.length > 110 ? undefined : shown;
    test(`${flag} ${JSON.stringify(value.slice(0, 70))}`, () => {
      const found = errors({ [key]: [value] });
      assert.equal(found.length, 1, found.join("\n"));
      if (cut !== undefined) assert.equal(found[0], `${flag} ${cut}: ${message}`);
      else assert.ok(found[0]?.endsWith(`…: ${message}`), found[0]);
      assert.doesNotMatch(found[0] as string, /[\n\r\0]/);
    });
  }
}

describe("bad CIDRs", () => {
  const list: readonly Bad[] = [
    ["10.0.0.1/33", "prefix length 33 is out of range; IPv4 has 0 to 32"],
    ["fe80::/129", "prefix length 129 is out of range; IPv6 has 0 to 128"],
    ["10.0.0.1/24", "host bits are set; the network is 10.0.0.0/24"],
    ["2001:db8::1/64", "host bits are set; the network is 2001:db8::/64"],
    ["10.0.0.129/25", "host bits are set; the network is 10.0.0.128/25"],
    ["010.0.0.1", "leading zeros are ambiguous (decimal or octal); if decimal is meant, write 10.0.0.1"],
    ["10.0.0.0/08", "the prefix length has leading zeros; write /8"],
    ["10.0.0.0/", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/-1", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/8/8", "the prefix length must be a number from 0 to 32"],
    ["10.0.0.0/255.255.0.0", "a netmask; write the prefix length: 10.0.0.0/16"],
    ["10.0.0.0/255.0.255.0", "the prefix length must be a number from 0 to 32"],
    ["fe80::1%eth0", "a zone id has no meaning here; write fe80::1"],
    ["fe80::%eth0/64", "a zone id has no meaning here; write fe80::"],
    ["::ffff:10.0.0.0/104", "an IPv4-mapped IPv6 network; packets carry it as IPv4: write 10.0.0.0/8"],
    ["::ffff:10.1.2.3", "an IPv4-mapped IPv6 network; packets carry it as IPv4: write 10.1.2.3/32"],
    ["::ffff:0:0/96", "an IPv4-mapped IPv6 network; packets carry it as IPv4: write 0.0.0.0/0"],
    ["example.com", "not an address; if example.com is a name, use --domain for it"],
    ["10/8", "an IPv4 address has four numbers with dots between, like 10.0.0.1"],
    ["10.0.0", "an IPv4 address has four numbers with dots between, like 10.0.0.1"],
    ["300.1.1.1", "300 is out of range; each number of an IPv4 address is 0 to 255"],
    ["10.0.0.1-10.0.0.9", "a range; write it as networks like 10.0.0.0/24"],
    ["10.0.0.1:53", "no port belongs here; write 10.0.0.1"],
    ["[::1]:53", "no port belongs here; write ::1"],
    ["[::1]", "write it without brackets: ::1"],
    ["1:2:3/64", "not an IPv6 address"],
    ["::1::", "not an IPv6 address"],
    ["", "empty; write a network like 10.0.0.0/24, or one address"],
    [" 10.0.0.0/8", "one network for each flag, without spaces or commas"],
    ["10.0.0.0/8,11.0.0.0/8", "one network for each flag, without spaces or commas"],
    ["/8", "not an address"],
  ];
  eachBad("--cidr", "cidr", list);
  eachBad("--deny-cidr", "denyCidr", list.slice(0, 3));
});

describe("good CIDRs", () => {
  for (const [text, network] of [
    ["10.0.0.1", "10.0.0.1/32"],
    ["2001:db8::1", "2001:db8::1/128"],
    ["10.0.0.0/24", "10.0.0.0/24"],
    ["10.0.0.1/32", "10.0.0.1/32"],
    ["10.0.0.128/25", "10.0.0.128/25"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["::/0", "::/0"],
    ["2001:DB8:0::/33", "2001:db8::/33"],
    ["::/95", "::/95"],
  ] as const) {
    test(text, () => {
      const rule = specOf({ cidr: [text] }).rules[0];
      assert.ok(rule?.kind === "cidr");
      assert.equal(formatCidr(rule.cidr), network);
      assert.equal(rule.text, `--cidr ${text}`);
    });
  }
});

describe("bad names", () => {
  const label64 = "x".repeat(64);
  const list: readonly Bad[] = [
    ["a..b", "an empty label: a dot too many, or nothing but a dot"],
    ["a.b..", "an empty label: a dot too many, or nothing but a dot"],
    [".", "an empty label: a dot too many, or nothing but a dot"],
    ["..x.io", "an empty label: a dot too many, or nothing but a dot"],
    ["", "empty; write a name like api.example.com"],
    [`${label64}.io`, `the label ${label64} has 64 bytes; at most 63`],
    [`${"abcdefg.".repeat(31)}abcdef`, "the name has 254 bytes; at most 253"],
    ["a b.io", "contains a space; one name for each flag"],
    ["x.io ", "contains a space; one name for each flag"],
    ["x\n.io", "contains a space; one name for each flag"],
    ["x\0.io", 'the character "\\u0000" can\'t be in a name; letters, digits, - and _ can'],
    ["x!.io", 'the character "!" can\'t be in a name; letters, digits, - and _ can'],
    ["user@x.io", 'the character "@" can\'t be in a name; letters, digits, - and _ can'],
    ["*", "would let every name through; write the names, or --cidr 0.0.0.0/0 and --cidr ::/0"],
    ["10.0.0.1", "an address, not a name; use --cidr 10.0.0.1/32"],
    ["2001:db8::1", "an address, not a name; use --cidr 2001:db8::1/128"],
    ["[2001:db8::1]", "an address, not a name; use --cidr 2001:db8::1/128"],
    ["10.0.0.0/8", "a network, not a name; use --cidr 10.0.0.0/8"],
    ["1.2.3", "the last label is a number, which no name has; for an address use --cidr"],
    ["https://x.io/", "a URL; write the name alone: x.io"],
    ["HTTPS://user:pw@x.io:8443/a?b#c", "a URL; write the name alone: x.io"],
    ["x.io/path", "a name has no path; write x.io"],
    ["x.io:443", "a name has no port; write x.io, and --port tcp/443 to limit the ports"],
    ["a.io,b.io", "one name for each flag; give the flag again for the next"],
    ["x.\u00fc!.de", 'the character "!" can\'t be in a name; letters, digits, - and _ can'],
  ];
  eachBad("--domain", "domain", list);
  eachBad("--cn", "cn", list);
  eachBad("--domain", "domain", [
    ["a.*.io", "* stands only at the front and for whole labels: *.example.com"],
    ["*x.io", "* stands only at the front and for whole labels: *.example.com"],
    ["*.*.io", "* stands only at the front and for whole labels: *.example.com"],
    ["x.*", "* stands only at the front and for whole labels: *.example.com"],
    ["suffix:", "empty; write a name like api.example.com"],
    ["suffix:*.x.io", "a suffix has no *; write .x.io, or --domain *.x.io"],
  ]);
  eachBad("--cn", "cn", [
    ["*.x.io", "a suffix has no *; write .x.io, or --domain *.x.io"],
    ["*x.io", "a suffix has no *; write x.io"],
    ["suffix:x.io", "--cn always means a suffix; write x.io"],
    ["ünchen.de", "a partial label outside ASCII can't be compared; write .ünchen.de, or --domain ünchen.de"],
  ]);
});

describe("good names have one normal form", () => {
  const label63 = "x".repeat(63);
  const name253 = `${"abcdefg.".repeat(31)}abcde`;
  for (const [text, kind, name] of [
    ["API.X.io.", "exact", "api.x.io"],
    ["localhost", "exact", "localhost"],
    ["_dmarc.x-y.io", "exact", "_dmarc.x-y.io"],
    ["*.X.io", "below", "x.io"],
    [".x.IO.", "apexAndBelow", "x.io"],
    ["suffix:Ome.com", "suffix", "ome.com"],
    ["suffix:.x.io", "suffix", ".x.io"],
    ["suffix:-cdn.net", "suffix", "-cdn.net"],
    ["München.de", "exact", "xn--mnchen-3ya.de"],
    ["*.münchen.de", "below", "xn--mnchen-3ya.de"],
    ["suffix:.münchen.de", "suffix", ".xn--mnchen-3ya.de"],
    [`${label63}.io`, "exact", `${label63}.io`],
    [name253, "exact", name253],
  ] as const) {
    test(text.slice(0, 70), () => {
      const rule = specOf({ domain: [text] }).rules[0];
      assert.ok(rule?.kind === "name");
      assert.deepEqual(rule.pattern, { kind, name });
    });
  }
  test("--cn is a suffix, whatever it looks like", () => {
    const patterns = specOf({ cn: ["www.some-example.com", ".ubuntu.com", "ome.com"] }).rules.map(
      (rule) => rule.kind === "name" && rule.pattern,
    );
    assert.deepEqual(patterns, [
      { kind: "suffix", name: "www.some-example.com" },
      { kind: "suffix", name: ".ubuntu.com" },
      { kind: "suffix", name: "ome.com" },
    ]);
  });
});

describe("ports", () => {
  const known = "tcp, udp, icmp, icmpv6, gre, esp, ah, sctp";
  eachBad("--port", "port", [
    ["tcp/0", "port 0 is out of range; ports are 1 to 65535"],
    ["tcp/65536", "port 65536 is out of range; ports are 1 to 65535"],
    ["tcp/1-65536", "port 65536 is out of range; ports are 1 to 65535"],
    ["99999999999999999999", "port 100000000000000000000 is out of range; ports are 1 to 65535"],
    ["tcp/2000-1000", "the range is reversed; write 1000-2000"],
    ["foo/443", `unknown protocol "foo"; one of ${known}, or a port number alone for tcp and udp`],
    ["https", `unknown protocol "https"; one of ${known}, or a port number alone for tcp and udp`],
    ["443/tcp", "the protocol comes first: write tcp/443"],
    ["icmp/8", "icmp takes no port here; write icmp"],
    ["gre/1", "gre takes no port here; write gre"],
    ["tcp/", '"" is no port; write a number like 443 or a range like 1000-2000'],
    ["tcp/1-2-3", '"1-2-3" is no port; write a number like 443 or a range like 1000-2000'],
    ["tcp/http", '"http" is no port; write a number like 443 or a range like 1000-2000'],
    ["-5", '"-5" is no port; write a number like 443 or a range like 1000-2000'],
    ["tcp/80,443", "one port or range for each flag; give the flag again for the next"],
    ["tcp/80 443", "contains a space; write it like tcp/443"],
    ["", "empty; write it like tcp/443"],
  ]);
  eachBad("--name-port", "namePort", [
    ["icmp", "only tcp and udp carry names; write it like tcp/8443"],
    ["sctp/443", "only tcp and udp carry names; write it like tcp/8443"],
    ["tcp/0", "port 0 is out of range; ports are 1 to 65535"],
  ]);

  const ports = (port: string[]) => specOf({ domain: ["x.io"], port }).ports.map(formatRange);
  test("every form", () => {
    assert.deepEqual(ports(["tcp/443"]), ["tcp/443"]);
    assert.deepEqual(ports(["TCP/443"]), ["tcp/443"]);
    assert.deepEqual(ports(["udp/53"]), ["udp/53"]);
    assert.deepEqual(ports(["tcp/1000-2000"]), ["tcp/1000-2000"]);
    assert.deepEqual(ports(["tcp/1-65535"]), ["tcp/1-65535"]);
    assert.deepEqual(ports(["443"]), ["tcp/443", "udp/443"]);
    assert.deepEqual(ports(["tcp"]), ["tcp"]);
    assert.deepEqual(ports(["icmp"]), ["icmp", "icmpv6"]);
    assert.deepEqual(ports(["icmpv6"]), ["icmpv6"]);
    assert.deepEqual(ports(["gre"]), ["gre"]);
    assert.deepEqual(ports(["sctp/2905"]), ["sctp/2905"]);
    assert.deepEqual(ports([]), []);
  });
  test("overlapping and neighbouring ranges are joined, others are not", () => {
    assert.deepEqual(ports(["tcp/90-100", "tcp/80-89", "tcp/95-120", "tcp/122", "udp/80"]), [
      "tcp/80-120",
      "tcp/122",
      "udp/80",
    ]);
  });
  test("name ports: the default, and what replaces it", () => {
    const namePorts = (namePort: string[]) => specOf({ domain: ["x.io"], namePort }).namePorts.map(formatRange);
    assert.deepEqual(namePorts([]), ["tcp/80", "tcp/443", "tcp/8080", "tcp/8443", "udp/443"]);
    assert.deepEqual(namePorts(["tcp/9443"]), ["tcp/9443"]);
  });
  test("14 separate ranges fit, 15 don't: a resolver needs two more in the same set", () => {
    const list = (n: number) => Array.from({ length: n }, (_, i) => `tcp/${1000 + 2 * i}`);
    assert.equal(ports(list(14)).length, 14);
    assert.deepEqual(errors({ port: list(15) }), ["--port: 15 separate ranges; at most 14: join neighbouring ones"]);
  });
});

describe("resolvers", () => {
  eachBad("--resolver", "resolver", [
    ["dns.google", "not an address; if dns.google is a name, give the resolver's address instead"],
    ["1.1.1.1:53", "no port belongs here; write 1.1.1.1"],
    ["1.1.1.0/24", "a network; write one address"],
    ["0.0.0.0", "no host has this address; give the resolver's own"],
    ["::", "no host has this address; give the resolver's own"],
    ["224.0.0.251", "no host has this address; give the resolver's own"],
    ["ff02::fb", "no host has this address; give the resolver's own"],
    ["::ffff:1.1.1.1", "an IPv4-mapped IPv6 address; write 1.1.1.1"],
    ["fe80::1%eth0", "a zone id has no meaning here; write fe80::1"],
    ["", "empty; write an address like 10.0.0.53"],
  ]);
  test("the box's own are taken only if none was given", () => {
    const own = ["9.9.9.9", "9.9.9.9", "2620:fe::fe"].map((text) => parseAddr(text) as Addr);
    const texts = (spec: PolicySpec) => withResolvers(spec, own).resolvers.map(formatAddr);
    assert.deepEqual(texts(specOf({ domain: ["x.io"] })), ["9.9.9.9", "2620:fe::fe"]);
    assert.deepEqual(texts(specOf({ domain: ["x.io"], resolver: ["10.0.0.53"] })), ["10.0.0.53"]);
  });
});

describe("words", () => {
  test("each option's values and default", () => {
    const { verify, reject, dnsDeny } = specOf({ domain: ["x.io"] });
    assert.deepEqual({ verify, reject, dnsDeny }, { verify: "both", reject: "rst", dnsDeny: "refused" });
    for (const verify of ["dns", "sni", "both"]) assert.equal(specOf({ domain: ["x.io"], verify }).verify, verify);
    for (const reject of ["rst", "drop"]) assert.equal(specOf({ domain: ["x.io"], reject }).reject, reject);
    for (const quic of ["inspect", "deny"]) assert.equal(specOf({ domain: ["x.io"], quic }).quic, quic);
    assert.equal(specOf({ domain: ["x.io"] }).quic, "inspect");
    for (const dnsDeny of ["drop", "refused", "nxdomain"])
      assert.equal(specOf({ domain: ["x.io"], dnsDeny }).dnsDeny, dnsDeny);
  });
  test("anything else is an error", () => {
    assert.deepEqual(errors({ verify: "BOTH", reject: "", dnsDeny: "servfail", quic: "allow" }), [
      "--verify BOTH: unknown; one of dns, sni, both",
      '--reject "": unknown; one of rst, drop',
      "--dns-deny servfail: unknown; one of drop, refused, nxdomain",
      "--quic allow: unknown; one of inspect, deny",
    ]);
  });
});

describe("rules together", () => {
  test("no rules at all", () => {
    const parsed = parsePolicy(noFlags);
    assert.deepEqual(parsed, {
      ok: false,
      errors: ["no rules at all: nothing could pass; give at least one --cidr, --cn or --domain"],
    });
  });
  test("the same rule twice, also in another spelling", () => {
    assert.deepEqual(
      errors({
        cidr: ["10.0.0.0/8", "10.0.0.0/8", "1.2.3.4", "1.2.3.4/32"],
        denyCidr: ["fe80::/10", "FE80::/10"],
        domain: ["x.io", "X.io.", "*.y.io"],
        cn: ["ome.com", "ome.com", ".y.io"],
        resolver: ["::1", "0:0::1"],
        port: ["443", "443", "tcp/80", "TCP/80"],
      }),
      [
        "--cidr 10.0.0.0/8: given twice",
        "--cidr 1.2.3.4/32: the same as --cidr 1.2.3.4; keep one of them",
        "--deny-cidr FE80::/10: the same as --deny-cidr fe80::/10; keep one of them",
        "--cn ome.com: given twice",
        "--domain X.io.: the same as --domain x.io; keep one of them",
        "--domain *.y.io: the same as --cn .y.io; keep one of them",
        "--resolver 0:0::1: the same as --resolver ::1; keep one of them",
        "--port 443: given twice",
        "--port TCP/80: the same as --port tcp/80; keep one of them",
      ],
    );
  });
  test("forms that differ are not the same rule", () => {
    const domain = ["x.io", "*.x.io", ".x.io", "suffix:x.io"];
    assert.equal(specOf({ domain, cn: ["ax.io"], cidr: ["10.0.0.0/8", "10.0.0.0/9"] }).rules.length, 7);
  });
  test("allowed and denied", () => {
    assert.deepEqual(errors({ cidr: ["10.0.0.1/32"], denyCidr: ["10.0.0.1"] }), [
      "--cidr 10.0.0.1/32: contradicts --deny-cidr 10.0.0.1; keep one of them",
    ]);
  });
  test("every error is told, in the order of the flags", () => {
    const found = errors({ cidr: ["x", "10.0.0.1/33"], cn: ["*"], port: ["tcp/0"], resolver: ["y"], verify: "z" });
    assert.deepEqual(
      found.map((line) => line.split(":")[0]),
      ["--cidr x", "--cidr 10.0.0.1/33", "--cn *", "--resolver y", "--port tcp/0", "--verify z"],
    );
  });
  test("a flood of errors is cut", () => {
    const found = errors({ domain: Array.from({ length: 5000 }, (_, i) => `bad..${i}x`) });
    assert.equal(found.length, 101);
    assert.equal(found[100], "… and 4900 more errors");
  });
  test("rules stand in the order cidr, deny-cidr, cn, domain, with the text as written", () => {
    const spec = specOf({ domain: ["B.io"], cn: [".a.io"], denyCidr: ["10.0.0.0/8"], cidr: ["11.0.0.1"] });
    assert.deepEqual(
      spec.rules.map((rule) => rule.text),
      ["--cidr 11.0.0.1", "--deny-cidr 10.0.0.0/8", "--cn .a.io", "--domain B.io"],
    );
  });
});

describe("warnings", () => {
  test("a clean policy has none", () => {
    const clean = {
      domain: ["x.io", "*.y.io", ".z.io"],
      cn: [".ubuntu.com"],
      cidr: ["10.0.0.0/8"],
      denyCidr: ["11.0.0.0/8"],
    };
    assert.deepEqual(warnings(clean), []);
  });
  test("a suffix that doesn't begin with a dot", () => {
    assert.deepEqual(warnings({ cn: ["ome.com"] }), [
      "--cn ome.com: the suffix doesn't begin with a dot, so it also lets home.com and www.rome.com through; " +
        "--domain .ome.com means ome.com and what is below it",
    ]);
    assert.match(warnings({ domain: ["suffix:x.io"] })[0] as string, /hx\.io and www\.rx\.io/);
  });
  test("a whole top-level domain", () => {
    for (const flags of [{ cn: [".com"] }, { domain: ["*.com"] }, { domain: [".com"] }]) {
      assert.match(warnings(flags)[0] as string, /every name below the top-level domain com through$/);
    }
    assert.deepEqual(warnings({ domain: ["com"] }), []);
  });
  test("networks inside each other: the longer prefix wins", () => {
    const found = warnings({
      cidr: ["10.1.0.0/16", "10.0.0.0/7"],
      denyCidr: ["10.0.0.0/8", "10.1.2.0/24", "12.0.0.0/8"],
    });
    assert.deepEqual(found, [
      "--cidr 10.0.0.0/7 contains --deny-cidr 10.0.0.0/8: the longer prefix wins, 10.0.0.0/8 stays denied",
      "--deny-cidr 10.0.0.0/8 contains --cidr 10.1.0.0/16: the longer prefix wins, 10.1.0.0/16 stays allowed",
      "--cidr 10.1.0.0/16 contains --deny-cidr 10.1.2.0/24: the longer prefix wins, 10.1.2.0/24 stays denied",
    ]);
  });
  test("a whole family", () => {
    assert.match(warnings({ cidr: ["::/0"] })[0] as string, /^--cidr ::\/0: every IPv6 address .* is let through/);
    assert.match(
      warnings({ denyCidr: ["0.0.0.0/0"], domain: ["x.io"] })[0] as string,
      /every IPv4 address .* is denied/,
    );
  });
  test("denials only", () => {
    assert.deepEqual(warnings({ denyCidr: ["10.0.0.0/8"] }), ["nothing is allowed: all rules are --deny-cidr"]);
  });

  const covered = (...domain: string[]) => warnings({ domain }).filter((line) => line.includes("already covered"));
  test("a name rule that another one covers", () => {
    assert.deepEqual(covered("a.x.io", "*.x.io"), ["--domain a.x.io: already covered by --domain *.x.io"]);
    assert.deepEqual(covered("x.io", ".x.io"), ["--domain x.io: already covered by --domain .x.io"]);
    assert.deepEqual(covered("*.x.io", ".x.io"), ["--domain *.x.io: already covered by --domain .x.io"]);
    assert.deepEqual(covered("*.b.x.io", "*.x.io"), ["--domain *.b.x.io: already covered by --domain *.x.io"]);
    assert.deepEqual(covered(".b.x.io", "*.x.io"), ["--domain .b.x.io: already covered by --domain *.x.io"]);
    assert.deepEqual(covered("home.com", "suffix:ome.com"), [
      "--domain home.com: already covered by --domain suffix:ome.com",
    ]);
    assert.deepEqual(covered("suffix:ome.com", "suffix:me.com"), [
      "--domain suffix:ome.com: already covered by --domain suffix:me.com",
    ]);
    assert.deepEqual(covered("suffix:ome.x.io", "*.x.io"), [
      "--domain suffix:ome.x.io: already covered by --domain *.x.io",
    ]);
    assert.deepEqual(covered("suffix:.x.io", ".x.io"), ["--domain suffix:.x.io: already covered by --domain .x.io"]);
    assert.deepEqual(covered(".x.io", "suffix:x.io"), ["--domain .x.io: already covered by --domain suffix:x.io"]);
  });
  test("and its neighbours that none covers", () => {
    assert.deepEqual(covered("x.io", "*.x.io"), []);
    assert.deepEqual(covered("ax.io", ".x.io"), []);
    // One direction only.
    assert.deepEqual(covered("suffix:x.io", ".x.io"), ["--domain .x.io: already covered by --domain suffix:x.io"]);
    assert.deepEqual(covered(".x.io", "suffix:.x.io"), ["--domain suffix:.x.io: already covered by --domain .x.io"]);
    assert.deepEqual(covered("a.x.io", "b.x.io", "*.a.x.io"), []);
  });
  test("a flood of warnings is cut", () => {
    const found = warnings({ cn: Array.from({ length: 500 }, (_, i) => `n${i}a.io`) });
    assert.equal(found.length, 21);
    assert.equal(found[20], "… and 480 more warnings like these");
  });
});
