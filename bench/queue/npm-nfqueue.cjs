/** Accept-all through npm `nfqueue`, as its README tells to, with the large buffer it recommends. Prints as addon.ts does. */
const nfqueue = require("nfqueue");

let packets = 0;
nfqueue.createQueueHandler(0, 64 << 20, (packet) => {
  packets++;
  packet.setVerdict(nfqueue.NF_ACCEPT);
});
process.once("SIGTERM", () => {
  const { user, system } = process.cpuUsage();
  process.stdout.write(JSON.stringify({ packets, cpuSeconds: (user + system) / 1e6 }) + "\n", () => process.exit(0));
});
process.stdout.write("ready\n");
