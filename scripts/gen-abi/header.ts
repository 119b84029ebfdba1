/** Reads the subset of C that bpf/l7egg_abi.h is written in. Throws on anything it doesn't know. */

export interface Define {
  readonly name: string;
  readonly value: number;
  readonly doc: string;
}

export interface EnumValue {
  readonly name: string;
  readonly value: number;
  readonly doc: string;
}
export interface Enum {
  readonly name: string;
  readonly doc: string;
  readonly values: readonly EnumValue[];
}

export type Scalar = "u8" | "u16" | "u32" | "u64" | "be16" | "be32";
export interface Field {
  readonly name: string;
  readonly type: Scalar | { readonly struct: string };
  /** Elements, or undefined for a single value. */
  readonly count: number | undefined;
  readonly offset: number;
  readonly doc: string;
}
export interface Struct {
  readonly name: string;
  readonly doc: string;
  readonly size: number;
  readonly align: number;
  readonly fields: readonly Field[];
}

export interface Header {
  readonly defines: readonly Define[];
  readonly enums: readonly Enum[];
  readonly structs: readonly Struct[];
}

export const scalarSize: Readonly<Record<Scalar, number>> = { u8: 1, u16: 2, u32: 4, u64: 8, be16: 2, be32: 4 };

export function parseHeader(text: string): Header {
  const defines: Define[] = [];
  const enums: Enum[] = [];
  const structs: Struct[] = [];
  const lines = text.split("\n");
  let doc = "";
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] as string;
    const fail: (why: string) => never = (why) => {
      throw new Error(`l7egg_abi.h:${at + 1}: ${why}: ${line.trim()}`);
    };
    if (/^\s*$/.test(line) || /^#(ifndef|endif)/.test(line) || /^#define L7EGG_ABI_H$/.test(line)) {
      if (/^\s*$/.test(line)) doc = "";
      continue;
    }
    if (line.startsWith("/*")) {
      const comment: string[] = [line];
      while (!(lines[at] as string).includes("*/")) comment.push(lines[++at] ?? fail("comment without an end"));
      doc = plain(comment.join("\n"));
      continue;
    }
    const define = /^#define L7_(\w+) (\d+)(?:\s*\/\*(.*)\*\/)?$/.exec(line);
    if (define) {
      const [, name, value, own] = define;
      defines.push({ name: name as string, value: Number(value), doc: own ? plain(own) : "" });
      continue;
    }
    const open = /^(enum|struct) l7_(\w+) \{$/.exec(line);
    if (!open) fail("not understood");
    const body: string[] = [];
    for (at++; lines[at] !== "};"; at++) {
      if (lines[at] === undefined) fail("no closing brace");
      body.push(lines[at] as string);
    }
    const name = open[2] as string;
    if (open[1] === "enum") enums.push(parseEnum(name, doc, body));
    else structs.push(parseStruct(name, doc, body, defines, structs));
    doc = "";
  }
  return { defines, enums, structs };
}

function parseEnum(name: string, doc: string, body: readonly string[]): Enum {
  const prefix = `L7_${name.toUpperCase()}_`;
  const values: EnumValue[] = [];
  for (const line of body) {
    if (line.trim() === "") continue;
    const match = /^\s+(\w+) = (\d+),(?:\s*\/\/ (.*))?$/.exec(line);
    if (!match?.[1]?.startsWith(prefix)) throw new Error(`enum l7_${name}: not understood: ${line.trim()}`);
    const value = Number(match[2]);
    if (values.some((other) => other.value === value)) throw new Error(`enum l7_${name}: ${value} is there twice`);
    values.push({ name: match[1].slice(prefix.length), value, doc: match[3] ?? "" });
  }
  return { name, doc, values };
}

function parseStruct(
  name: string,
  doc: string,
  body: readonly string[],
  defines: readonly Define[],
  known: readonly Struct[],
): Struct {
  const fields: Field[] = [];
  let offset = 0;
  let align = 1;
  for (const line of body) {
    if (line.trim() === "") continue;
    const match = /^\s+(?:__(u8|u16|u32|u64|be16|be32)|struct l7_(\w+)) (\w+)(?:\[(\w+)\])?;(?:\s*\/\/ (.*))?$/.exec(
      line,
    );
    if (!match) throw new Error(`struct l7_${name}: not understood: ${line.trim()}`);
    const [, scalar, inner, fieldName, length, fieldDoc] = match;
    const struct = known.find((other) => other.name === inner);
    if (inner !== undefined && !struct) throw new Error(`struct l7_${name}: unknown struct l7_${inner}`);
    const size = struct ? struct.size : scalarSize[scalar as Scalar];
    const fieldAlign = struct ? struct.align : size;
    if (offset % fieldAlign !== 0) throw new Error(`struct l7_${name}: implicit padding before ${fieldName}`);
    const count = length === undefined ? undefined : lengthOf(length, defines);
    fields.push({
      name: fieldName as string,
      type: struct ? { struct: struct.name } : (scalar as Scalar),
      count,
      offset,
      doc: fieldDoc ?? "",
    });
    offset += size * (count ?? 1);
    align = Math.max(align, fieldAlign);
  }
  if (offset % align !== 0) throw new Error(`struct l7_${name}: implicit padding at the end`);
  return { name, doc, size: offset, align, fields };
}

function lengthOf(text: string, defines: readonly Define[]): number {
  if (/^\d+$/.test(text)) return Number(text);
  const define = defines.find((other) => `L7_${other.name}` === text);
  if (!define) throw new Error(`unknown length ${text}`);
  return define.value;
}

/** The words of a comment, one line. */
function plain(comment: string): string {
  return comment
    .replace(/^\s*\/?\*+\/?/gm, "")
    .replace(/\*\/\s*$/, "")
    .replace(/\s+/g, " ")
    .trim();
}
