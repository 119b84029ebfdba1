/**
 * The smallest SNI filter that npm `nfqueue` allows, as its README tells to use it, with the large buffer it recommends: every packet from
 * the clients to port 443 comes here; a flow's first packet with payload must be one whole ClientHello with an allowed name.
 *
 *   node filter.cjs DOMAIN...      `*.x.io` means below x.io
 *
 * Fair because: flows that are decided cost one look into a Map. It can't set marks on its verdicts, so it can't tell the kernel to keep
 * decided flows to itself. A hello in pieces is denied: putting it together is not minimal.
 */
const nfqueue = require("nfqueue");

const below = process.argv
  .slice(2)
  .filter((domain) => domain.startsWith("*"))
  .map((domain) => domain.slice(1));
const exact = new Set(process.argv.slice(2).filter((domain) => !domain.startsWith("*")));
/** Flow → allowed. SYN makes a new one; the oldest goes when there are many. */
const flows = new Map();
const maxFlows = 500_000;

const allowedName = (name) => exact.has(name) || below.some((suffix) => name.endsWith(suffix));

for (const queue of [0, 1]) {
  nfqueue.createQueueHandler(queue, 64 << 20, (packet) =>
    packet.setVerdict(judge(packet.payload) ? nfqueue.NF_ACCEPT : nfqueue.NF_DROP),
  );
}
process.once("SIGTERM", () => process.exit(0));
process.stdout.write("ready\n");

function judge(ip) {
  const v6 = ip[0] >> 4 === 6;
  const tcp = v6 ? 40 : (ip[0] & 15) * 4;
  const payload = tcp + (ip[tcp + 12] >> 4) * 4;
  const key = ip.latin1Slice(v6 ? 8 : 12, v6 ? 40 : 20) + ip.latin1Slice(tcp, tcp + 4);
  if (ip[tcp + 13] & 2) {
    flows.delete(key);
    return true;
  }
  if (payload >= ip.length) return true;
  let verdict = flows.get(key);
  if (verdict === undefined) {
    const name = nameIn(ip, payload);
    verdict = name !== undefined && allowedName(name);
    if (flows.size >= maxFlows) flows.delete(flows.keys().next().value);
    flows.set(key, verdict);
  }
  return verdict;
}

/** RFC 8446 4.1.2, RFC 6066 3. undefined: not one whole ClientHello with a name. */
function nameIn(bytes, at) {
  const end = bytes.length;
  if (end - at < 48 || bytes[at] !== 22 || bytes[at + 5] !== 1) return undefined;
  if (at + 5 + bytes.readUInt16BE(at + 3) > end) return undefined;
  at += 43;
  at += 1 + bytes[at];
  if (at + 2 > end) return undefined;
  at += 2 + bytes.readUInt16BE(at);
  at += 1 + bytes[at] + 2;
  while (at + 9 <= end) {
    const [type, length] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 2)];
    if (type === 0) return bytes.latin1Slice(at + 9, Math.min(end, at + 9 + bytes.readUInt16BE(at + 7))).toLowerCase();
    at += 4 + length;
  }
  return undefined;
}
