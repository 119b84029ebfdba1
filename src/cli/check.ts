/** `l7egg check`: is a policy file good, and what does it say? Asks nothing of the machine and needs no privilege. */
import { counted } from "../core/counted.js";
import { compilePolicies } from "../core/policy/compile.js";
import { formatAddr } from "../core/net/address.js";
import { UsageError } from "../edge/errors.js";
import { defaults } from "../edge/options.js";
import { readPolicyFile } from "../edge/policySource.js";
import { checkTables } from "../edge/tables.js";
import { formatRange } from "../core/policy/ports.js";
import type { PolicySpec } from "../core/policy/types.js";
import { print } from "./output.js";

export function check(file: string, options: { maxCidrs?: string }): number {
  const maxCidrs = Number(options.maxCidrs ?? defaults.sizes.cidrs);
  if (!Number.isInteger(maxCidrs) || maxCidrs < 1)
    throw new UsageError(`--max-cidrs ${options.maxCidrs}: give a number`);
  const parsed = readPolicyFile(file, { id: 1, name: defaults.name });
  if (!parsed.ok) throw new UsageError(parsed.errors);
  const problems = tableProblems(parsed.spec, maxCidrs);
  if (problems.length > 0) throw new UsageError(problems.map((line) => `${file}: ${line}`));
  for (const warning of parsed.warnings) process.stderr.write(`warning: ${warning}\n`);
  print(summary(file, parsed.spec));
  return 0;
}

function tableProblems(spec: PolicySpec, maxCidrs: number): string[] {
  try {
    return checkTables(compilePolicies([spec]).tables, maxCidrs);
  } catch (error) {
    if (error instanceof Error && error.name === "PolicyError") return [error.message];
    throw error;
  }
}

function summary(file: string, spec: PolicySpec): string[] {
  const names = spec.rules.filter((rule) => rule.kind === "name").length;
  const denied = spec.rules.filter((rule) => rule.kind === "cidr" && rule.action === "deny").length;
  const networks = spec.rules.length - names - denied;
  const ports = spec.ports.length === 0 ? "everywhere" : spec.ports.map(formatRange).join(", ");
  return [
    `${file} is good: ${counted(names, "name")}, ${counted(networks, "allowed network")}, ${counted(denied, "denied network")}`,
    `verify ${spec.verify}, reject ${spec.reject}, dns-deny ${spec.dnsDeny}; ports: ${ports}; name ports: ${spec.namePorts.map(formatRange).join(", ")}`,
    `resolvers: ${spec.resolvers.length === 0 ? "those of this machine" : spec.resolvers.map(formatAddr).join(", ")}`,
  ];
}
