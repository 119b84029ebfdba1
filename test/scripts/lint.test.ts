/**
 * The architecture is held by lint rules; here are the files that break it. Each lies in a small tree of its own, under the rules
 * of the real eslint.config.js, and each has a neighbour that is allowed to do the same thing.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ESLint } from "eslint";

const repo = fileURLToPath(new URL("../..", import.meta.url));

/** File → its content. `broken` names the rule that must reject it; undefined: must pass. */
interface Case {
  readonly file: string;
  readonly code: string;
  readonly broken: string | undefined;
}

const layers = "l7egg/layers";
const imports = (file: string, from: string, broken: string | undefined): Case => ({
  file,
  code: `import { one } from "${from}";\nexport const two = one + 1;\n`,
  broken,
});

const cases: readonly Case[] = [
  // cli → control → edge → core: downwards yes, upwards no.
  imports("src/cli/down.ts", "../control/one.js", undefined),
  imports("src/control/down.ts", "../edge/one.js", undefined),
  imports("src/edge/down.ts", "../core/one.js", undefined),
  imports("src/core/sub/inside.ts", "../one.js", undefined),
  imports("src/control/up.ts", "../cli/one.js", layers),
  imports("src/edge/up.ts", "../control/one.js", layers),
  imports("src/core/up.ts", "../edge/one.js", layers),
  imports("src/core/sub/up.ts", "../../cli/one.js", layers),
  // edge → native, and nobody else.
  imports("src/edge/addon.ts", "../native/one.js", undefined),
  imports("src/core/addon.ts", "../native/one.js", layers),
  imports("src/control/addon.ts", "../native/one.js", layers),
  imports("src/cli/addon.ts", "../native/one.js", layers),
  imports("src/native/up.ts", "../core/one.js", layers),
  // Every way to import is an import.
  { file: "src/core/reexport.ts", code: `export { one } from "../edge/one.js";\n`, broken: layers },
  { file: "src/core/reexportAll.ts", code: `export * from "../edge/one.js";\n`, broken: layers },
  {
    file: "src/core/typeOnly.ts",
    code: `import type { one } from "../edge/one.js";\nexport type One = typeof one;\n`,
    broken: layers,
  },
  {
    file: "src/edge/dynamic.ts",
    code: `export const one = (await import("../cli/one.js")).one;\n`,
    broken: layers,
  },
  // The .node file.
  { file: "src/native/load.ts", code: `export const path = "../../build/l7egg.node";\n`, broken: undefined },
  { file: "src/edge/load.ts", code: `export const path = "../../build/l7egg.node";\n`, broken: "no-restricted-syntax" },
  { file: "test/load.ts", code: `export const path = "../build/l7egg.node";\n`, broken: "no-restricted-syntax" },
  // core is sans-io; edge isn't.
  ...[
    { name: "fs", code: `import { readFileSync } from "node:fs";\nexport const read = readFileSync;\n` },
    { name: "bareFs", code: `import { readFileSync } from "fs";\nexport const read = readFileSync;\n` },
    { name: "random", code: `import { randomBytes } from "node:crypto";\nexport const more = randomBytes;\n` },
  ].flatMap(({ name, code }) => inCoreAndEdge(name, code, "no-restricted-imports")),
  ...[
    { name: "timer", code: `export const later = (f: () => void): unknown => setTimeout(f, 1);\n` },
    { name: "clock", code: `export const now = (): number => Date.now();\n` },
    { name: "process", code: `export const env = process.env;\n` },
  ].flatMap(({ name, code }) => inCoreAndEdge(name, code, "no-restricted-globals")),
  {
    file: "src/core/hash.ts",
    code: `import { createHash } from "node:crypto";\nexport const hash = createHash;\n`,
    broken: undefined,
  },
  { file: "src/core/chance.ts", code: `export const chance = Math.random();\n`, broken: "no-restricted-properties" },
  {
    file: "src/core/dynamic.ts",
    code: `export const fs = await import("node:fs");\n`,
    broken: "no-restricted-syntax",
  },
  // Output and exit belong to the command line.
  { file: "src/edge/log.ts", code: `console.log("hello");\n`, broken: "no-console" },
  { file: "src/cli/log.ts", code: `console.log("hello");\n`, broken: undefined },
  { file: "src/edge/exit.ts", code: `process.exit(1);\n`, broken: "no-restricted-properties" },
  { file: "src/cli/exit.ts", code: `process.exit(1);\n`, broken: undefined },
  // The type-aware rules are on.
  {
    file: "src/edge/floating.ts",
    code: `const late = async (): Promise<void> => {\n  await Promise.resolve();\n};\nlate();\n`,
    broken: "@typescript-eslint/no-floating-promises",
  },
  {
    file: "src/core/exhaustive.ts",
    code: `export function f(x: "a" | "b"): number {\n  switch (x) {\n    case "a":\n      return 1;\n  }\n  return 2;\n}\n`,
    broken: "@typescript-eslint/switch-exhaustiveness-check",
  },
];

const tree = mkdtempSync(join(tmpdir(), "l7egg-lint-"));
after(() => rmSync(tree, { recursive: true, force: true }));

const results = await lintTree();

for (const { file, broken } of cases) {
  test(`${file} ${broken === undefined ? "passes" : `is rejected by ${broken}`}`, () => {
    const rules = results.get(file);
    assert.deepEqual(rules, broken === undefined ? [] : [broken]);
  });
}

function inCoreAndEdge(name: string, code: string, broken: string): readonly Case[] {
  return [
    { file: `src/core/${name}.ts`, code, broken },
    { file: `src/edge/${name}.ts`, code, broken: undefined },
  ];
}

/** File → rules that it breaks. */
async function lintTree(): Promise<ReadonlyMap<string, readonly string[]>> {
  const write = (file: string, content: string) => {
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    writeFileSync(join(tree, file), content);
  };
  symlinkSync(join(repo, "node_modules"), join(tree, "node_modules"));
  write("package.json", `{ "type": "module" }`);
  write("tsconfig.json", JSON.stringify({ extends: join(repo, "tsconfig.json"), compilerOptions: { rootDir: "." } }));
  write("tsconfig.check.json", `{ "extends": "./tsconfig.json", "include": ["src", "test"] }`);
  const config = JSON.stringify(pathToFileURL(join(repo, "eslint.config.js")).href);
  write(
    "eslint.config.js",
    `import { configFor } from ${config};\nexport default configFor(${JSON.stringify(tree)});\n`,
  );
  for (const layer of ["core", "native", "edge", "control", "cli"]) {
    write(`src/${layer}/one.ts`, "export const one: number = 1;\n");
  }
  for (const { file, code } of cases) write(file, code);
  const found = await new ESLint({ cwd: tree }).lintFiles(["src", "test"]);
  return new Map(
    found.map((result) => [
      result.filePath.slice(tree.length + 1),
      result.messages.map((message) => message.ruleId ?? `not linted: ${message.message}`),
    ]),
  );
}
