/** A lab that stays until it is told to go (`node --import tsx test/lab/hold.ts`), to look around in it; with `once`, it goes at once. */
import { buildLab } from "./lab.js";

const lab = await buildLab();
const shown = { router: lab.router.path, internet: lab.internet.path, client: lab.client.ns.path, folder: lab.folder };
process.stdout.write(`ready ${JSON.stringify(shown)}\n`);
if (process.argv[2] === "once") process.exit(0);
setInterval(() => undefined, 60_000);
