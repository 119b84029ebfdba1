/** Systems that are running: one lab for each system and workload. */
import { buildDirect, buildLab, closeLab, type BenchLab } from "../lab.js";
import { checkStation, startServices } from "./stations.js";
import type { Labs, Running, Services, Station, System, Workload } from "./types.js";

type Entry = Promise<Station | { readonly why: string }>;
type Direct = Promise<{ readonly lab: BenchLab; readonly services: Services }>;

export class LabKeeper implements Labs {
  readonly #entries = new Map<string, { readonly workload: string; readonly entry: Entry }>();
  #direct: Direct | undefined;

  get(system: System, workload: Workload): Entry {
    const id = `${system.name} ${workload.key}`;
    const known = this.#entries.get(id);
    if (known) return known.entry;
    const entry = startStation(system, workload);
    this.#entries.set(id, { workload: workload.key, entry });
    return entry;
  }

  direct(): Direct {
    this.#direct ??= (async () => {
      const lab = buildDirect();
      return { lab, services: await startServices(lab) };
    })();
    return this.#direct;
  }

  async release(keep: readonly string[] = []): Promise<void> {
    const leaving = [...this.#entries].filter(([, { workload }]) => !keep.includes(workload));
    const stopped = leaving.map(async ([id, { entry }]) => {
      this.#entries.delete(id);
      const station = await entry;
      if ("why" in station) return;
      await station.running.stop().catch(() => undefined);
      closeLab(station.lab);
    });
    await Promise.all(stopped);
    if (keep.length > 0 || !this.#direct) return;
    closeLab((await this.#direct).lab);
    this.#direct = undefined;
  }
}

async function startStation(system: System, workload: Workload): Entry {
  const lab = buildLab(system.name);
  let running: Running | undefined;
  try {
    const services = await startServices(lab, workload.realServer);
    running = await system.start(lab, workload);
    const station: Station = { system, lab, services, running };
    await checkStation(station, workload);
    return station;
  } catch (error) {
    const said = running?.log?.().trim().split("\n").at(-1);
    await running?.stop().catch(() => undefined);
    closeLab(lab);
    return { why: said ? `${firstLine(error)} (it said: ${said.slice(0, 200)})` : firstLine(error) };
  }
}

export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split("\n")[0]!.slice(0, 300);
}
