/** What `l7egg explain` is asked: `example.com`, `example.com:443`, `1.2.3.4`, `1.2.3.4:443`, `2001:db8::1`, `[2001:db8::1]:443`. */
import { parseAddr, type Addr } from "../net/address.js";
import { bad, good, show, type Checked } from "./checked.js";
import { parseAddress } from "./cidr.js";
import { parseHostName } from "./namePattern.js";

export type Question =
  | { readonly kind: "address"; readonly text: string; readonly address: Addr; readonly port: number | undefined }
  | { readonly kind: "name"; readonly text: string; readonly name: string; readonly port: number | undefined };

/** The error is one whole line. */
export function parseQuestion(text: string): Checked<Question> {
  const result = parse(text);
  return result.ok ? result : bad(`explain ${show(text)}: ${result.error}`);
}

function parse(text: string): Checked<Question> {
  if (text === "") return bad("empty; ask for a name or an address, with or without a port: example.com:443");
  if (text.includes("*") || text.startsWith(".") || text.startsWith("suffix:")) {
    return bad("a pattern; ask for one name, like www.example.com");
  }
  // An IPv6 address alone comes before "host:port": `2001:db8::443` is an address.
  if (parseAddr(text)) return address(text, text, undefined);
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed) {
    const inner = bracketed[1] as string;
    if (!inner.includes(":")) return bad("brackets are for IPv6 addresses, like [2001:db8::1]:443");
    return withPort(bracketed[2], (port) => address(text, inner, port));
  }
  if (/^[^/]+\/\d+$/.test(text) && parseAddr(text.slice(0, text.indexOf("/")))) {
    return bad("a network; ask for one address in it");
  }
  const withColon = /^([^:/]*):([^:/]*)$/.exec(text);
  const host = withColon ? (withColon[1] as string) : text;
  if (host === "") return bad("nothing before the port; write it like example.com:443");
  return withPort(withColon?.[2], (port) => {
    if (/^[\d.]+$/.test(host) || (host.includes(":") && !host.includes("//"))) return address(text, host, port);
    const name = parseHostName(host);
    return name.ok ? good({ kind: "name", text, name: name.value, port }) : name;
  });
}

function address(text: string, host: string, port: number | undefined): Checked<Question> {
  const addr = parseAddress(host, "ask without brackets");
  return addr.ok ? good({ kind: "address", text, address: addr.value, port }) : addr;
}

function withPort(text: string | undefined, ask: (port: number | undefined) => Checked<Question>): Checked<Question> {
  if (text === undefined) return ask(undefined);
  if (!/^\d+$/.test(text)) return bad(`${show(text)} is no port; write a number from 1 to 65535`);
  const port = Number(text);
  return port >= 1 && port <= 65535 ? ask(port) : bad(`port ${text} is out of range; ports are 1 to 65535`);
}
