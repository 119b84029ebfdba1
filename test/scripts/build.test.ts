/** A compiler that knows more warnings than ours must not stop a user's build; our own lint step lets none pass. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const repo = fileURLToPath(new URL("../..", import.meta.url));
const warns = "int f(void);\nint f(void)\n{\n\tint unused;\n\treturn 0;\n}\n";

/** What a Makefile builds from the sources given here, and how it is asked for it. */
const builds = {
  native: { files: { "one.c": warns }, ask: ["NAPI=/nowhere", "BUILD=../out"], made: "../out/native/one.o" },
  bpf: { files: { "l7egg.bpf.c": warns }, ask: ["OUT=../out/one.o"], made: "../out/one.o" },
  bench: {
    files: { "load/one.c": `${warns}int main(void)\n{\n\treturn f();\n}\n`, "load/load.h": "" },
    ask: ["OUT=../out"],
    made: "../out/one",
  },
};

for (const [name, { files, ask, made }] of Object.entries(builds)) {
  test(`${name}/Makefile: a warning is an error only with WERROR=1`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "l7egg-build-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const at = join(folder, name);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(at, path)), { recursive: true });
      writeFileSync(join(at, path), text);
    }
    copyFileSync(join(repo, name, "Makefile"), join(at, "Makefile"));
    const make = (...args: string[]) => spawnSync("make", ["-C", at, ...args, ...ask, made], { encoding: "utf8" });
    const strict = make("WERROR=1");
    assert.notEqual(strict.status, 0);
    assert.match(strict.stderr, /\[-Werror,?-Wunused-variable\]|\[-Werror=unused-variable\]/);
    assert.equal(existsSync(join(at, made)), false);
    const plain = make();
    assert.equal(plain.status, 0, plain.stderr);
    assert.match(plain.stderr, /\[-Wunused-variable\]/);
    assert.ok(existsSync(join(at, made)));
  });
}
