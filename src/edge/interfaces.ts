/** Network interfaces and this box's addresses, by rtnetlink. Needs no privilege. */
import netlink from "netlink";
import type { Addr } from "../core/net/address.js";
import { addrFromBytes } from "../core/net/address.js";

import { clientByMac } from "./clients.js";

export interface Link {
  readonly name: string;
  readonly index: number;
  /** Packets carry an Ethernet header (ARPHRD_ETHER, ARPHRD_LOOPBACK); else they begin with the network header (tun, wg, ppp). */
  readonly ethernet: boolean;
  readonly loopback: boolean;
  readonly up: boolean;
}

export interface LinkWatcher {
  close(): void;
}

/** One rtnetlink socket for all questions; close it when done. */
export class Interfaces {
  readonly #socket = open();

  async links(): Promise<Link[]> {
    const answer = await this.#socket.getLinks();
    return answer.flatMap((message) => {
      const name = message.attrs.ifname;
      if (name === undefined || message.data.index === undefined) return [];
      const type = String(message.data.type);
      return [
        {
          name,
          index: message.data.index,
          ethernet: type === "ETHER" || type === "LOOPBACK",
          loopback: type === "LOOPBACK",
          up: message.data.flags?.up === true,
        },
      ];
    });
  }

  /** Every address of this box, loopback and link-local ones too. */
  async addresses(): Promise<Addr[]> {
    const answer = await this.#socket.getAddresses();
    const out = new Set<Addr>();
    for (const message of answer) {
      // On a point-to-point link `address` is the peer's and `local` is ours.
      const bytes = message.attrs.local ?? message.attrs.address;
      if (bytes && (bytes.length === 4 || bytes.length === 16)) out.add(addrFromBytes(bytes, 0, bytes.length));
    }
    return [...out];
  }

  /** By client (`ClientBy.MAC`): the addresses that this box's neighbour table, which the kernel limits, has for it just now. */
  async neighbours(): Promise<Map<string, Addr[]>> {
    const out = new Map<string, Addr[]>();
    for (const { data, attrs } of await this.#socket.getNeighbors()) {
      const { dst, lladdr } = attrs;
      if (lladdr?.length !== 6 || !dst || (dst.length !== 4 && dst.length !== 16)) continue;
      const client = clientByMac(data.ifindex ?? 0, lladdr.readUInt32LE(0), lladdr.readUInt16LE(4));
      const addresses = out.get(client) ?? [];
      out.set(client, [...addresses, addrFromBytes(dst, 0, dst.length)]);
    }
    return out;
  }

  /**
   * Call back when some link appeared, went or changed, often several times for one change. What changed is not said: the caller
   * compares what it wants with what is.
   */
  watch(changed: () => void): LinkWatcher {
    const socket = open();
    socket.addMembership("LINK");
    socket.on("message", changed);
    socket.on("invalid", changed);
    // ENOBUFS: the kernel had more to say than the socket could hold, so something changed.
    socket.socket.on("error", changed);
    return {
      close() {
        closeSocket(socket);
      },
    };
  }

  close(): void {
    closeSocket(this.#socket);
  }
}

function open(): ReturnType<typeof netlink.createRtNetlink> {
  const socket = netlink.createRtNetlink();
  socket.socket.ref();
  return socket;
}

function closeSocket(socket: ReturnType<typeof netlink.createRtNetlink>): void {
  socket.removeAllListeners();
  socket.socket.close();
}
