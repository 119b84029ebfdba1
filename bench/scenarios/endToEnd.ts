/** Part of (c): real handshakes, from h2load to nginx, each with one request. */
import { compare, type Sample } from "../harness/compare.js";
import { decidesNames } from "../harness/fits.js";
import { resolveNames, target } from "../harness/stations.js";
import { CannotRun, type Context, type Row, type Station } from "../harness/types.js";
import { byNameEndToEnd, names } from "../harness/workload.js";
import { which } from "../systems/program.js";

/** Connections of one measurement, all opened at once. */
const clients = 400;

export async function endToEnd(context: Context, scenario: string): Promise<Row[]> {
  if (which("h2load") === undefined) throw new CannotRun("h2load is not installed (Debian's package nghttp2-client)");
  const rows = await compare(context, {
    head: {
      scenario,
      metric: "end to end",
      point: `TLS 1.3 handshake and one request, ${clients} clients, IPv4`,
      unit: "connections/s",
      better: "higher",
    },
    workload: byNameEndToEnd,
    fits: decidesNames,
    warmUp: async (station) => {
      if (!station.system.tlsOnly) await resolveNames(station);
      await handshakes(station);
    },
    measure: handshakes,
  });
  return rows;
}

async function handshakes(station: Station): Promise<Sample> {
  const to = `--connect-to=${target(station, "v4")}:443`;
  const argv = ["h2load", "--h1", "-t", "1", "-n", String(clients), "-c", String(clients), to, `https://${names.one}/`];
  const out = await station.lab.client.run(argv, { timeoutMs: 20_000 });
  if (out.timedOut) throw new Error("h2load: not done within 20 s");
  return parseH2load(out.stdout);
}

/** Throws if it has not finished a connection. */
export function parseH2load(text: string): Sample {
  const took = /^finished in ([\d.]+)(us|ms|s),/m.exec(text);
  const done = /(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(text)?.slice(1).map(Number);
  if (!took || !done || done[0] === 0) throw new Error(`h2load: ${text.trim().split("\n").at(-1) ?? "no output"}`);
  const [succeeded, failed, errored, timeout] = done as [number, number, number, number];
  const seconds = Number(took[1]) / ({ us: 1e6, ms: 1e3, s: 1 } as Record<string, number>)[took[2]!]!;
  const bad = failed + timeout + (errored > failed ? errored - failed : 0);
  const note = bad > 0 ? `${bad} of ${succeeded + bad} connections failed` : undefined;
  return { value: succeeded / seconds, units: succeeded, ...(note === undefined ? {} : { note }) };
}
