/** A client that plays tricks with TCP and IP (tcpTricks.ts), against one thread. */
import { tricksWithTcp } from "./tcpTricks.js";

for (const fast of [false, true]) tricksWithTcp(fast, "0");
