/** The eBPF programs stay short: in instructions, and in what the verifier has to walk through. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { native, type BpfProgram } from "../../../src/native/index.js";
import { instructionBounds, most, verifierBounds } from "./bounds.js";

// L7EGG_BPF_OBJECT: another build of it, as in test/bpf.
const path = process.env["L7EGG_BPF_OBJECT"] ?? fileURLToPath(new URL("../../../build/l7egg.bpf.o", import.meta.url));
const object = native.loadObject({ path, maxEntries: { flows4: 64, flows6: 64 } });

test("instructions of each program", async (t) => {
  for (const bound of instructionBounds) {
    await t.test(`${bound.name}: at most ${most(bound)}`, () => {
      const count = instructions(object.program(bound.name));
      assert.ok(count <= most(bound), `${count} instructions; ${bound.measured} are known: ${bound.why}`);
      assert.ok(count >= bound.measured / 2, `only ${count} instructions: set its bound anew`);
    });
  }
});

test("instructions that the verifier walks through", async (t) => {
  for (const bound of verifierBounds) {
    await t.test(`${bound.name}: at most ${most(bound)}`, () => {
      const count = walked(object.program(bound.name));
      assert.ok(count <= most(bound), `${count} instructions; ${bound.measured} are known: ${bound.why}`);
    });
  }
});

/** As translated by the verifier, helper calls inlined. */
function instructions(program: BpfProgram): number {
  const text = execFileSync("bpftool", ["-j", "prog", "show", "id", String(program.id)], { encoding: "utf8" });
  const { name, bytes_xlated: bytes } = JSON.parse(text) as { name: string; bytes_xlated: number };
  assert.equal(name, program.name);
  return bytes / 8;
}

/** bpf_prog_info.verified_insns, as the descriptor shows it (kernel >= 5.16; older ones: 0, they don't count). */
function walked(program: BpfProgram): number {
  const info = readFileSync(`/proc/self/fdinfo/${program.fd}`, "utf8");
  return Number(/^verified_insns:\s*(\d+)$/m.exec(info)?.[1] ?? 0);
}
