/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The fast path. Ten programs, one set of maps:
 *
 *   classify   TC ingress on each LAN interface: allows and pends by a mark, drops, or marks for user space
 *   output     socket filter for iptables (-m bpf). OUTPUT: 1 = send this box's own packet to user space; POSTROUTING: 1 = no gate, drop it
 *   gate       TC egress on eface: the last word; what carries no verdict is judged here or dropped
 *   watch      TC egress on LAN interfaces, TC ingress on eface for this box's own traffic: replies
 *   back       TC ingress on eface, for LANs: replies of flows that skip netfilter
 *   past       socket filter for iptables PREROUTING (-m bpf): 1 = a packet of such a flow, which conntrack must not take for a new one
 *   answer     socket filter for iptables FORWARD (-m bpf): 1 = a DNS answer that teaches nothing new, which user space need not see
 *   read_flows run by user space: the stored flows of a batch of packets in one system call
 *   carry_flows, switch_policy run by user space: a change of the policy
 *
 * A TC program that lets a packet go returns TC_ACT_UNSPEC (= TCX_NEXT), never TC_ACT_OK, so that other people's filters on the same interface
 * still see it.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include "decide.h"
#include "dns.h"
#include "flow_reads.h"
#include "policy_change.h"
#include "maps.h"
#include "parse.h"
#include "reply.h"
#include "report.h"
#include "route.h"

#define PASS TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

#define PACKET_OTHERHOST 3 /* linux/if_packet.h */
#define VLAN_ID_MASK 0x0fff

#define DHCP4_SERVER 67
#define DHCP4_CLIENT 68
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547

static __always_inline void set_mark(struct __sk_buff *skb, const struct l7_config *cfg, __u32 verdict)
{
	__u32 mark = (skb->mark & ~cfg->mark_mask) | (verdict << (cfg->mark_shift & 31) & cfg->mark_mask);

	if (mark != skb->mark)
		skb->mark = mark;
}

static __always_inline __u32 get_mark(struct __sk_buff *skb, const struct l7_config *cfg)
{
	return (skb->mark & cfg->mark_mask) >> (cfg->mark_shift & 31);
}

static __always_inline bool is_ip(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6);
}

/* RFC 791, 8200: what the frame says it carries and what the header says it is must agree. ip_rcv drops it else. */
static __always_inline void check_protocol(struct __sk_buff *skb, struct packet *p)
{
	if (p->family && skb->protocol != (p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		reject(p, L7_REASON_MALFORMED);
}

/* A packet without a cached verdict. */
static __always_inline void judge_anew(struct __sk_buff *skb, const struct l7_config *cfg, struct packet *p, struct decision *d)
{
	if (p->family && (is_multicast(p) || is_link_local6(p))) {
		d->reason = L7_REASON_NOT_EGRESS;
		return;
	}
	decide_anew(skb, p, d);
	/*
	 * Before anything is dropped, sent up or remembered: is it egress? A flow was asked once, at its start. A mark ALLOW does no harm on
	 * a packet that isn't. Without addresses (family 0) there is nothing to ask for, and no router would forward it.
	 */
	if ((d->verdict != L7_VERDICT_ALLOW || d->new_flow) && p->family) {
		__u32 out = leaves_by_egress(skb, p);

		if (!out) {
			say(d, L7_VERDICT_NONE, L7_REASON_NOT_EGRESS, 0);
			return;
		}
		if (d->verdict == L7_VERDICT_INSPECT && p->key.proto == IPPROTO_UDP && p->key.dport == bpf_htons(DNS_PORT) &&
		    judge_question(skb, p, d, out)) {
			emit(skb, p, d, cfg->events_per_second);
			return;
		}
	}
	record(skb, p, d, cfg);
}

SEC("tc")
int classify(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct packet p = { .ifindex = ifindex };
	const struct l7_config *cfg = get_config();
	struct l7_interface iface;
	struct decision d = {};
	struct l7_flow *flow;
	__u64 now;
	bool known;

	if (!get_interface(ifindex, &iface) || !cfg)
		return PASS;
	/*
	 * Not this interface's: it belongs to the VLAN device of that number, where it comes by again. And not for this box at all: seen
	 * because somebody listens in promiscuous mode, or bridged. (Priority tags, number 0, are this interface's.)
	 */
	if ((skb->vlan_present && (skb->vlan_tci & VLAN_ID_MASK)) || skb->pkt_type == PACKET_OTHERHOST)
		goto not_ours;
	p.client_by = iface.client_by;
	if (!is_ip(skb)) {
		p.wire_len = skb->len;
		d.reason = L7_REASON_NOT_EGRESS; // ARP, LLDP, EAPOL, ...
		goto decided;
	}
	parse(skb, L7_HOOK_CLASSIFY, iface.l3 ? 0 : ETH_HLEN, &p);
	check_protocol(skb, &p);
	if (!policy_of(&iface, ifindex, &p, &known)) {
		/*
		 * Not governed. Marked all the same: behind NAT the gate can't tell such a client from one whose packets went around this
		 * program, and it drops those.
		 */
		count(L7_REASON_NOT_GOVERNED, p.wire_len);
		set_mark(skb, cfg, L7_VERDICT_ALLOW);
		return PASS;
	}
	p.generation = read_generation(cfg);
	flow = live_flow(cfg, &p, &now);
	/*
	 * What nearly every packet is, on a way of its own: what is counted and marked is constant here, while a decision that comes from memory
	 * costs another tenth.
	 */
	if (flow && is_settled(skb, flow, &p)) {
		touch(flow, &p, now);
		count(L7_REASON_ALLOW_FLOW, p.wire_len);
		set_mark(skb, cfg, L7_VERDICT_ALLOW);
		if ((flow->flags & L7_FLOW_FAST) && cfg->fast && !skb->vlan_present)
			return skip_out(skb, &p);
		return PASS;
	}
	if (flow) {
		decide_by_flow(skb, flow, now, &p, &d);
		if (d.by_hello)
			record(skb, &p, &d, cfg);
	} else {
		judge_anew(skb, cfg, &p, &d);
	}
decided:
	count(d.reason, p.wire_len);
	if (d.verdict == L7_VERDICT_DENY) {
		/* The reason says why; each is explained where decide.h, flow.h and parse.h give it. */
		emit(skb, &p, &d, cfg->events_per_second);
		return DROP;
	}
	/* NONE clears our bits: this is the first program on the path, so nothing of ours can have set them. */
	set_mark(skb, cfg, d.verdict);
	if (d.fast && cfg->fast && !skb->vlan_present && (d.verdict == L7_VERDICT_ALLOW || d.verdict == L7_VERDICT_PENDING))
		return skip_out(skb, &p);
	return PASS;
not_ours:
	set_mark(skb, cfg, L7_VERDICT_NONE);
	return PASS;
}

/*
 * What this box's kernel itself must be able to send, or the link breaks: groups and broadcast, link-local addresses, neighbour
 * discovery (RFC 4861: hop limit 255 proves that it stays on the link), and its own DHCP lease's renewal (RFC 2131 4.4.5, RFC 8415 18.2.4).
 */
static __always_inline bool is_own_upkeep(const struct packet *p)
{
	if (is_multicast(p) || is_link_local6(p))
		return true;
	if (p->fragment || p->error)
		return false;
	if (p->family == 6 && p->key.proto == IPPROTO_ICMPV6)
		return p->hop_limit == 255 && p->icmp >= ICMP6_ROUTER_SOLICITATION && p->icmp <= ICMP6_REDIRECT;
	if (p->key.proto != IPPROTO_UDP)
		return false;
	if (p->family == 4)
		return p->key.sport == bpf_htons(DHCP4_CLIENT) && p->key.dport == bpf_htons(DHCP4_SERVER);
	return p->key.sport == bpf_htons(DHCP6_CLIENT) && p->key.dport == bpf_htons(DHCP6_SERVER);
}

/*
 * Asked by the rules for this box's own packets, which have no link-layer header there, in two places. It counts and remembers nothing.
 *
 * OUTPUT: must user space see it? All else passes and meets the gate, which counts, remembers and drops.
 *
 * POSTROUTING, where the mark INSPECT says so (the rules lend it for the question) and the way out is known: does it leave by a device that has
 * no gate, and would the gate drop it? A gate goes with its device, and one that is made anew under the name has none until somebody attaches
 * it: in a moment, or after a kill -9 at the next start. `egress` knows devices by their number, so it doesn't know that one. Not decided in
 * OUTPUT: a DNAT rule may yet take the packet elsewhere. Not by user space: then every denial would cost its time, also while the gate is there.
 */
SEC("socket")
int output(struct __sk_buff *skb)
{
	struct packet p = {};
	const struct l7_config *cfg = get_config();
	struct l7_interface iface;
	struct decision d = {};
	__u32 out = skb->ifindex;
	bool leaves, known;

	if (!get_interface(0, &iface) || !cfg)
		return 0;
	leaves = get_mark(skb, cfg) == L7_VERDICT_INSPECT;
	/* The gate has the last word; and what is forwarded is not this box's own, as for the gate. */
	if (leaves && (bpf_map_lookup_elem(&egress, &out) || skb->ingress_ifindex))
		return 0;
	p.client_by = iface.client_by;
	parse(skb, L7_HOOK_OUTPUT, 0, &p);
	/* Not readable: the gate would say malformed. */
	if (!p.family)
		return leaves;
	if (is_own_upkeep(&p) || !policy_of(&iface, 0, &p, &known))
		return 0;
	decide(skb, cfg, &p, &d);
	if (d.verdict == L7_VERDICT_INSPECT)
		return !leaves || !cfg->fail_open;
	return leaves && d.verdict == L7_VERDICT_DENY;
}

/*
 * Length of the link-layer header of an skb whose interface isn't described in `interfaces`: of 0 and Ethernet's, the one at which the
 * network header's bytes are found.
 */
static __always_inline __u32 network_offset(struct __sk_buff *skb)
{
	__u32 truth[5], guess[5];

	if (bpf_skb_load_bytes_relative(skb, 0, truth, sizeof(truth), BPF_HDR_START_NET) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, guess, sizeof(guess)))
		return skb->len < ETH_HLEN ? 0 : ETH_HLEN;
#pragma unroll
	for (int i = 0; i < 5; i++)
		if (truth[i] != guess[i])
			return 0;
	return ETH_HLEN;
}

/* A packet at a way out whose mark doesn't let it pass. */
static __always_inline int judge_at_gate(struct __sk_buff *skb, const struct l7_config *cfg, __u32 mark)
{
	struct packet p = { .ifindex = skb->ingress_ifindex };
	struct l7_interface iface;
	struct decision d = {};
	bool known;

	if (!get_interface(p.ifindex, &iface))
		return PASS;
	/* Neighbours are found without the firewall's leave. */
	if (!is_ip(skb))
		return PASS;
	p.client_by = iface.client_by;
	parse(skb, L7_HOOK_GATE, network_offset(skb), &p);
	check_protocol(skb, &p);
	if (p.ifindex == 0 && p.family && is_own_upkeep(&p)) {
		count(L7_REASON_NOT_EGRESS, p.wire_len);
		return PASS;
	}
	if (!policy_of(&iface, p.ifindex, &p, &known) && p.ifindex == 0) {
		count(L7_REASON_NOT_GOVERNED, p.wire_len);
		return PASS;
	}
	if (mark == L7_VERDICT_INSPECT) {
		/* User space was to judge it and it came here without a verdict: the rules that hand it over are gone. */
		say(&d, L7_VERDICT_INSPECT, L7_REASON_NOT_INSPECTED, 0);
	} else if (p.ifindex && p.family && is_multicast(&p)) {
		/* Multicast routing would carry it out past every rule that speaks of addresses. */
		say(&d, L7_VERDICT_DENY, L7_REASON_MULTICAST_EGRESS, 0);
	} else if (p.ifindex && iface.has_sources && !known) {
		/* It went around `classify` (a route by mark, a DNAT rule, a mark that somebody cleared), and NAT may have changed its source. */
		say(&d, L7_VERDICT_INSPECT, L7_REASON_NOT_INSPECTED, 0);
	} else {
		decide(skb, cfg, &p, &d);
		if (d.verdict == L7_VERDICT_INSPECT)
			d.reason = p.fragment ? L7_REASON_FRAGMENT : L7_REASON_NOT_INSPECTED;
		else
			record(skb, &p, &d, cfg);
	}
	if (d.verdict == L7_VERDICT_INSPECT) {
		if (cfg->fail_open) {
			count(L7_REASON_ALLOW_FAIL_OPEN, p.wire_len);
			return PASS;
		}
		/* Undecided at the last gate is denied: flushing the rules closes the firewall, it never opens it. */
		d.verdict = L7_VERDICT_DENY;
	}
	count(d.reason, p.wire_len);
	if (d.verdict == L7_VERDICT_DENY) {
		emit(skb, &p, &d, cfg->events_per_second);
		return DROP;
	}
	return PASS;
}

SEC("tc")
int gate(struct __sk_buff *skb)
{
	const struct l7_config *cfg = get_config();
	__u32 mark;

	if (!cfg)
		return PASS;
	/* First, for it is all that most packets are asked. */
	mark = get_mark(skb, cfg);
	if (mark == L7_VERDICT_ALLOW || mark == L7_VERDICT_PENDING)
		return PASS;
	return judge_at_gate(skb, cfg, mark);
}

/* Replies, after NAT is undone. Never drops, never marks. */
SEC("tc")
int watch(struct __sk_buff *skb)
{
	struct packet p = { .ifindex = skb->ifindex };
	struct l7_interface lan = {}, own;
	bool is_lan = get_interface(p.ifindex, &lan);

	if (!is_ip(skb))
		return PASS;
	if (!is_lan && !bpf_map_lookup_elem(&egress, &p.ifindex))
		return PASS;
	parse(skb, L7_HOOK_GATE, is_lan ? (lan.l3 ? 0 : ETH_HLEN) : network_offset(skb), &p);
	if (!p.family || p.error || p.fragment)
		return PASS;
	turn_around(&p);
	if (is_lan && count_reply(skb, &lan, p.ifindex, &p))
		return PASS;
	/* One interface may be LAN and eface (a one-armed router that also governs itself). */
	if ((!is_lan || bpf_map_lookup_elem(&egress, &p.ifindex)) && get_interface(0, &own))
		count_reply(skb, &own, 0, &p);
	return PASS;
}

/* Whatever isn't sure goes the long way. `watch` sees all of it at the LAN's egress. */
SEC("tc")
int back(struct __sk_buff *skb)
{
	struct packet p = { .ifindex = skb->ifindex };
	const struct l7_config *cfg = get_config();
	const struct way *way;

	if (!cfg || !cfg->fast || !is_ip(skb) || skb->vlan_present || skb->pkt_type == PACKET_OTHERHOST)
		return PASS;
	parse(skb, L7_HOOK_GATE, ETH_HLEN, &p);
	check_protocol(skb, &p);
	if (!p.family || p.error || p.fragment || (!is_tcp(&p) && p.key.proto != IPPROTO_UDP) || is_multicast(&p))
		return PASS;
	way = find_way(skb, &p);
	if (!way || !answers_fast_flow(cfg, &p, way->out))
		return PASS;
	return send_on(skb, &p, way);
}

/*
 * Called for what climbs (the mark says so). conntrack has seen nothing of a flow that skips it; two of its packets that wait in the queue would
 * be two new connections to it, of which it drops one, and a reply of the server the first packet of one from outside.
 */
SEC("socket")
int past(struct __sk_buff *skb)
{
	struct packet p = { .ifindex = skb->ifindex };
	const struct l7_config *cfg = get_config();
	const struct l7_flow *flow;
	struct l7_interface iface;
	bool known;

	if (!cfg || !cfg->fast || !get_interface(p.ifindex, &iface))
		return 0;
	parse(skb, L7_HOOK_OUTPUT, 0, &p);
	if (!p.has_flow || p.error || !policy_of(&iface, p.ifindex, &p, &known))
		return 0;
	flow = find_flow(&p);
	/* Also one that the policy of a moment ago allowed: conntrack hasn't seen it either. */
	return flow && (flow->generation == cfg->generation || flow->generation == cfg->previous) && (flow->flags & L7_FLOW_FAST);
}

/*
 * Called for what comes in by eface from port 53 on its way to a LAN. Whatever isn't sure goes to the queue, where TypeScript judges it.
 */
SEC("socket")
int answer(struct __sk_buff *skb)
{
	struct packet p = { .ifindex = skb->ifindex };

	parse(skb, L7_HOOK_OUTPUT, 0, &p);
	if (!p.family || p.error || p.fragment || p.key.proto != IPPROTO_UDP || p.key.sport != bpf_htons(DNS_PORT))
		return 0;
	if (!confirm_answer(skb, &p))
		return 0;
	count(L7_REASON_ALLOW_ANSWER, p.wire_len);
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
