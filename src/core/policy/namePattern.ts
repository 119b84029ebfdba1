/**
 * Name patterns, from text. Stricter than DNS (RFC 2181 section 11 allows any byte in a label): a rule has letters, digits, `-` and
 * `_`, so that a slip of the pen is an error and not a rule that never matches.
 */
import { formatAddr, parseAddr } from "../net/address.js";
import { normalizeNameText, type NameCode } from "../wire/dnsName.js";
import { bad, good, show, type Checked } from "./checked.js";
import type { NamePattern } from "./types.js";

/** RFC 1035 2.3.4: 63 bytes a label; 255 on the wire, which are 253 as text. */
const MAX_LABEL = 63;
const MAX_NAME = 253;
const SUFFIX = "suffix:";

/** `--domain`: `api.x.io`, `*.x.io`, `.x.io`, `suffix:ome.com`. */
export function parseDomain(text: string): Checked<NamePattern> {
  if (text.startsWith(SUFFIX)) return parseSuffix(text.slice(SUFFIX.length));
  const slip = whyNoName(text);
  if (slip) return bad(slip);
  if (text.startsWith("*.")) return named("below", text.slice(2));
  if (text.startsWith(".")) return named("apexAndBelow", text.slice(1));
  return named("exact", text);
}

/** `--cn`: any name that ends with these characters, as in the original program. */
export function parseCn(text: string): Checked<NamePattern> {
  if (text.startsWith(SUFFIX)) return bad(`--cn always means a suffix; write ${text.slice(SUFFIX.length)}`);
  return parseSuffix(text);
}

/** One name, no pattern: the normal form. */
export function parseHostName(text: string): Checked<string> {
  const slip = whyNoName(text);
  return slip ? bad(slip) : normalise(text);
}

/** Equal keys match the same names: a suffix that begins with a dot is `*.` of the rest. */
export function patternKey(pattern: NamePattern): string {
  if (pattern.kind === "suffix" && pattern.name.startsWith(".")) return `below:${pattern.name.slice(1)}`;
  return `${pattern.kind}:${pattern.name}`;
}

function parseSuffix(text: string): Checked<NamePattern> {
  const slip = whyNoName(text);
  if (slip) return bad(slip);
  if (text.startsWith("*.")) return bad(`a suffix has no *; write ${text.slice(1)}, or --domain ${text}`);
  if (text.startsWith("*")) return bad(`a suffix has no *; write ${text.slice(1)}`);
  const dotted = text.startsWith(".");
  // Half a label has no A-label: `ünchen.de` would become a name that `münchen.de` doesn't end with.
  if (!dotted && /[^\0-\x7f]/.test(text.split(".", 1)[0] as string)) {
    return bad(`a partial label outside ASCII can't be compared; write .${text}, or --domain ${text}`);
  }
  const name = normalise(dotted ? text.slice(1) : text);
  return name.ok ? good({ kind: "suffix", name: dotted ? `.${name.value}` : name.value }) : name;
}

function named(kind: "exact" | "below" | "apexAndBelow", text: string): Checked<NamePattern> {
  const name = normalise(text);
  return name.ok ? good({ kind, name: name.value }) : name;
}

/** Plain text with a letter at its end is none of what `whyNoName` looks for; a long list is read several times faster. */
const PLAIN = /^(\*?\.)?[-_.0-9A-Za-z]*[A-Za-z]\.?$/;

/** What is not a name at all, in the words of what it is. */
function whyNoName(text: string): string | undefined {
  if (PLAIN.test(text)) return undefined;
  if (text === "") return "empty; write a name like api.example.com";
  if (/\s/.test(text)) return "contains a space; one name for each flag";
  if (text === "*" || text === "*.")
    return "would let every name through; write the names, or --cidr 0.0.0.0/0 and --cidr ::/0";
  if (text.includes(",")) return "one name for each flag; give the flag again for the next";
  const url = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#]*)/i.exec(text);
  if (url) return `a URL; write the name alone: ${(url[1] as string).replace(/:\d*$/, "")}`;
  const addr = parseAddr(text.replace(/^\[(.*)\]$/, "$1"));
  if (addr) return `an address, not a name; use --cidr ${formatAddr(addr)}/${addr.length * 8}`;
  const slash = text.indexOf("/");
  if (slash >= 0 && parseAddr(text.slice(0, slash))) return `a network, not a name; use --cidr ${text}`;
  if (slash >= 0) return `a name has no path; write ${text.slice(0, slash)}`;
  const port = /^([^:]+):(\d+)$/.exec(text);
  if (port) return `a name has no port; write ${port[1]}, and --port tcp/${port[2]} to limit the ports`;
  return undefined;
}

function normalise(text: string): Checked<string> {
  const result = normalizeNameText(text);
  return result.kind === "done"
    ? good(result.value)
    : bad(whyInvalid(text, result.kind === "invalid" ? result.code : "empty"));
}

function whyInvalid(text: string, code: NameCode): string {
  const labels = text.replace(/\.$/, "").split(".");
  switch (code) {
    case "empty":
    case "label-empty":
      return "an empty label: a dot too many, or nothing but a dot";
    case "label-too-long": {
      const long = labels.find((label) => label.length > MAX_LABEL);
      return long === undefined
        ? `a label has more than ${MAX_LABEL} bytes as an A-label (xn--…)`
        : `the label ${show(long)} has ${long.length} bytes; at most ${MAX_LABEL}`;
    }
    case "name-too-long":
      return `the name has ${labels.join(".").length} bytes; at most ${MAX_NAME}`;
    case "ip-literal":
      return "the last label is a number, which no name has; for an address use --cidr";
    case "character": {
      if (text.includes("*")) return "* stands only at the front and for whole labels: *.example.com";
      const odd = /[^-_.0-9A-Za-z\u0080-\u{10ffff}]/u.exec(text);
      if (!odd) return "not a valid internationalised name (IDNA)";
      return `the character ${JSON.stringify(odd[0])} can't be in a name; letters, digits, - and _ can`;
    }
  }
}
