/**
 * `npm run demo`: a client, a router and an internet in network namespaces, the gateway on the router, and real programs that try
 * what is allowed and what isn't. Exit code 1 if anything came out otherwise than it must. Needs root; leaves nothing behind.
 */
import Table from "cli-table3";
import { Gateway } from "../../test/lab/gateway.js";
import { buildLab, type Lab } from "../../test/lab/lab.js";
import { cidr } from "../../test/lab/plan.js";
import { iperf } from "../../test/lab/tools.js";
import { carryOut, policy, rows, type Result } from "./rows.js";

const color = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
const paint = (code: number) => (text: string) => (color ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = paint(1);
const red = paint(31);
const green = paint(32);
const dim = paint(2);
const say = (line = "") => process.stdout.write(`${line}\n`);

/** Seconds of each measurement. */
const seconds = 3;

await main();

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) {
    say("npm run demo needs root: it makes network namespaces and loads eBPF programs.");
    process.exit(2);
  }
  const begun = performance.now();
  // test/lab/cleanup.ts ends the process with these codes after a signal.
  process.on("exit", (code) => {
    if (code === 130 || code === 143) say("\nStopped: the gateway and all namespaces are removed.");
  });
  say(bold("A LAN behind a router, all of it in network namespaces on this machine:"));
  say();
  say("  client              router                    internet");
  say("  192.168.77.10  ──►  l7egg runs here  ──►  nginx, unbound, sshd, iperf3, echo");
  say("  fd77::10            masquerade            198.51.100.0/24, 2001:db8:51::/64");
  say();
  const lab = await buildLab();
  try {
    process.exitCode = (await show(lab)) ? 0 : 1;
  } catch (error) {
    say(red(error instanceof Error ? error.message : String(error)));
    process.exitCode = 1;
  } finally {
    lab.close();
  }
  say(dim(`All namespaces are gone again. ${((performance.now() - begun) / 1_000).toFixed(1)} s.`));
}

/** true: everything as it must be. */
async function show(lab: Lab): Promise<boolean> {
  const tries = await rows(lab);
  const unreachable: string[] = [];
  for (const row of tries) if (!(await row.act()).worked) unreachable.push(row.tried);
  if (unreachable.length > 0) {
    say(red(`The lab itself is broken; by plain forwarding these fail:\n  ${unreachable.join("\n  ")}`));
    return false;
  }
  say(`Without the gateway all ${tries.length} things tried below work.`);
  const target = cidr.inside4[0];
  say(`Throughput of one TCP flow without the gateway, ${seconds} s …`);
  const plain = await iperf(lab.client, target, seconds);

  say("Starting the gateway on the router:");
  say();
  const gateway = await Gateway.start(lab, { flags: policy });
  say(`  l7egg run --lan lan0 --iface wan0 --eface wan0 --resolver 198.51.100.53 …${flagLines()}`);
  say();

  const results: Result[] = [];
  for (const row of tries) {
    results.push(await carryOut(row, gateway));
    if (process.stdout.isTTY) process.stdout.write(`\r  ${results.length} tried …`);
  }
  if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
  say(table(results));

  say(`Throughput of the same TCP flow through the gateway, ${seconds} s …`);
  const governed = await iperf(lab.client, target, seconds);
  const ratio = governed / plain;
  say(
    `  plain forwarding ${gigabits(plain)}, with the gateway ${gigabits(governed)}: ${bold(`${ratio.toFixed(2)} of plain`)}`,
  );
  say();

  const stopped = await gateway.stop();
  const wrong = results.filter((result) => !result.asExpected);
  if (stopped !== 0) say(red(`The gateway ended with ${stopped}:\n${gateway.daemon.stderr}`));
  if (wrong.length === 0) say(green(`All ${results.length} as expected.`));
  else say(red(`${wrong.length} of ${results.length} NOT as expected.`));
  return wrong.length === 0 && stopped === 0;
}

function table(results: readonly Result[]): string {
  const out = new Table({
    head: ["tried", "happened", "why (the gateway's own log)", "ok"].map(bold),
    style: { head: [], border: [] },
    wordWrap: true,
    colWidths: [56, 21, 46, 4],
    // No lines between rows.
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  let group = "";
  for (const result of results) {
    if (result.row.group !== group) {
      group = result.row.group;
      if (out.length > 0) out.push(["", "", "", ""]);
      out.push([bold(group), "", "", ""]);
    }
    const happened = result.worked ? green(result.text) : red(result.text);
    const why = result.rule === "" ? result.reason : `${result.reason}  ${dim(result.rule)}`;
    out.push([result.row.tried, happened, why, result.asExpected ? green("✓") : red("✗")]);
  }
  return out.toString();
}

function flagLines(): string {
  let text = "";
  for (let i = 0; i < policy.length; i += 2) text += `${i % 8 === 0 ? "\n     " : ""} ${policy[i]} ${policy[i + 1]}`;
  return text;
}

function gigabits(bits: number): string {
  return `${(bits / 1e9).toFixed(1)} Gbit/s`;
}
