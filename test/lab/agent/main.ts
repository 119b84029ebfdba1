/** Child process of `Agent`: one function call a message. */
import * as dhcp from "./dhcp.js";
import * as dns from "./dns.js";
import * as raw from "./raw.js";
import * as serve from "./serve.js";
import * as sockets from "./sockets.js";

const methods = { ...sockets, ...dns, ...serve, ...dhcp, ...raw };
export type Methods = typeof methods;

interface Call {
  readonly id: number;
  readonly method: keyof Methods;
  readonly args: never;
}

process.on("message", (call: Call) => {
  const done = (reply: object) => process.send?.({ id: call.id, ...reply });
  void (async () => {
    try {
      done({ result: await methods[call.method](call.args) });
    } catch (error) {
      done({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  })();
});
// The parent is gone, however it went.
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
