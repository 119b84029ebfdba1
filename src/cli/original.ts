#!/usr/bin/env node
/**
 * `l7egg-cli`: the original project's command line as it stands, with Go's flag syntax:
 *
 *   l7egg-cli -iface=enp0s3 -eface=enp0s3 -cidr=10.0.2.0/24 -cn=".ubuntu.com" -cn="ome.com"
 *
 * It governs this machine's own egress, like the original.
 */
import { UsageError } from "../edge/errors.js";
import { finish, version } from "./output.js";
import type { RawRunOptions } from "./runOptions.js";

const usage = `Usage: l7egg-cli -eface=IF [-iface=IF] [-cidr=CIDR]... [-cn=NAME]...
  -iface=IF   interface by which DNS answers come in (default: -eface)
  -eface=IF   interface by which the traffic of this machine leaves
  -cidr=CIDR  network that may be reached; repeatable
  -cn=NAME    names that end so may be reached (ome.com lets home.com and www.rome.com through); repeatable
One or two dashes, "=" or a space before the value. "l7egg run" does the same and more.
`;

const flags = ["iface", "eface", "cidr", "cn"] as const;
type Flag = (typeof flags)[number];

export type OriginalCommand =
  { readonly kind: "help" | "version" } | { readonly kind: "run"; readonly options: RawRunOptions };

/** UsageError: one line for each thing that is wrong. */
export function parseOriginal(argv: readonly string[]): OriginalCommand {
  const errors: string[] = [];
  const values: Record<Flag, string[]> = { iface: [], eface: [], cidr: [], cn: [] };
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    // Go's flag package: "-x", "--x", "-x=v", "-x v"; the first word that is no flag, or "--", ends the flags.
    const match = /^(--?)([^=-][^=]*)(?:=(.*))?$/s.exec(word);
    if (!match) {
      errors.push(`unexpected argument ${JSON.stringify(word)}: values follow a flag, like -cidr=10.0.0.0/8`);
      continue;
    }
    const name = match[2] as string;
    if (name === "h" || name === "help") return { kind: "help" };
    if (name === "version") return { kind: "version" };
    const flag = flags.find((one) => one === name);
    if (flag === undefined) {
      const meant = nearest(name);
      const hint = meant ? `did you mean -${meant}?` : `there are -${flags.join(", -")}; l7egg run has more`;
      errors.push(`unknown flag -${name}: ${hint}`);
      // What follows a space is this flag's value, not an argument of its own.
      if (match[3] === undefined && argv[i + 1] !== undefined && !(argv[i + 1] as string).startsWith("-")) i++;
      continue;
    }
    const value = match[3] ?? argv[++i];
    if (value === undefined) errors.push(`flag -${flag} needs a value`);
    else values[flag].push(value);
  }
  for (const flag of ["iface", "eface"] as const) {
    const [first, ...more] = new Set(values[flag]);
    if (more.length > 0) errors.push(`-${flag} is given as ${[first, ...more].join(" and ")}; keep one of them`);
  }
  if (errors.length > 0) throw new UsageError(errors);
  const [iface] = values.iface;
  const eface = values.eface[0] ?? iface;
  return {
    kind: "run",
    options: {
      ...(iface === undefined ? {} : { iface }),
      ...(eface === undefined ? {} : { eface }),
      cidr: values.cidr,
      cn: values.cn,
    },
  };
}

export async function mainOriginal(argv: readonly string[]): Promise<void> {
  await finish(async () => {
    const command = parseOriginal(argv);
    if (command.kind === "run") return (await import("./run.js")).run(command.options, "l7egg-cli");
    process.stdout.write(command.kind === "help" ? usage : `${version()}\n`);
    return 0;
  }, "l7egg-cli");
}

/** The flag that takes the fewest edits; of equals the one that begins alike. undefined: more than half of it would have to change. */
export function nearest(name: string): Flag | undefined {
  const cost = (flag: Flag) => distance(name, flag) - (flag[0] === name[0] ? 0.5 : 0);
  const near = flags.filter((flag) => distance(name, flag) <= Math.max(name.length, flag.length) / 2);
  return near.sort((a, b) => cost(a) - cost(b))[0];
}

/** Levenshtein. */
function distance(a: string, b: string): number {
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

const { pathToFileURL } = await import("node:url");
const { realpathSync } = await import("node:fs");
const script = process.argv[1];
if (script !== undefined && import.meta.url === pathToFileURL(realpathSync(script)).href) {
  await mainOriginal(process.argv.slice(2));
}
