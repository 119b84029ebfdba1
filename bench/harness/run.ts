/** One run: every chosen scenario in turn, one after the other failing if it must, and what they have found. */
import type { ScenarioInfo } from "./results.js";
import { firstLine } from "./labs.js";
import type { BenchOptions } from "./options.js";
import type { Labs, Row, Scenario, System } from "./types.js";

export interface Findings {
  readonly scenarios: readonly ScenarioInfo[];
  readonly rows: readonly Row[];
}

export async function runScenarios(
  scenarios: readonly Scenario[],
  systems: readonly System[],
  labs: Labs,
  options: Pick<BenchOptions, "quick" | "rounds">,
  progress: (text: string) => void,
): Promise<Findings> {
  const infos: ScenarioInfo[] = [];
  const rows: Row[] = [];
  const start = performance.now();
  for (const [at, scenario] of scenarios.entries()) {
    const { letter, name, title, how } = scenario;
    const begun = performance.now();
    const spent = (begun - start) / 1_000;
    const seconds = options.quick ? quickSeconds(scenarios.slice(at), spent) : scenario.seconds.full;
    const deadline = begun + 1_000 * seconds;
    let error: string | undefined;
    progress(`${letter} ${title}`);
    try {
      const context = {
        ...options,
        systems,
        labs,
        deadline,
        progress: (text: string) => progress(`${letter}   ${text}`),
      };
      rows.push(...(await scenario.measure(context)));
    } catch (thrown) {
      error = firstLine(thrown);
      progress(`${letter} FAILED: ${error}`);
    }
    infos.push({
      letter,
      name,
      title,
      how,
      seconds: (performance.now() - begun) / 1_000,
      ...(error === undefined ? {} : { error }),
    });
  }
  return { scenarios: infos, rows };
}

/** What a quick run may take; the rest of its two minutes is for stopping and writing. */
const quickTotal = 112;

/** Seconds for the first of these: its share of what is left, at most what it asks for. Who took too long takes it from all that follow. */
export function quickSeconds(scenarios: readonly Pick<Scenario, "seconds">[], spent: number): number {
  const wanted = scenarios.reduce((sum, { seconds }) => sum + seconds.quick, 0);
  return scenarios[0]!.seconds.quick * Math.min(1, Math.max(0, quickTotal - spent) / wanted);
}
