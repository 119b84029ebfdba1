/** The gateway whose growth is watched, and what is read off it at each step. */
import { callControl } from "../../src/control/client.js";
import { defaults } from "../../src/edge/options.js";
import { instancePaths } from "../../src/edge/paths.js";
import type { GatewayStatus } from "../../src/edge/status.js";
import { noRow, row, type RowHead } from "../harness/results.js";
import type { Row } from "../harness/types.js";
import type { BenchLab } from "../lab.js";
import { startGateway, type Gateway } from "../systems/l7egg/start.js";
import { cpuUs, mapMiB, rssMiB, settled } from "./memory.js";

export class Subject {
  readonly #gateway: Gateway;
  readonly #of: string;

  /** `of`: what grows, "flows". */
  private constructor(gateway: Gateway, of: string) {
    this.#gateway = gateway;
    this.#of = of;
  }

  static async start(lab: BenchLab, of: string, args: readonly string[]): Promise<Subject> {
    return new Subject(await startGateway(lab, args), of);
  }

  get instance(): string {
    return this.#gateway.instance;
  }

  stop(): Promise<void> {
    return this.#gateway.stop();
  }

  async status(): Promise<GatewayStatus> {
    const { socket } = instancePaths(this.instance, defaults.pinDir);
    return (await callControl({ path: socket, method: "status", params: { learned: 0 } })) as GatewayStatus;
  }

  /** Resident memory in MiB, once it has nothing to do any more. */
  async memory(): Promise<number> {
    await settled(this.#gateway.daemon.pid);
    return rssMiB(this.#gateway.daemon.pid);
  }

  /**
   * One point of the curves. `grow` makes the last `added` of `total` and returns a note if something is to be said. Rows: memory of process and maps
   * afterwards, and the process's own time for each of the added ones where it has a part in it.
   */
  async step(total: number, added: number, grow: () => Promise<string | undefined>): Promise<Row[]> {
    const { pid } = this.#gateway.daemon;
    const [begun, cpu] = [performance.now(), cpuUs(pid)];
    const note = await grow();
    const wall = (performance.now() - begun) * 1e3;
    const memory = await this.memory();
    const extras = note === undefined ? {} : { note };
    const one = this.#of.replace(/s$/, "").replace("learned ", "");
    return [
      row(this.#head("memory of the process", "MiB", total), [memory], extras),
      row(this.#head("memory of the eBPF maps", "MiB", total), [mapMiB(this.instance)]),
      row(this.#head(`processor time of the process for each new ${one}`, "µs", total), [(cpuUs(pid) - cpu) / added]),
      row(this.#head(`time for each new ${one}, senders and servers included`, "µs", total), [wall / added]),
    ];
  }

  late(total: number): Row {
    return noRow(this.#head("memory of the process", "MiB", total), "the scenario's time was over");
  }

  #head(metric: string, unit: string, total: number): RowHead {
    const of = total === 1 ? this.#of.replace(/s$/, "") : this.#of;
    const point = `${total.toLocaleString("en")} ${of}`;
    return { scenario: "growth", metric, point, x: total, system: "l7egg run", unit, better: "lower" };
  }
}
