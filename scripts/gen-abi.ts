/**
 * bpf/l7egg_abi.h -> src/core/abi.generated.ts: one description of marks, reasons, keys and values for kernel and user space.
 *
 *   node --import tsx scripts/gen-abi.ts           write the file
 *   node --import tsx scripts/gen-abi.ts --check   exit 1 with one line if the file isn't what would be written
 *
 * It reads the shape that the header promises and refuses anything else, so a field can't be lost by being misread. Layouts
 * are computed by the C rules for natural alignment; a struct with implicit padding is an error, as the header forbids it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { parseHeader } from "./gen-abi/header.js";
import { render } from "./gen-abi/render.js";

const headerPath = fileURLToPath(new URL("../bpf/l7egg_abi.h", import.meta.url));
const outputPath = fileURLToPath(new URL("../src/core/abi.generated.ts", import.meta.url));

const wanted = await format(render(parseHeader(readFileSync(headerPath, "utf8"))), {
  parser: "typescript",
  printWidth: 120,
});

if (process.argv.includes("--check")) {
  if (read(outputPath) !== wanted) {
    console.error(
      "src/core/abi.generated.ts is out of date with bpf/l7egg_abi.h: node --import tsx scripts/gen-abi.ts",
    );
    process.exitCode = 1;
  }
} else {
  writeFileSync(outputPath, wanted);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
