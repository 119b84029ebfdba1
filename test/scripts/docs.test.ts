/** The pages say what is true: links lead somewhere, options and files exist, each dependency is accounted for. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { buildProgram } from "../../src/cli/main.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const commands = new Map(buildProgram().commands.map((command) => [command.name(), command]));
const optionsOf = (command: Command) => command.options.map((option) => option.long ?? "");

test("links between pages lead somewhere", () => {
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
      assert.ok(existsSync(join(root, dirname(page), target as string)), `${page}: ${target}`);
    }
  }
});

test("files that a page names exist", () => {
  const path = /`((?:src|bpf|native|scripts|bench|test|docs|\.ci)\/[\w./-]*\w)`/g;
  for (const page of pages) {
    // A page on set-up may speak of what is built; results carry a date.
    for (const [, name] of read(page).matchAll(path)) {
      assert.ok(existsSync(join(root, name as string)), `${page}: ${name}`);
    }
  }
});

test("docs/cli.md has every option of every command, and no other", () => {
  const text = read("docs/cli.md");
  for (const [name, command] of commands) {
    const start = text.indexOf(`## \`l7egg ${name}`);
    assert.ok(start >= 0, name);
    const section = text.slice(start, text.indexOf("\n## ", start + 1));
    const documented = new Set([...section.matchAll(/`[^`\n]*`/g)].flatMap(([code]) => [...code.matchAll(/--[a-z][a-z-]*/g)].map(([flag]) => flag))); // prettier-ignore
    for (const flag of optionsOf(command)) assert.ok(documented.has(flag), `${flag} of ${name} is not in docs/cli.md`);
    const all = new Set([...commands.values()].flatMap(optionsOf));
    const others = [...documented].filter((flag) => !all.has(flag));
    assert.deepEqual(others, [], `options that nobody has, under ${name}`);
  }
});

test("commands that the README shows exist, with their options", () => {
  const scripts = Object.keys((JSON.parse(read("package.json")) as { scripts: object }).scripts);
  const setup = read("scripts/iptables-setup.sh") + read("scripts/setup.sh");
  let seen = 0;
  for (const page of ["README.md", "CONTRIBUTING.md", "docs/demo.md", "docs/iptables.md"]) {
    for (const [, block] of read(page).matchAll(/```(?:sh)?\n([^]*?)```/g)) {
      for (const line of (block as string).replaceAll("\\\n", " ").split("\n")) {
        const command = line.replace(/ #.*/, "").trim();
        const npm = /^npm run (\S+)/.exec(command);
        if (npm) assert.ok(scripts.includes(npm[1] as string), `${page}: ${command}`);
        const verb = /^(?:node dist\/cli\/main\.js|l7egg) (\S+)/.exec(command);
        if (verb) {
          const known = commands.get(verb[1] as string);
          assert.ok(known, `${page}: ${command}`);
          for (const [flag] of command.matchAll(/--[a-z-]+/g))
            assert.ok(optionsOf(known).includes(flag), `${page}: ${flag}`);
        }
        const script = /^(scripts\/\S+)/.exec(command);
        if (script) {
          assert.ok(existsSync(join(root, script[1] as string)), `${page}: ${command}`);
          for (const [flag] of command.matchAll(/--[a-z-]+/g)) assert.ok(setup.includes(flag), `${page}: ${flag}`);
        }
        if (npm || verb || script) seen++;
      }
    }
  }
  assert.ok(seen >= 12, `only ${seen} commands were found`);
});

test("docs/dependencies.md accounts for every dependency, and for no other", () => {
  const manifest = JSON.parse(read("package.json")) as Record<"dependencies" | "devDependencies", object>;
  const text = read("docs/dependencies.md");
  const [, product, development] = text.split(/^## (?:The product|Development)$/m);
  const named = (part = "") => [...(part.split("\n## ")[0] as string).matchAll(/\]\(https:\/\/www\.npmjs\.com\/package\/([^)]+)\)/g)].map((match) => match[1]).sort(); // prettier-ignore
  assert.deepEqual(named(product), Object.keys(manifest.dependencies).sort());
  assert.deepEqual(named(development), Object.keys(manifest.devDependencies).sort());
});

test("docs/datapath.md has every map with its default size", () => {
  const text = read("docs/datapath.md");
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  const defines = new Map([...read("bpf/l7egg_abi.h").matchAll(/#define (L7_MAX_\w+) (\d+)/g)].map(([, name, value]) => [name, Number(value)])); // prettier-ignore
  const headers = read("bpf/maps.h") + read("bpf/hello.h");
  const maps = [...headers.matchAll(/__uint\(max_entries, (\w+)\);[^}]*\} (\w+) SEC\("\.maps"\)/g)];
  assert.ok(maps.length >= 15, String(maps.length));
  for (const [, size, name] of maps) {
    const row = rows.find((line) => (line.split("|")[1] as string).includes(`\`${name}\``));
    assert.ok(row, name);
    const number = defines.get(size);
    if (number !== undefined) assert.ok(row.includes(number.toLocaleString("en")), `${name}: ${row}`);
  }
});
