/** Accept-all through our addon, in the namespace it is started in. Prints "ready", and on SIGTERM its statistics as one line of JSON. */
import { native } from "../../src/native/index.js";
import { Meta, META_STRIDE } from "../../src/native/types.js";

let packets = 0;
let shortened = 0;
const queue = native.openQueue({ queue: 0, copyRange: 2_048, gso: true }, (count, meta) => {
  packets += count;
  for (let at = 0; at < count * META_STRIDE; at += META_STRIDE) {
    if (meta[at + Meta.length] !== meta[at + Meta.wireLength]) shortened++;
    queue.verdict(meta[at + Meta.id]!, "accept");
  }
});
process.once("SIGTERM", () => {
  const { user, system } = process.cpuUsage();
  const said = { ...queue.stats(), packets, shortened, cpuSeconds: (user + system) / 1e6 };
  queue.close();
  process.stdout.write(JSON.stringify(said) + "\n");
});
process.stdout.write("ready\n");
