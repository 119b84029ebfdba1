/** `l7egg reload` */
import { formatReload, type ReloadReport } from "../edge/reloadReport.js";
import { print } from "./output.js";
import { ask } from "./status.js";

/** A million names on a slow machine. */
const timeoutMs = 300_000;

export async function reload(options: { name: string; json?: boolean }): Promise<number> {
  const report = (await ask(options.name, "reload", {}, timeoutMs)) as ReloadReport;
  for (const warning of report.warnings) process.stderr.write(`warning: ${warning}\n`);
  print(options.json ? [JSON.stringify(report, undefined, 2)] : formatReload(report));
  return 0;
}
