/**
 * A policy as a file: YAML whose keys are the flags of the command line without their dashes, with the same entries. Every error is one line that says
 * where (`policy.yaml:3:5: …`) and what would be right. Text goes in, nothing is read here but what `readList` brings.
 *
 * Everything is a string (YAML's failsafe schema): `no` is not false, `1.10` not 1.1. Anchors, aliases and tags are refused: a policy says what it says,
 * and a file of a kilobyte can't become a gigabyte.
 */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument, type Node, type Pair } from "yaml";
import { z } from "zod";
import { atMost, show } from "./checked.js";
import { keyOf, type Origin, type PolicyFlags } from "./flags.js";
import { parsePolicy, type ParsedPolicy } from "./parse.js";

/** Bytes of the file itself: a million names take 7 s and a gigabyte as YAML, half a second as a list of their own. */
export const maxPolicyBytes = 8 * 2 ** 20;
/** Bytes of each list that it names. */
export const maxListBytes = 64 * 2 ** 20;
/** Entries in all. */
export const maxEntries = 4_000_000;

const MAX_LINES = 100;
/** Longest word that is compared with all keys: the comparison takes time with its length, and no key is half as long. */
const MAX_GUESSED = 40;

/** How a key is written. A flag more is one line more. */
const kinds = {
  cidr: "list or file",
  denyCidr: "list or file",
  cn: "list or file",
  domain: "list or file",
  resolver: "list",
  port: "list",
  namePort: "list",
  verify: "word",
  reject: "word",
  dnsDeny: "word",
  quic: "word",
} as const satisfies Record<keyof PolicyFlags, "list or file" | "list" | "word">;
type Flag = keyof typeof kinds;
const flags = Object.keys(kinds) as Flag[];

/** What stands behind each key, once its place is known: the shape of the file. */
const list = z.union([z.string(), z.array(z.string())]);
const shapes = new Map<string, { readonly flag: Flag; readonly isFile: boolean; readonly shape: z.ZodType }>(
  flags.flatMap((flag) => {
    const key = keyOf(flag);
    const one = { flag, isFile: false, shape: kinds[flag] === "word" ? z.string() : list };
    if (kinds[flag] !== "list or file") return [[key, one]];
    return [
      [key, one],
      [`${key}-file`, { flag, isFile: true, shape: list }],
    ];
  }),
);

/** The text of a list that the file names, and how it is called in errors; or why it can't be had. */
export type ListReader = (
  path: string,
) =>
  { readonly ok: true; readonly name: string; readonly text: string } | { readonly ok: false; readonly error: string };

/** Where a value stands: the file's name, its text's lines, and the offset. */
interface Place {
  readonly of: Text;
  readonly offset: number;
}

interface Text {
  readonly name: string;
  readonly lines: LineCounter;
}

/** `name`: how the file is called in errors. */
export function readPolicyText(
  name: string,
  text: string,
  readList: ListReader,
  identity: { readonly id: number; readonly name: string },
): ParsedPolicy {
  const reader = new Reader(name, readList);
  const values = reader.read(text);
  if (reader.errors.length > 0) return { ok: false, errors: atMost(reader.errors, MAX_LINES, "errors") };
  return parsePolicy(values, identity, reader);
}

type Values = { -readonly [F in keyof PolicyFlags]: PolicyFlags[F] };

class Reader implements Origin {
  readonly errors: string[] = [];
  readonly #main: Text;
  readonly #readList: ListReader;
  readonly #values: Record<Flag, string[]>;
  readonly #places: Record<Flag, Place[]>;
  readonly #keys = new Set<string>();
  #count = 0;

  constructor(name: string, readList: ListReader) {
    this.#main = { name, lines: new LineCounter() };
    this.#readList = readList;
    this.#values = perFlag(() => []);
    this.#places = perFlag(() => []);
  }

  word(flag: keyof PolicyFlags): string {
    return keyOf(flag);
  }

  place(flag: keyof PolicyFlags | undefined, index: number): string {
    const place = flag && this.#places[flag][index];
    return place ? formatPlace(place) : formatPlace({ of: this.#main, offset: 0 });
  }

  wording(message: string): string {
    return message.replace(/--(?=[a-z])/g, "");
  }

  read(text: string): PolicyFlags {
    const { lines } = this.#main;
    const document = parseDocument(text, {
      lineCounter: lines,
      schema: "failsafe",
      prettyErrors: false,
      uniqueKeys: false,
    });
    if (lines.lineStarts.length === 0) lines.addNewLine(0);
    for (const { code, message, pos } of document.errors) this.#fail(pos[0], yamlError(code, message));
    for (const { message, pos } of document.warnings) this.#fail(pos[0], message);
    if (this.errors.length > 0) return this.#flags();
    const { contents } = document;
    // Empty, or nothing but comments: `parsePolicy` says that there are no rules.
    if (contents === null || (isScalar(contents) && contents.value === "")) return this.#flags();
    if (this.#isPlain(contents)) {
      if (isMap(contents)) {
        for (const pair of contents.items) {
          this.#pair(pair);
          if (this.errors.length > MAX_LINES) break;
        }
      }
      if (!isMap(contents))
        this.#fail(offsetOf(contents), "a policy is a list of keys and values, such as `domain: [api.example.com]`");
    }
    return this.#flags();
  }

  #pair({ key, value }: Pair<Node, Node | null>): void {
    const at = offsetOf(key);
    if (!this.#isPlain(key)) return;
    const name = isScalar(key) ? String(key.value) : "";
    const known = shapes.get(name);
    if (!known) return this.#fail(at, unknownKey(name));
    if (this.#keys.has(name))
      return this.#fail(at, `${name}: stands here for the second time; put its entries into one list`);
    this.#keys.add(name);
    const { flag, isFile, shape } = known;
    const nodes = value === null ? [] : isSeq(value) ? (value.items as Node[]) : [value];
    if (value !== null && ![value, ...nodes].every((node) => this.#isPlain(node))) return;
    const plain = value === null ? "" : isSeq(value) ? nodes.map(plainOf) : plainOf(value);
    const checked = shape.safeParse(plain);
    if (!checked.success) {
      const wrong = isSeq(value) ? nodes.find((node) => !isScalar(node)) : undefined;
      const right = kinds[flag] === "word" ? "one word" : "one entry, or a list of them";
      return this.#fail(wrong ? offsetOf(wrong) : value ? offsetOf(value) : at, `${name}: give ${right}`);
    }
    // Only commented entries below the key: nothing is given. But no port, say, would mean every port, and that must be meant.
    if (plain === "" && kinds[flag] === "list or file" && (value === null || isImplicit(value))) return;
    if (plain === "" || (kinds[flag] === "list" && nodes.length === 0))
      return this.#fail(
        at,
        `${name}: nothing is given; leave the key out, or give ${kinds[flag] === "word" ? "a word" : "entries"}`,
      );
    for (const node of nodes) {
      const place = { of: this.#main, offset: offsetOf(node) };
      const entry = plainOf(node) as string;
      if (isFile) this.#list(flag, name, entry, place);
      else this.#add(flag, entry, place);
    }
  }

  /** One entry a line; empty lines, and what stands behind a # at a line's beginning or behind a space, don't count. */
  #list(flag: Flag, key: string, path: string, place: Place): void {
    const found = this.#readList(path);
    if (!found.ok) {
      this.errors.push(`${formatPlace(place)}${key} ${show(path)}: ${found.error}`);
      return;
    }
    const { name, text } = found;
    const of: Text = { name, lines: new LineCounter() };
    for (let begin = 0; begin <= text.length;) {
      const newline = text.indexOf("\n", begin);
      const end = newline < 0 ? text.length : newline;
      of.lines.addNewLine(begin);
      const line = text.slice(begin, end);
      const comment = line.search(/(^|\s)#/);
      const entry = (comment < 0 ? line : line.slice(0, comment)).trim();
      if (entry !== "") this.#add(flag, entry, { of, offset: begin + line.indexOf(entry) });
      begin = end + 1;
    }
  }

  #add(flag: Flag, entry: string, place: Place): void {
    if (++this.#count === maxEntries + 1)
      this.errors.push(`${formatPlace(place)}more than ${maxEntries.toLocaleString("en")} entries`);
    if (this.#count > maxEntries) return;
    this.#values[flag].push(entry);
    this.#places[flag].push(place);
  }

  /** false: an error was said. */
  #isPlain(node: Node): boolean {
    const at = offsetOf(node);
    if (isAlias(node) || (node as { anchor?: string }).anchor !== undefined) {
      this.#fail(at, "anchors and aliases are not taken here; write it out");
    } else if (node.tag !== undefined) {
      this.#fail(at, "tags are not taken here; everything is text");
    } else return true;
    return false;
  }

  #fail(offset: number, line: string): void {
    this.errors.push(`${formatPlace({ of: this.#main, offset })}${line}`);
  }

  #flags(): PolicyFlags {
    const out = {} as Record<string, unknown>;
    for (const flag of flags) out[flag] = kinds[flag] === "word" ? this.#values[flag][0] : this.#values[flag];
    return out as unknown as Values;
  }
}

function perFlag<T>(make: () => T): Record<Flag, T> {
  return Object.fromEntries(flags.map((flag) => [flag, make()])) as Record<Flag, T>;
}

function plainOf(node: Node): unknown {
  return isScalar(node) ? node.value : {};
}

/** Nothing was written: not even "". */
function isImplicit(node: Node): boolean {
  return isScalar(node) && node.range?.[0] === node.range?.[1];
}

function offsetOf(node: Node): number {
  return node.range?.[0] ?? 0;
}

function formatPlace({ of, offset }: Place): string {
  const { line, col } = of.lines.linePos(offset);
  return `${of.name}:${Math.max(line, 1)}:${Math.max(col, 1)}: `;
}

function unknownKey(name: string): string {
  const all = [...shapes.keys()];
  const near =
    name.length > MAX_GUESSED
      ? undefined
      : (all.find((key) => key.replaceAll("-", "") === name.toLowerCase().replace(/[-_]/g, "")) ??
        all.find((key) => distance(key, name) <= Math.min(2, name.length / 2)));
  return `${show(name)}: no such key; ${near ? `did you mean ${near}?` : `there are ${all.join(", ")}`}`;
}

/** Characters to change, add or take away. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + same));
    }
    row = next;
  }
  return row[b.length] as number;
}

function yamlError(code: string, message: string): string {
  switch (code) {
    case "TAB_AS_INDENT":
      return "a tab at the beginning of a line; indent with spaces";
    case "MULTIPLE_DOCS":
      return "a second document begins here; a policy is one";
    default:
      return message;
  }
}
