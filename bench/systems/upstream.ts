/** The addresses that a proxy spreads its connections over. */
import { server, type Family } from "../lab.js";

export function serverAddresses(family: Family): string[] {
  const [, head, tail] = /^(.*?)([0-9a-f]+)$/.exec(server.first[family])!;
  const radix = family === "v4" ? 10 : 16;
  return Array.from({ length: server.count }, (_, i) => `${head}${(parseInt(tail!, radix) + i).toString(radix)}`);
}
