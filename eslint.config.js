/**
 * Lint: typescript-eslint's strict, type-aware rules, and the architecture of CONTRIBUTING.md as rules of its own.
 * `configFor` is exported so that test/scripts/lint.test.ts can hold the same rules against files that break them.
 */
import { builtinModules } from "node:module";
import { dirname, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/** `root`: absolute path of the folder that holds tsconfig.check.json and src/. */
export function configFor(root) {
  return defineConfig(
    { ignores: ["dist/", "build/", "coverage/", "**/node_modules/"] },
    {
      files: ["**/*.ts"],
      extends: [tseslint.configs.strictTypeChecked],
      languageOptions: { parserOptions: { project: ["tsconfig.check.json"], tsconfigRootDir: root } },
      linterOptions: { reportUnusedDisableDirectives: "error" },
      plugins: { l7egg: { rules: { layers: layersRule(root) } } },
      rules: {
        "l7egg/layers": "error",
        "no-restricted-syntax": ["error", onlyNativeLoadsTheAddon],
        eqeqeq: "error",
        "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
        "@typescript-eslint/explicit-module-boundary-types": "error",
        "@typescript-eslint/no-floating-promises": ["error", { allowForKnownSafeCalls: nodeTestCalls }],
        "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
        // Numbers and booleans in messages are what messages are made of.
        "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
        "@typescript-eslint/no-unnecessary-condition": ["error", { allowConstantLoopConditions: "always" }],
        "@typescript-eslint/no-confusing-void-expression": [
          "error",
          { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
        ],
        "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
        // noUncheckedIndexedAccess makes every byte of a packet possibly undefined; `bytes[i]!` after a bounds check is the plain way.
        "@typescript-eslint/no-non-null-assertion": "off",
        // Says the same with more words, and fights with noUncheckedIndexedAccess.
        "@typescript-eslint/non-nullable-type-assertion-style": "off",
      },
    },
    {
      files: ["src/**/*.ts"],
      rules: {
        "no-console": "error",
        // An exit in the middle of things leaves links, pins and rules behind. Set process.exitCode and return.
        "no-restricted-properties": ["error", ...exits],
      },
    },
    { files: ["src/cli/**/*.ts"], rules: { "no-console": "off", "no-restricted-properties": "off" } },
    {
      // core is sans-io: bytes and a time go in, commands come out.
      files: ["src/core/**/*.ts"],
      rules: {
        "no-restricted-globals": ["error", ...ioGlobals],
        "no-restricted-properties": ["error", ...exits, ...chance],
        "no-restricted-syntax": ["error", onlyNativeLoadsTheAddon, noDynamicImport],
        "no-restricted-imports": ["error", { paths: ioPackages, patterns: [ioModules] }],
      },
    },
    // Only src/native knows the addon.
    { files: ["src/native/**/*.ts"], rules: { "no-restricted-syntax": "off" } },
    {
      files: ["test/**/*.ts"],
      rules: {
        // Tests hand wrong things to functions on purpose.
        "@typescript-eslint/no-unsafe-argument": "off",
        "@typescript-eslint/no-unsafe-assignment": "off",
        "@typescript-eslint/no-unsafe-member-access": "off",
        "@typescript-eslint/require-await": "off",
        "@typescript-eslint/explicit-module-boundary-types": "off",
        // Strings of bytes (latin1) are spread into bytes.
        "@typescript-eslint/no-misused-spread": "off",
        // After assert.equal(x.kind, "done") the type is narrowed, and `if (x.kind !== "done")` is how the reader is told.
        "@typescript-eslint/no-unnecessary-condition": "off",
      },
    },
    { files: ["**/*.js"], extends: [tseslint.configs.recommended] },
  );
}

/** cli → control, operator → edge → core; edge → native. What stands on the left may not import what stands on the right. */
const forbiddenLayers = {
  core: ["edge", "native", "control", "operator", "cli"],
  native: ["core", "edge", "control", "operator", "cli"],
  edge: ["control", "operator", "cli"],
  control: ["native", "cli"],
  operator: ["native", "cli"],
  cli: ["native"],
};

/** Holds every import, re-export, import() and import type with a relative path against `forbiddenLayers`. */
function layersRule(root) {
  const layerOf = (path) => {
    const [top, layer, ...rest] = relative(root, path).split(sep);
    return top === "src" && rest.length > 0 ? layer : undefined;
  };
  return {
    create(context) {
      const from = layerOf(context.filename);
      const forbidden = forbiddenLayers[from] ?? [];
      const check = (source) => {
        if (typeof source?.value !== "string" || !source.value.startsWith(".")) return;
        const to = layerOf(resolve(dirname(context.filename), source.value));
        if (!forbidden.includes(to)) return;
        const message = `${from} may not import ${to}: the direction is cli → control, operator → edge → core, and edge → native.`;
        context.report({ node: source, message });
      };
      return {
        ImportDeclaration: (node) => check(node.source),
        ExportNamedDeclaration: (node) => check(node.source),
        ExportAllDeclaration: (node) => check(node.source),
        ImportExpression: (node) => check(node.source),
        TSImportType: (node) => check(node.argument.literal ?? node.source),
      };
    },
  };
}

const onlyNativeLoadsTheAddon = {
  selector: "Literal[value=/l7egg\\.node$/]",
  message: "Only src/native loads the addon.",
};

const noDynamicImport = {
  selector: "ImportExpression",
  message: "core is sans-io: loading code is input. Import it at the top, where its origin is checked.",
};

const ioGlobals = [
  ...["process", "console", "globalThis", "global", "performance", "Date", "fetch", "WebSocket", "crypto"],
  ...["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "clearImmediate", "queueMicrotask"],
].map((name) => ({
  name,
  message: "core is sans-io: what it needs of the world comes in as an event or an argument.",
}));

const exits = [
  { object: "process", property: "exit", message: "Only the cli ends the process." },
  { object: "process", property: "abort", message: "Only the cli ends the process." },
];

const chance = [
  { object: "Math", property: "random", message: "core is deterministic: random bytes are an argument." },
];

const ioPackages = [
  ...["pino", "pino-pretty", "commander", "cli-table3", "netlink"].map((name) => ({
    name,
    message: "core is sans-io: logging, sockets and command lines belong to the layers above.",
  })),
  {
    name: "node:crypto",
    importNames: [
      "randomBytes",
      "randomFill",
      "randomFillSync",
      "randomInt",
      "randomUUID",
      "getRandomValues",
      "webcrypto",
    ],
    message: "core is deterministic: random bytes are an argument.",
  },
];

const ioModules = {
  regex: `^(node:(?!(buffer|crypto|url)$).*|(${builtinModules.filter((name) => !name.startsWith("_")).join("|")}))$`,
  message: "core is sans-io: of Node it may use node:buffer, node:crypto and node:url.",
};

/** node:test reports a failing promise of these by itself. */
const nodeTestCalls = [{ from: "package", name: ["test", "it", "describe", "suite"], package: "node:test" }];

// Last, because it needs everything above.
export default configFor(fileURLToPath(new URL(".", import.meta.url)));
