/** Writes the TypeScript of a parsed header. The result still goes through prettier. */
import { scalarSize, type Enum, type Field, type Header, type Scalar, type Struct } from "./header.js";

export function render(header: Header): string {
  return [
    prologue,
    ...header.defines.map((define) => `${comment(define.doc)}export const ${define.name} = ${define.value};`),
    ...header.enums.map(renderEnum),
    ...header.structs.map((struct) => renderStruct(struct)),
    epilogue,
  ].join("\n");
}

const prologue = `/**
 * Generated from bpf/l7egg_abi.h by scripts/gen-abi.ts; change the header, never this file.
 *
 * \`encodeX\` writes one record into \`target\` (default: a new buffer) at \`offset\` (default 0) and returns \`target\`; padding is zeroed.
 * Integers are little-endian, as every machine that Node and this eBPF object run on is; \`sport\` and \`dport\` are given in host order and
 * written in network order. Byte arrays must have exactly their length (RangeError else); arrays of records may be shorter, the rest is zeroed.
 */
`;

const epilogue = `
function putBytes(target: Buffer, offset: number, length: number, bytes: Uint8Array): void {
  if (bytes.length !== length) throw new RangeError(\`want \${length} bytes, not \${bytes.length}\`);
  target.set(bytes, offset);
}

function getBytes(source: Uint8Array, offset: number, length: number): Uint8Array {
  return new Uint8Array(source.subarray(offset, offset + length));
}

function view(source: Uint8Array, offset: number, length: number): DataView {
  if (offset + length > source.length) throw new RangeError(\`want \${length} bytes at \${offset}, have \${source.length}\`);
  return new DataView(source.buffer, source.byteOffset + offset, length);
}
`;

function renderEnum(e: Enum): string {
  const type = pascal(e.name);
  const lower = type.charAt(0).toLowerCase() + type.slice(1);
  return `
${comment(e.doc)}export const ${type} = {
${e.values.map((v) => `${comment(v.doc)}${v.name}: ${v.value},`).join("\n")}
} as const;
export type ${type} = (typeof ${type})[keyof typeof ${type}];

const ${lower}Names = new Map<number, string>([
${e.values.map((v) => `[${v.value}, ${JSON.stringify(v.name.toLowerCase().replaceAll("_", "-"))}],`).join("\n")}
]);
const ${lower}Docs = new Map<number, string>([
${e.values.map((v) => `[${v.value}, ${JSON.stringify(v.doc)}],`).join("\n")}
]);

/** Its name as people read it, kebab case; \`${e.name}-N\` for a number that this version doesn't know. */
export function ${lower}Name(code: number): string {
  return ${lower}Names.get(code) ?? \`${e.name.replaceAll("_", "-")}-\${code}\`;
}

/** One line that explains it; empty for a number that this version doesn't know. */
export function ${lower}Doc(code: number): string {
  return ${lower}Docs.get(code) ?? "";
}
`;
}

function renderStruct(s: Struct): string {
  const type = pascal(s.name);
  const fields = s.fields.filter((field) => field.name !== "pad");
  return `
${comment(s.doc)}export interface Abi${type} {
${fields.map((f) => `${comment(f.doc)}readonly ${camel(f.name)}: ${typeOf(f)};`).join("\n")}
}

export const ${s.name.toUpperCase()}_SIZE = ${s.size};
/** Offset of each field in bytes. */
export const ${type}Offset = {
${s.fields.map((f) => `${camel(f.name)}: ${f.offset},`).join("\n")}
} as const;

export function encode${type}(value: Abi${type}, target: Buffer = Buffer.alloc(${s.size}), offset = 0): Buffer {
  target.fill(0, offset, offset + ${s.size});
${s.fields.some((f) => needsView(f)) ? `const at = view(target, offset, ${s.size});` : ""}
${fields.map(encodeField).join("\n")}
  return target;
}

export function decode${type}(source: Uint8Array, offset = 0): Abi${type} {
${s.fields.some((f) => needsView(f)) ? `const at = view(source, offset, ${s.size});` : ""}
  return {
${fields.map((f) => `${camel(f.name)}: ${decodeField(f)},`).join("\n")}
  };
}
`;
}

function needsView(f: Field): boolean {
  return f.name !== "pad" && f.count === undefined && typeof f.type === "string";
}

function typeOf(f: Field): string {
  if (typeof f.type === "object")
    return f.count === undefined ? `Abi${pascal(f.type.struct)}` : `readonly Abi${pascal(f.type.struct)}[]`;
  if (f.count !== undefined) return "Uint8Array";
  return f.type === "u64" ? "bigint" : "number";
}

function encodeField(f: Field): string {
  const value = `value.${camel(f.name)}`;
  const place = f.offset === 0 ? "offset" : `offset + ${f.offset}`;
  if (typeof f.type === "object") {
    const inner = pascal(f.type.struct);
    if (f.count === undefined) return `encode${inner}(${value}, target, ${place});`;
    const size = `${f.type.struct.toUpperCase()}_SIZE`;
    return `if (${value}.length > ${f.count}) throw new RangeError(\`at most ${f.count} ${camel(f.name)}, not \${${value}.length}\`);
${value}.forEach((item, i) => encode${inner}(item, target, ${place} + i * ${size}));`;
  }
  if (f.count !== undefined) return `putBytes(target, ${place}, ${bytesOf(f)}, ${value});`;
  return `at.set${accessor(f.type)}(${f.offset}, ${value}${order(f.type)});`;
}

function decodeField(f: Field): string {
  const place = f.offset === 0 ? "offset" : `offset + ${f.offset}`;
  if (typeof f.type === "object") {
    const inner = pascal(f.type.struct);
    if (f.count === undefined) return `decode${inner}(source, ${place})`;
    return `Array.from({ length: ${f.count} }, (_, i) => decode${inner}(source, ${place} + i * ${f.type.struct.toUpperCase()}_SIZE))`;
  }
  if (f.count !== undefined) return `getBytes(source, ${place}, ${bytesOf(f)})`;
  return `at.get${accessor(f.type)}(${f.offset}${order(f.type)})`;
}

function bytesOf(f: Field): number {
  if (f.type !== "u8") throw new Error(`${f.name}: arrays are of __u8 or of structs`);
  return f.count as number;
}

function accessor(type: Scalar): string {
  if (type === "u64") return "BigUint64";
  return `Uint${scalarSize[type] * 8}`;
}

function order(type: Scalar): string {
  if (type === "u8") return "";
  return type.startsWith("be") ? ", false" : ", true";
}

function comment(doc: string): string {
  return doc === "" ? "" : `/** ${doc} */\n`;
}

function pascal(name: string): string {
  return name
    .split("_")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
}

function camel(name: string): string {
  const whole = pascal(name);
  return whole.charAt(0).toLowerCase() + whole.slice(1);
}
