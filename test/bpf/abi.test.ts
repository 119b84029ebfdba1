import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as abi from "../../src/core/abi.generated.js";
import { parseHeader } from "../../scripts/gen-abi/header.js";

const headerPath = fileURLToPath(new URL("../../bpf/l7egg_abi.h", import.meta.url));
const generator = fileURLToPath(new URL("../../scripts/gen-abi.ts", import.meta.url));

test("the generated file is what the header gives", () => {
  const run = spawnSync(process.execPath, ["--import", "tsx", generator, "--check"], { encoding: "utf8" });
  assert.equal(run.stderr, "");
  assert.equal(run.status, 0);
});

test("sizes and offsets are those of the C compiler for the BPF target", () => {
  const dir = mkdtempSync(join(tmpdir(), "l7egg-abi-"));
  try {
    const { structs } = parseHeader(readFileSync(headerPath, "utf8"));
    const asserts = structs.flatMap((s) => [
      `_Static_assert(sizeof(struct l7_${s.name}) == ${s.size}, "${s.name}");`,
      ...s.fields.map(
        (f) =>
          `_Static_assert(__builtin_offsetof(struct l7_${s.name}, ${f.name}) == ${f.offset}, "${s.name}.${f.name}");`,
      ),
    ]);
    assert.ok(asserts.length > 80);
    const source = join(dir, "layout.c");
    writeFileSync(source, `#include <linux/types.h>\n#include "${headerPath}"\n${asserts.join("\n")}\n`);
    execFileSync("clang", ["-target", "bpf", ...multiarch(), "-fsyntax-only", source], { stdio: "pipe" });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a record survives encode and decode, at an offset too", () => {
  const flow: abi.AbiFlow = {
    lastSeenNs: 2n ** 63n + 1n,
    packets: 3n,
    bytes: 4n,
    replyPackets: 5n,
    replyBytes: 6n,
    generation: 0xfffffffe,
    rule: 8,
    judgedStart: 0xdeadbeef,
    judgedEnd: 10,
    verdict: abi.Verdict.DENY,
    reason: abi.Reason.UNLEARNED,
    flags: abi.FLOW_FINAL | abi.FLOW_BY_HELLO,
    next: 255,
    openedS: 0xfedcba98,
  };
  const both = Buffer.alloc(2 * abi.FLOW_SIZE, 0xff);
  abi.encodeFlow(flow, both, abi.FLOW_SIZE);
  assert.deepEqual(abi.decodeFlow(both, abi.FLOW_SIZE), flow);
  assert.ok(both.subarray(0, abi.FLOW_SIZE).every((byte) => byte === 0xff));
  assert.throws(() => abi.decodeFlow(both, abi.FLOW_SIZE + 1), RangeError);
});

test("ports of a flow key are in network order, those of a range in host order, padding is zero", () => {
  const tail = { sport: 0x1234, dport: 443, proto: 6, policy: 7 };
  const target6 = Buffer.alloc(abi.FLOW6_KEY_SIZE, 0xff);
  abi.encodeFlow6Key({ src: new Uint8Array(16).fill(1), dst: new Uint8Array(16).fill(2), ...tail }, target6);
  assert.equal(target6.toString("hex"), "01".repeat(16) + "02".repeat(16) + "1234" + "01bb" + "0700" + "06" + "00");
  const target4 = Buffer.alloc(abi.FLOW4_KEY_SIZE, 0xff);
  abi.encodeFlow4Key({ src: 0x0a000001, dst: 0x0a000002, ...tail }, target4);
  assert.equal(target4.toString("hex"), "0a000001" + "0a000002" + "1234" + "01bb" + "0700" + "06" + "00");
  assert.equal(
    abi.encodePortRange({ proto: 6, verdict: 3, low: 443, high: 0x1234, rule: 9 }).toString("hex"),
    "06030000" + "bb01" + "3412" + "09000000",
  );
});

test("wrong lengths are refused, short lists are zero-filled", () => {
  assert.throws(() => abi.encodeSourceKey({ prefixlen: 64, ifindex: 1, addr: new Uint8Array(4) }), RangeError);
  const range = { proto: 6, verdict: abi.Verdict.ALLOW, low: 1, high: 2, rule: 3 };
  const set = abi.decodePortSet(abi.encodePortSet({ count: 1, ranges: [range] }));
  assert.deepEqual(set.ranges[0], range);
  assert.deepEqual(set.ranges[15], { proto: 0, verdict: 0, low: 0, high: 0, rule: 0 });
  assert.throws(() => abi.encodePortSet({ count: 17, ranges: Array(17).fill(range) }), RangeError);
});

test("every reason has a name and a line of explanation", () => {
  assert.equal(abi.reasonName(abi.Reason.NAME_IP_MISMATCH), "name-ip-mismatch");
  assert.equal(abi.reasonName(99), "reason-99");
  for (const code of Object.values(abi.Reason)) assert.notEqual(abi.reasonDoc(code), "");
});

test("the generator refuses what it can't read", () => {
  assert.throws(() => parseHeader("struct l7_x {\n\tint a;\n};"), /not understood/);
  assert.throws(() => parseHeader("struct l7_x {\n\t__u8 a;\n\t__u32 b;\n};"), /implicit padding before b/);
  assert.throws(() => parseHeader("struct l7_x {\n\t__u32 a;\n\t__u8 b;\n};"), /implicit padding at the end/);
  assert.throws(() => parseHeader("enum l7_x {\n\tL7_X_A = 1,\n\tL7_X_B = 1,\n};"), /twice/);
  assert.throws(() => parseHeader("typedef int x;"), /not understood/);
});

/** Debian keeps asm/types.h under the triplet, which clang's BPF target doesn't search. */
function multiarch(): string[] {
  const triplet = execFileSync("clang", ["-print-multiarch"], { encoding: "utf8" }).trim();
  return ["-I", `/usr/include/${triplet || "x86_64-linux-gnu"}`];
}
