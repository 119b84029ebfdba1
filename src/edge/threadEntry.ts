/** Where a thread of ours begins. */
import { extname } from "node:path";

/** `name`: of a file beside this one, without its ending. Run from source, a thread must be told anew what reads TypeScript: Node's loaders are not inherited. */
export function threadEntry(name: string): URL {
  const kind = extname(import.meta.url);
  const file = new URL(`./${name}${kind}`, import.meta.url);
  if (kind !== ".ts") return file;
  const loader = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  const code = `import { register } from ${loader}; register(); await import(${JSON.stringify(file.href)});`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}
