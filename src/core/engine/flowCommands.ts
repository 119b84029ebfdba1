/** Commands about a flow that are no verdict on a packet. */
import { tcpResetToServer } from "../wire/build.js";
import { TcpFlag } from "../wire/tcp.js";
import type { CommandList } from "./commandList.js";
import type { TcpPacket } from "./flowState.js";
import { fillFlowKey, type ClientPacket, type Why } from "./voice.js";

/** What the kernel shall do with this packet's flow from now on. */
export function putFlow(
  packet: ClientPacket,
  why: Why,
  verdict: "pending" | "allow" | "deny",
  flags: number,
  judgedStart: number,
  judgedEnd: number,
  out: CommandList,
): void {
  const { reason, rule = 0 } = why;
  fillFlowKey(packet, out.flowPut(verdict, reason, rule, flags, judgedStart, judgedEnd));
}

/** The server has a connection by now: close it, as the client would have. */
export function resetServer(packet: TcpPacket, out: CommandList): void {
  if (packet.policy.spec.reject !== "rst" || (packet.tcp.flags & TcpFlag.SYN) !== 0) return;
  out.push({ type: "send", bytes: tcpResetToServer(packet.bytes, packet.ip, packet.tcp) });
}
