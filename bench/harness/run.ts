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
  const scale = options.quick ? quickScale(scenarios) : 1;
  for (const scenario of scenarios) {
    const { letter, name, title, how } = scenario;
    const begun = performance.now();
    const deadline = begun + 1_000 * scale * (options.quick ? scenario.seconds.quick : scenario.seconds.full);
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
    const seconds = (performance.now() - begun) / 1_000;
    infos.push({ letter, name, title, how, seconds, ...(error === undefined ? {} : { error }) });
  }
  return { scenarios: infos, rows };
}

/** What a quick run may take, in seconds; the rest of its two minutes is for stopping and writing. */
const quickSeconds = 112;

/** Together they keep to the time, each gives up the same part of its own. */
export function quickScale(scenarios: readonly Pick<Scenario, "seconds">[]): number {
  const sum = scenarios.reduce((total, { seconds }) => total + seconds.quick, 0);
  return Math.min(1, quickSeconds / Math.max(1, sum));
}
