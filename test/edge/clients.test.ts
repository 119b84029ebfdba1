/** Clients and addresses that came lately are kept: whatever came before, the answer is that of the bytes. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { ClientBy } from "../../src/core/abi.generated.js";
import { addrFromBytes } from "../../src/core/net/address.js";
import { clientOf } from "../../src/edge/clients.js";
import { Random } from "../core/wire/bytes.js";

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** The 16 bytes as `enum l7_client_by` says. */
function expected(by: number, ifindex: number, packet: Buffer, mac: Buffer): string {
  const out = Buffer.alloc(16);
  if (by === ClientBy.MAC || by === ClientBy.INTERFACE) out.writeUInt32LE(ifindex);
  if (by === ClientBy.MAC) mac.copy(out, 6);
  if (by === ClientBy.ADDRESS && packet[0]! >> 4 === 4) {
    out.writeUInt16BE(0xffff, 10);
    packet.copy(out, 12, 12, 16);
  }
  return by === ClientBy.ADDRESS && packet[0]! >> 4 === 6 ? latin1(packet.subarray(8, 24)) : latin1(out);
}

it("a client is who the bytes say", () => {
  const random = new Random(5);
  const byte = () => [0, 0, 1, 0xff, random.below(256)][random.below(5)]!;
  const kinds = [ClientBy.MAC, ClientBy.INTERFACE, ClientBy.ADDRESS];
  for (let i = 0; i < 30_000; i++) {
    const by = kinds[random.below(3)]!;
    const packet = Buffer.from(Array.from({ length: 40 }, byte));
    packet[0] = random.below(2) === 0 ? 0x45 : 0x60;
    const mac = Buffer.from(Array.from({ length: 6 }, byte));
    const ifindex = [0, 1, 2, random.below(2 ** 32)][random.below(4)]!;
    // As in `Meta`: what stands above the MAC's last two bytes is of no account.
    const mac1 = (mac.readUInt16LE(4) | (byte() << 16)) >>> 0;
    const client = clientOf(by, ifindex, packet, true, mac.readUInt32LE(0), mac1);
    assert.equal(client, expected(by, ifindex, packet, mac));
  }
});

it("an address is what the bytes say", () => {
  const random = new Random(6);
  for (let i = 0; i < 30_000; i++) {
    const few = Array.from({ length: 16 }, () => (random.below(3) === 0 ? random.below(256) : 0));
    const bytes = Uint8Array.from([9, ...few]);
    const length = random.below(2) === 0 ? 4 : 16;
    assert.equal(addrFromBytes(bytes, 1, length), latin1(bytes.subarray(1, 1 + length)));
  }
});
