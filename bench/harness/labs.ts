/** Systems that are running: one lab for each system and workload. */
import { buildDirect, buildLab, closeLab, type BenchLab } from "../lab.js";
import type { Labs, Running, Station, System, Workload } from "./types.js";

/** Makes a lab useful before a system is started in it (servers), and checks afterwards that the system does what it is measured for. */
export interface Hooks {
  prepare(lab: BenchLab): Promise<void>;
  /** Throws with what is wrong. */
  check(station: Station, workload: Workload): Promise<void>;
}

type Entry = Promise<Station | { readonly why: string }>;

export class LabKeeper implements Labs {
  readonly #entries = new Map<string, { readonly workload: string; readonly entry: Entry }>();
  #direct: Promise<BenchLab> | undefined;

  constructor(readonly hooks: Hooks) {}

  get(system: System, workload: Workload): Entry {
    const id = `${system.name} ${workload.key}`;
    const known = this.#entries.get(id);
    if (known) return known.entry;
    const entry = this.#start(system, workload);
    this.#entries.set(id, { workload: workload.key, entry });
    return entry;
  }

  direct(): Promise<BenchLab> {
    this.#direct ??= (async () => {
      const lab = buildDirect();
      await this.hooks.prepare(lab);
      return lab;
    })();
    return this.#direct;
  }

  async release(keep: readonly string[] = []): Promise<void> {
    for (const [id, { workload, entry }] of this.#entries) {
      if (keep.includes(workload)) continue;
      this.#entries.delete(id);
      const station = await entry;
      if ("why" in station) continue;
      await station.running.stop().catch(() => undefined);
      closeLab(station.lab);
    }
    if (keep.length > 0 || !this.#direct) return;
    closeLab(await this.#direct);
    this.#direct = undefined;
  }

  async #start(system: System, workload: Workload): Entry {
    const lab = buildLab(system.name);
    let running: Running | undefined;
    try {
      await this.hooks.prepare(lab);
      running = await system.start(lab, workload);
      const station: Station = { system, lab, running };
      await this.hooks.check(station, workload);
      return station;
    } catch (error) {
      await running?.stop().catch(() => undefined);
      closeLab(lab);
      return { why: firstLine(error) };
    }
  }
}

export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split("\n")[0]!.slice(0, 300);
}
