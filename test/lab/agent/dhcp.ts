/** A DHCP client (RFC 2131) just big enough to get a lease: DISCOVER, OFFER, REQUEST, ACK. */
import { createSocket } from "node:dgram";

const magic = [0x63, 0x82, 0x53, 0x63];

/** The leased address; undefined: nobody answered. `mac` is the client's hardware address. */
export function dhcpLease(args: { readonly mac: string; readonly timeoutMs?: number }): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const xid = Math.floor(Math.random() * 0xffff_ffff);
    const socket = createSocket({ type: "udp4", reuseAddr: true });
    const end = (address: string | undefined) => {
      clearTimeout(timer);
      socket.close();
      resolve(address);
    };
    const timer = setTimeout(() => end(undefined), args.timeoutMs ?? 4_000);
    const send = (options: readonly number[]) => socket.send(request(xid, args.mac, options), 67, "255.255.255.255");
    socket.on("error", reject);
    socket.on("message", (message) => {
      if (message.length < 241 || message.readUInt32BE(4) !== xid) return;
      const address = [...message.subarray(16, 20)];
      const kind = option(message, 53)?.[0];
      // 2 OFFER, 5 ACK. The server identifier (54) must be given back.
      if (kind === 2) send([53, 1, 3, 50, 4, ...address, 54, 4, ...(option(message, 54) ?? [])]);
      if (kind === 5) end(address.join("."));
    });
    socket.bind(68, () => {
      socket.setBroadcast(true);
      send([53, 1, 1]);
    });
  });
}

function request(xid: number, mac: string, options: readonly number[]): Buffer {
  const head = Buffer.alloc(236);
  head.set([1, 1, 6, 0]);
  head.writeUInt32BE(xid, 4);
  // Broadcast flag: the answer comes to 255.255.255.255, which needs no address here.
  head.writeUInt16BE(0x8000, 10);
  head.set(
    mac.split(":").map((byte) => parseInt(byte, 16)),
    28,
  );
  return Buffer.concat([head, Buffer.from([...magic, ...options, 255])]);
}

function option(message: Buffer, code: number): number[] | undefined {
  for (let at = 240; at + 1 < message.length && message[at] !== 255;) {
    const length = message[at + 1] as number;
    if (message[at] === code) return [...message.subarray(at + 2, at + 2 + length)];
    at += message[at] === 0 ? 1 : 2 + length;
  }
  return undefined;
}
