#!/usr/bin/env node
/** `l7egg`: the command line. Each command's work is in a file of its own. */
import { Command, CommanderError, Option } from "commander";
import { defaults, formatMask } from "../edge/options.js";
import { finish, version } from "./output.js";
import type { RawRunOptions } from "./runOptions.js";

const examples = `
Examples:
  A LAN behind this router may reach two domains, and git over ssh besides:
    l7egg run --lan eth1 --eface eth0 --domain .debian.org --domain github.com
  Everything in 10.0.0.0/8 except one network; the rest by name:
    l7egg run --lan eth1 --eface eth0 --cidr 10.0.0.0/8 --deny-cidr 10.66.0.0/16 --domain '*.example.com'
  This machine itself (no --lan), HTTPS only:
    l7egg run --eface eth0 --domain registry.npmjs.org --port tcp/443
  The policy in a file, and after a change of it:
    l7egg run --lan eth1 --eface eth0 --policy /etc/l7egg/policy.yaml
    l7egg reload
  What runs, why something is denied, and remove everything after a crash:
    l7egg status
    l7egg explain www.example.com:443
    l7egg clean
`;

export function buildProgram(): Command {
  const program = new Command("l7egg");
  program
    .description("Level-7 egress firewall: decides by name which destinations a LAN or this machine may reach")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", examples)
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) });
  program
    .command("run")
    .description("govern the traffic until SIGINT or SIGTERM")
    .option("--lan <IF>", "interface whose clients are governed; repeatable. None: this machine's own egress", collect)
    .option("--iface <IF>", "where DNS answers come in (default: --eface)")
    .option("--eface <IF>", "the way out that is governed")
    .option(
      "--policy <FILE>",
      "a file with the whole policy, which l7egg reload reads again; instead of the options from --cidr to --dns-deny",
    )
    .option("--cidr <C>", "allow a network; repeatable", collect)
    .option("--deny-cidr <C>", "deny a network; the longer prefix wins, between equals the denial; repeatable", collect)
    .option(
      "--cn <NAME>",
      "allow names that end so, as the original project does (ome.com lets home.com through); repeatable",
      collect,
    )
    .option(
      "--domain <PATTERN>",
      "allow api.x.io, *.x.io (below), .x.io (apex and below), suffix:x.io; repeatable",
      collect,
    )
    .option(
      "--resolver <IP>",
      "trusted resolver (default: those of resolv.conf and this machine itself); repeatable",
      collect,
    )
    .option(
      "--port <P>",
      "allow rules let only this port through: tcp/443, udp/100-200, 53, icmp (default: all); repeatable",
      collect,
    )
    .option(
      "--name-port <P>",
      "where a name on the wire belongs (default: tcp/80,443,8080,8443, udp/443); repeatable",
      collect,
    )
    .option("--verify <MODE>", "dns: a learned address is enough; sni: the name on the wire; both (default: both)")
    .option("--reject <MODE>", "tell a denied client: rst (TCP reset, ICMP prohibited) or drop (default: rst)")
    .option("--quic <MODE>", "QUIC on a name port: inspect (its name decides) or deny (default: inspect)")
    .option("--dns-deny <MODE>", "answer a denied DNS query: drop, refused, nxdomain (default: refused)")
    .option(
      "--queue <A[:B]>",
      `NFQUEUE numbers; each but the first gets a thread that judges connections (default: ${defaults.queues.first})`,
    )
    .option("--mark-mask <M>", `two neighbouring bits of the packet mark (default: ${formatMask(defaults.mark.mask)})`)
    .option("--fail-mode <MODE>", "closed: what can't be judged is dropped; open: it passes (default: closed)")
    .option("--log-format <F>", "pretty or json (default: pretty)")
    .option("--pin-dir <D>", `folder under a bpf file system (default: ${defaults.pinDir})`)
    .option("--name <INSTANCE>", `several gateways on one machine: each a name (default: ${defaults.name})`)
    .option("--max-cidrs <N>", `room for CIDR entries of each family (default: ${defaults.sizes.cidrs})`)
    .option("--max-names <N>", `room for learned addresses of each family (default: ${defaults.sizes.names})`)
    .option("--max-flows <N>", `room for IPv4 flows, half of it for IPv6 (default: ${defaults.sizes.flows})`)
    .option("--masquerade", "hide the LANs behind eface's address (NAT)")
    .option("--no-iptables", "leave the iptables rules to somebody else (scripts/iptables-setup.sh)")
    .option(
      "--fast-path <MODE>",
      "auto: forwarded flows skip netfilter where nobody else has rules; off (default: auto)",
    )
    .addOption(new Option("--attach <MODE>", "auto, tcx (kernel 6.6 and later) or clsact (default: auto)"))
    .action((options: RawRunOptions) => finish(async () => (await import("./run.js")).run(options)));
  program
    .command("status")
    .description("what a running gateway does: attached programs, queues, learned names, counters")
    .option("--name <INSTANCE>", "which gateway", defaults.name)
    .option("--json", "as JSON, with everything")
    .option("--learned <N>", "learned names listed at most, the newest; 0 = none", "50")
    .action((options: { name: string; json?: boolean; learned: string }) =>
      finish(async () => (await import("./status.js")).status(options)),
    );
  program
    .command("explain")
    .description("why a name or an address is allowed or not, by the rules and names of the running gateway")
    .argument("<NAME|IP[:PORT]>", "www.example.com, 192.0.2.1:443, [2001:db8::1]:443")
    .option("--name <INSTANCE>", "which gateway", defaults.name)
    .option("--json", "as JSON")
    .action((target: string, options: { name: string; json?: boolean }) =>
      finish(async () => (await import("./explain.js")).explain(target, options)),
    );
  program
    .command("reload")
    .description(
      "read the policy file again: what it allows goes on, what it doesn't is cut; a bad file changes nothing",
    )
    .option("--name <INSTANCE>", "which gateway", defaults.name)
    .option("--json", "as JSON")
    .action((options: { name: string; json?: boolean }) =>
      finish(async () => (await import("./reload.js")).reload(options)),
    );
  program
    .command("check")
    .description("is this policy file good? Changes nothing, needs no gateway")
    .argument("<FILE>", "policy file")
    .option("--max-cidrs <N>", "as for run")
    .action((file: string, options: { maxCidrs?: string }) =>
      finish(async () => (await import("./check.js")).check(file, options)),
    );
  program
    .command("clean")
    .description(
      "remove all that a gateway leaves: links, filters, pins, iptables chains, /run folder; opens the network",
    )
    .option("--name <INSTANCE>", "which gateway", defaults.name)
    .option("--all", "all of them")
    .option("--force", "stop a gateway that is running")
    .option("--pin-dir <D>", "where it was told to pin, if nothing is on record", defaults.pinDir)
    .action((options: { name: string; all?: boolean; force?: boolean; pinDir: string }) =>
      finish(async () => (await import("./clean.js")).clean(options)),
    );
  program
    .command("doctor")
    .description("what this machine and its kernel can do, and what is lost without it")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => finish(async () => (await import("./doctor.js")).doctor(options)));
  for (const command of program.commands) command.exitOverride().allowExcessArguments().hook("preAction", refuseExcess);
  return program;
}

/** Parse and run. Bad arguments: one line on stderr, exit code 2. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = buildProgram();
  if (argv.length === 0) {
    process.stderr.write(
      "l7egg: say what to do: run, reload, check, status, explain, clean or doctor (l7egg --help shows examples)\n",
    );
    process.exitCode = 2;
    return;
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  }
}

/** commander would only say how many there are. */
function refuseExcess(_: Command, command: Command): void {
  const taken = command.registeredArguments.length;
  const excess = command.args.slice(taken);
  if (excess.length === 0) return;
  const words = excess.map((word) => JSON.stringify(word)).join(" ");
  const may = taken === 0 ? "takes none; values follow an option" : "takes one";
  command.error(`unexpected argument ${words}: l7egg ${command.name()} ${may}`);
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...value.split(",").map((part) => part.trim())];
}

/** commander puts its guess at the right option on a second line. */
function oneLine(text: string): string {
  return `l7egg: ${text
    .trim()
    .replace(/^error: /, "")
    .replace(/\n\(?Did you mean (.*?)\?\)?$/s, ": did you mean $1?")}\n`;
}

const { pathToFileURL } = await import("node:url");
const { realpathSync } = await import("node:fs");
const script = process.argv[1];
if (script !== undefined && import.meta.url === pathToFileURL(realpathSync(script)).href)
  await main(process.argv.slice(2));
