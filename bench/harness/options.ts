/** Command line of `npm run bench`. */
import { Command, CommanderError, InvalidArgumentError } from "commander";

export interface BenchOptions {
  readonly quick: boolean;
  /** Names, in the order of the registry. */
  readonly scenarios: readonly string[];
  readonly systems: readonly string[];
  readonly rounds: number;
  /** Folder for the results. */
  readonly out: string;
}

/** What can be chosen. Scenarios answer to their letter and to their name. */
export interface Choices {
  readonly scenarios: readonly { readonly letter: string; readonly name: string; readonly title: string }[];
  readonly systems: readonly { readonly name: string; readonly title: string }[];
}

export type Asked =
  | { readonly kind: "run"; readonly options: BenchOptions }
  | { readonly kind: "list" }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "invalid"; readonly line: string };

const mostRounds = 1_000;

export function readOptions(words: readonly string[], choices: Choices): Asked {
  let said = "";
  const program = new Command("npm run bench --")
    .description("compare l7egg with plain forwarding and with its peers, all in one run on this machine")
    .option("--quick", "the most telling points only, fewer and shorter rounds: two minutes in all", false)
    .option("--scenario <LIST>", "letters or names, with commas or repeated (default: all)", listOf, [])
    .option("--system <LIST>", "names, with commas or repeated (default: all); plain is always there", listOf, [])
    .option("--rounds <N>", "rounds of each measurement (default: 5, with --quick 2)", wholeRounds)
    .option("--out <DIR>", "folder for the results", "bench/results")
    .option("--list", "print the scenarios and systems, measure nothing", false)
    .addHelpText("after", examples)
    .exitOverride()
    .configureOutput({ writeOut: (text) => (said += text), writeErr: () => undefined })
    .allowExcessArguments(false);
  try {
    program.parse([...words], { from: "user" });
    const given = program.opts<Given>();
    if (given.list) return { kind: "list" };
    const options: BenchOptions = {
      quick: given.quick,
      scenarios: choose("--scenario", given.scenario, choices.scenarios, ({ letter }, word) => letter === word),
      systems: choose("--system", given.system, choices.systems),
      rounds: given.rounds ?? (given.quick ? 2 : 5),
      out: given.out,
    };
    return { kind: "run", options };
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return { kind: "help", text: said };
    if (!(error instanceof Error)) throw error;
    return { kind: "invalid", line: error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ") };
  }
}

interface Given {
  readonly quick: boolean;
  readonly scenario: readonly string[];
  readonly system: readonly string[];
  readonly rounds?: number;
  readonly out: string;
  readonly list: boolean;
}

const examples = `
Examples:
  npm run bench -- --quick
  npm run bench -- --scenario c,d --system l7egg-both,nginx,haproxy
  npm run bench -- --rounds 9 --out /var/tmp/results
`;

/** Names of those that are meant, in the order of `all`; every one if none was named. */
function choose<T extends { readonly name: string }>(
  option: string,
  words: readonly string[],
  all: readonly T[],
  alias: (one: T, word: string) => boolean = () => false,
): string[] {
  if (words.length === 0) return all.map(({ name }) => name);
  const chosen = words.map((word) => {
    const found = all.find((one) => one.name === word || alias(one, word));
    if (!found) throw new Error(`${option} ${word}: one of ${all.map(({ name }) => name).join(", ")}`);
    return found;
  });
  return all.filter((one) => chosen.includes(one)).map(({ name }) => name);
}

function listOf(text: string, before: readonly string[]): string[] {
  const words = text.split(",").map((word) => word.trim());
  if (words.includes("")) throw new InvalidArgumentError("a name is empty.");
  return [...before, ...words];
}

function wholeRounds(text: string): number {
  const rounds = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (rounds < 1 || rounds > mostRounds) throw new InvalidArgumentError(`a whole number from 1 to ${mostRounds}.`);
  return rounds;
}
