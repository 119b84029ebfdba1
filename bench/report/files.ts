/** What a run leaves behind: one JSON, one page, the plots, all with the same beginning. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Results } from "../harness/results.js";
import { renderMarkdown } from "./markdown.js";
import { renderPlots } from "./svg.js";

/** Names of the files that were written. Throws if the folder can't be. */
export function writeResults(results: Results, folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  const stem = stemOf(results);
  const files = new Map([[`${stem}.json`, JSON.stringify(results, undefined, 1) + "\n"]]);
  const plots = renderPlots(results).map(({ name, title, scenario, svg }) => {
    const file = `${stem}-${name}`;
    files.set(file, svg);
    return { file, title, scenario };
  });
  files.set(`${stem}.md`, renderMarkdown(results, plots));
  return [...files].map(([name, text]) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  });
}

/** 2026-11-25-amd-epyc, with -quick behind it. */
export function stemOf({
  date,
  machine,
  quick,
}: Pick<Results, "date" | "quick"> & { readonly machine: { readonly cpu: string } }): string {
  const cpu = machine.cpu
    .toLowerCase()
    .replaceAll(/\((r|tm)\)|processor|cpu|@.*$/g, " ")
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  return `${date.slice(0, 10)}-${cpu || "cpu"}${quick ? "-quick" : ""}`;
}
