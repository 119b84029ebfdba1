/** Every system, in the order of the tables; plain forwarding first. A new one, or a new mode of l7egg, is one line. */
import type { System } from "../harness/types.js";
import { dnsmasqIpset } from "./dnsmasq-ipset/index.js";
import { egressEddie } from "./egress-eddie/index.js";
import { haproxy } from "./haproxy/index.js";
import { l7eggMode } from "./l7egg/mode.js";
import { nginx } from "./nginx/index.js";
import { npmNfqueue } from "./npm-nfqueue/index.js";
import { opensnitch } from "./opensnitch/index.js";
import { plain } from "./plain.js";
import { sniproxy } from "./sniproxy/index.js";
import { squid } from "./squid/index.js";

export const systems: readonly System[] = [
  plain,
  l7eggMode({
    name: "dns",
    title: "--verify dns",
    args: ["--verify", "dns"],
    way: "dns",
    gap: "looks at no name on the wire",
  }),
  l7eggMode({
    name: "sni",
    title: "--verify sni",
    args: ["--verify", "sni"],
    way: "sni",
    gap: "never compares the name with the address",
  }),
  l7eggMode({ name: "both", title: "--verify both (the default)", args: ["--verify", "both"], way: "both" }),
  npmNfqueue,
  nginx,
  haproxy,
  squid,
  sniproxy,
  dnsmasqIpset,
  opensnitch,
  egressEddie,
];
