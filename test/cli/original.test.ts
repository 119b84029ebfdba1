import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest, parseOriginal } from "../../src/cli/original.js";
import { readRunOptions } from "../../src/cli/runOptions.js";
import { UsageError } from "../../src/edge/errors.js";

test("the original's command line as its README has it", () => {
  const command = parseOriginal([
    "-iface=enp0s3",
    "-eface=enp0s3",
    "-cidr=10.0.2.0/24",
    "-cidr=18.244.102.124/32",
    "-cn=www.some-example.com",
    "-cn=.ubuntu.com",
    "-cn=ome.com",
  ]);
  assert.equal(command.kind, "run");
  assert.deepEqual(command.kind === "run" && command.options, {
    iface: "enp0s3",
    eface: "enp0s3",
    cidr: ["10.0.2.0/24", "18.244.102.124/32"],
    cn: ["www.some-example.com", ".ubuntu.com", "ome.com"],
  });
  const options = readRunOptions(command.kind === "run" ? command.options : {});
  assert.deepEqual(options.lan, [], "this machine's own egress");
  assert.equal(options.eface, "enp0s3");
});

test("Go's spellings: two dashes, a space before the value, an empty value", () => {
  const command = parseOriginal(["--eface", "eth0", "-cn", "a.io", "--cn=b.io", "-cidr="]);
  assert.deepEqual(command.kind === "run" && command.options, { eface: "eth0", cidr: [""], cn: ["a.io", "b.io"] });
});

test("-h and -help", () => {
  assert.equal(parseOriginal(["-h"]).kind, "help");
  assert.equal(parseOriginal(["--help"]).kind, "help");
});

test("what is wrong, one line each", () => {
  const lines = (argv: string[]) => {
    try {
      parseOriginal(argv);
    } catch (error) {
      assert.ok(error instanceof UsageError);
      return error.lines;
    }
    return [];
  };
  assert.deepEqual(lines(["-cm=x", "-ifcae", "eth0"]), [
    "unknown flag -cm: did you mean -cn?",
    "unknown flag -ifcae: did you mean -iface?",
  ]);
  assert.deepEqual(lines(["-domain=x.io"]), [
    "unknown flag -domain: there are -iface, -eface, -cidr, -cn; l7egg run has more",
  ]);
  assert.match(lines(["eth0"])[0] as string, /unexpected argument "eth0"/);
  assert.deepEqual(lines(["-cn"]), ["flag -cn needs a value"]);
  assert.match(lines(["-eface=a", "-eface=b"])[0] as string, /-eface is given as a and b/);
});

test("the nearest flag", () => {
  assert.equal(nearest("cm"), "cn");
  assert.equal(nearest("cdir"), "cidr");
  assert.equal(nearest("interface"), "iface");
  assert.equal(nearest("efaec"), "eface");
  for (const other of ["domain", "lan", "x", "queue", "masquerade"]) assert.equal(nearest(other), undefined, other);
});
