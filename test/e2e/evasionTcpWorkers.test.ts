/** A client that plays tricks with TCP and IP (tcpTricks.ts), against two workers on the kernel's maps. */
import { tricksWithTcp } from "./tcpTricks.js";

for (const fast of [false, true]) tricksWithTcp(fast, "0:2");
