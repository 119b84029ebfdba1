/** `l7egg check`, and what `run` says of a policy file, as they are typed. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { program } from "../lab/gateway.js";
import { run } from "../lab/process.js";

let folder: string;
before(() => (folder = mkdtempSync(join(tmpdir(), "check-"))));
after(() => rmSync(folder, { recursive: true }));

async function check(text: string, args: readonly string[] = []) {
  writeFileSync(join(folder, "p.yaml"), text);
  return run([...program(), "check", "p.yaml", ...args], { cwd: folder });
}

test("a good one: a summary, and what may not be meant as a warning", async () => {
  writeFileSync(join(folder, "names.txt"), "a.io\nb.io\n");
  const { code, stdout, stderr } = await check(
    "domain-file: names.txt\ncn: ome.com\ncidr: 10.0.0.0/8\ndeny-cidr: [10.1.0.0/16, 10.2.0.0/16]\nport: tcp/443\nresolver: 192.0.2.53\n",
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.split("\n"), [
    "p.yaml is good: 3 names, 1 allowed network, 2 denied networks",
    "verify both, reject rst, dns-deny refused; ports: tcp/443; name ports: tcp/80, tcp/443, tcp/8080, tcp/8443, udp/443",
    "resolvers: 192.0.2.53",
    "",
  ]);
  assert.match(stderr, /^warning: cn ome\.com: the suffix doesn't begin with a dot/);
});

test("a bad one: each error with its place, exit code 2", async () => {
  const { code, stdout, stderr } = await check("domain:\n  - a..io\nport: tcp/0\n");
  assert.deepEqual([code, stdout], [2, ""]);
  assert.deepEqual(stderr.split("\n"), [
    "l7egg: p.yaml:2:5: domain a..io: an empty label: a dot too many, or nothing but a dot",
    "l7egg: p.yaml:3:7: port tcp/0: port 0 is out of range; ports are 1 to 65535",
    "",
  ]);
});

test("what doesn't fit, what isn't there, what is no file, what is not UTF-8", async () => {
  const many = Array.from({ length: 20 }, (_, i) => `10.0.${i}.0/24`).join(", ");
  const full = await check(`cidr: [${many}]\n`, ["--max-cidrs", "10"]);
  assert.deepEqual([full.code, full.stderr], [2, "l7egg: p.yaml: the rules need 20 IPv4 table entries, there is room for 10: raise --max-cidrs\n"]); // prettier-ignore
  const at = (file: string) => run([...program(), "check", file], { cwd: folder });
  assert.deepEqual((await at("nowhere.yaml")).stderr, "l7egg: nowhere.yaml: no such file\n");
  assert.deepEqual((await at(".")).stderr, "l7egg: .: not a file\n");
  await run(["mkfifo", "pipe"], { cwd: folder });
  assert.deepEqual((await at("pipe")).stderr, "l7egg: pipe: not a file\n");
  writeFileSync(join(folder, "latin1.yaml"), Buffer.from("domain: m\xfcnchen.de\n", "latin1"));
  assert.deepEqual((await at("latin1.yaml")).stderr, "l7egg: latin1.yaml: not UTF-8\n");
  writeFileSync(join(folder, "huge.yaml"), Buffer.alloc(8 * 2 ** 20 + 1, "#"));
  assert.match((await at("huge.yaml")).stderr, /^l7egg: huge\.yaml: longer than 8 MiB; put the entries into a list of their own, one a line, and name it: domain-file: names\.txt\n$/); // prettier-ignore
});
