/** Where a policy comes from: the command line, or a file that can be read again while the gateway runs. */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { maxListBytes, maxPolicyBytes, readPolicyText, type ListReader } from "../core/policy/policyFile.js";
import { parsePolicy, type ParsedPolicy } from "../core/policy/parse.js";
import type { PolicySpec } from "../core/policy/types.js";
import { describe, errnoOf } from "./errors.js";
import type { GatewayOptions } from "./options.js";

export interface Identity {
  readonly id: number;
  readonly name: string;
}

/** What `run` is given: the file if there is one, else the flags. */
export function readPolicy({ policyFile, flags }: GatewayOptions, identity: Identity): ParsedPolicy {
  return policyFile === undefined ? parsePolicy(flags, identity) : readPolicyFile(policyFile, identity);
}

/** Each error is one line that begins with the file as it is called here, line and column. */
export function readPolicyFile(path: string, identity: Identity): ParsedPolicy {
  const file = readBounded(
    path,
    maxPolicyBytes,
    "put the entries into a list of their own, one a line, and name it: domain-file: names.txt",
  );
  if (!file.ok) return { ok: false, errors: [`${path}: ${file.error}`] };
  const readList: ListReader = (list) => {
    const name = isAbsolute(list) ? list : join(dirname(path), list);
    const found = readBounded(name, maxListBytes, "split it");
    return found.ok ? { ok: true, name, text: found.text } : found;
  };
  return readPolicyText(path, file.text, readList, identity);
}

/** Same text = same policy: what the kernel has cached under it stays good. */
export function policyHash(spec: PolicySpec): string {
  return createHash("sha256").update(JSON.stringify(spec)).digest("hex");
}

type Read = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly error: string };

/** Only regular files: a pipe would be waited for. */
function readBounded(path: string, maxBytes: number, instead: string): Read {
  let fd: number | undefined;
  try {
    // O_NONBLOCK, for a FIFO without a writer.
    fd = openSync(path, 0o4000);
    const stat = fstatSync(fd);
    if (!stat.isFile()) return { ok: false, error: "not a file" };
    const mib = maxBytes / 2 ** 20;
    if (stat.size > maxBytes) return { ok: false, error: `longer than ${mib} MiB; ${instead}` };
    const bytes = readFileSync(fd);
    if (bytes.length > maxBytes) return { ok: false, error: `longer than ${mib} MiB; ${instead}` };
    return { ok: true, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { ok: false, error: "no such file" };
    if (errnoOf(error) === "EACCES") return { ok: false, error: "no permission to read it" };
    if (error instanceof TypeError) return { ok: false, error: "not UTF-8" };
    return { ok: false, error: describe(error) };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
