/** `l7egg doctor`: yes, no or could not tell, and what each "no" costs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import type { Feature } from "../../src/edge/features.js";
import { program } from "../lab/gateway.js";
import { without } from "./without.js";

function doctor(before: readonly string[] = [], ...args: string[]) {
  const [command, ...rest] = [...before, ...program(), "doctor", ...args];
  const out = spawnSync(command as string, rest, { encoding: "utf8" });
  assert.equal(out.stderr, "");
  return { code: out.status, lines: out.stdout.trimEnd().split("\n") };
}

test("here: everything that is needed is there; each feature says what its lack costs", () => {
  const { code, lines } = doctor([], "--json");
  const { ready, features, warnings } = JSON.parse(lines.join("\n")) as {
    ready: boolean;
    features: readonly Feature[];
    warnings: readonly string[];
  };
  assert.equal(code, 0);
  assert.equal(ready, true);
  assert.ok(Array.isArray(warnings));
  assert.ok(features.length >= 17);
  for (const feature of features) {
    assert.match(feature.answer, /^(yes|no|unknown)$/);
    assert.ok(feature.cost.length > 3, feature.name);
    if (feature.needed) assert.equal(feature.answer, "yes", feature.name);
  }
  const text = doctor();
  assert.equal(text.code, 0);
  assert.match(text.lines[0] as string, /^eBPF on TC +yes$/);
  assert.equal(text.lines.at(-1), "a gateway can run here");
});

test("no: what is needed ends with 1, what isn't with its cost", () => {
  const needed = doctor(without("nfqueue"));
  assert.equal(needed.code, 1);
  assert.ok(needed.lines.some((line) => /^NFQUEUE +no +NEEDED: no gateway: undecided packets/.test(line)));
  assert.equal(needed.lines.at(-1), "no gateway can run here: NFQUEUE missing");
  const nice = doctor(without("tcx"));
  assert.equal(nice.code, 0);
  assert.ok(nice.lines.some((line) => /^TCX links \(kernel 6\.6\) +no +clsact filters instead/.test(line)));
  assert.equal(nice.lines.at(-1), "a gateway can run here");
  const none = doctor(without("bpf"), "--json");
  assert.equal(none.code, 1);
  assert.equal((JSON.parse(none.lines.join("\n")) as { ready: boolean }).ready, false);
});

test("could not tell: a privilege is in the way, and that is said, too", () => {
  const { code, lines } = doctor(["setpriv", "--bounding-set=-net_admin"]);
  assert.equal(code, 1);
  assert.ok(lines.some((line) => /^NFQUEUE +could not tell +NEEDED: /.test(line)));
  assert.ok(
    lines.some((line) => /^capabilities +no +NEEDED: no gateway: this process lacks CAP_NET_ADMIN$/.test(line)),
  );
  assert.equal(lines.at(-1), "no gateway can run here: capabilities missing");
});
