// SPDX-License-Identifier: MIT
//
// The kernel's half of a ban, earlier: what nft/gatekeeper.nft drops in prerouting, this drops in the
// driver, before the kernel has made anything of the packet. nftables holds every ban as well, so
// whatever this program cannot read, or has no room for, it passes on to the rules there.
//
// Dropped is TCP to a guarded port from a banned source, and nothing else: no other port, no ICMP, no
// neighbour discovery, nothing from a link-local address.
//
//   ports                      two bits a port: its scope. Written by the loader, constant after that
//   ban4_S, ban6_S             banned addresses of scope S: IPv4 /32, IPv6 /64 (one customer)
//   ban4n_S, ban6n_S           banned networks of scope S: IPv4 /24, IPv6 /48
//   allow4, allow6             the operator's allow list; asked only of what is banned, and it wins
//   counters                   packets and octets, for each CPU
//
// A map of addresses holds every ban the guard may (ledger.MAX_BANS), one of networks as many as its set.
//
// A ban's value is when it ends, in ns of CLOCK_MONOTONIC. So bans run out by themselves, also when no
// process is there to take them out. The loader keeps pinned maps over a restart where type, sizes and
// flags are as here; a map whose *meaning* changes needs a new name.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_TAGS_MAX 2	 // QinQ
#define EXTENSIONS_MAX 6 // RFC 8200 4.1 recommends six in all; what has more is for nftables
#define FRAGMENT_OFFSET 0x1fff
#define FRAGMENT_OFFSET6 0xfff8

enum scope { UNGUARDED, AUTH, MX };

enum counter { DROPPED4_AUTH, DROPPED6_AUTH, DROPPED4_MX, DROPPED6_MX, SPARED, UNREADABLE, COUNTERS };

struct count {
	__u64 packets;
	__u64 octets; // from the IP header on, as nftables counts
};

// Keys are octets and no numbers, so that bpftool prints them in their order.
struct octets4 {
	__u8 octets[4];
};

struct octets8 {
	__u8 octets[8];
};

struct prefix4 {
	__u32 length;
	__u8 address[4];
};

struct prefix6 {
	__u32 length;
	__u8 address[16];
};

volatile const __u8 ports[65536 / 4] = {};

// Elements are allocated as bans come (the program itself never adds one): what is reserved from the
// start is 16 octets of hash table for each that may come.
#define BANS(name, key_type, size)                                                                 \
	struct {                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                           \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                      \
		__uint(max_entries, size);                                                                 \
		__type(key, key_type);                                                                     \
		__type(value, __u64);                                                                      \
	} name SEC(".maps")

#define ALLOWED(name, key_type)                                                                    \
	struct {                                                                                       \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                                       \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                      \
		__uint(max_entries, 65536);                                                                \
		__type(key, key_type);                                                                     \
		__type(value, __u8);                                                                       \
	} name SEC(".maps")

BANS(ban4_auth, struct octets4, 1000000);
BANS(ban4n_auth, struct octets4, 65536);
BANS(ban6_auth, struct octets8, 1000000);
BANS(ban6n_auth, struct octets8, 65536);
BANS(ban4_mx, struct octets4, 1000000);
BANS(ban4n_mx, struct octets4, 65536);
BANS(ban6_mx, struct octets8, 1000000);
BANS(ban6n_mx, struct octets8, 65536);
ALLOWED(allow4, struct prefix4);
ALLOWED(allow6, struct prefix6);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, struct count);
} counters SEC(".maps");

struct vlan_tag {
	__be16 control;
	__be16 inner_type;
};

struct tcp_ports {
	__be16 source;
	__be16 destination;
};

struct extension {
	__u8 next;
	__u8 length; // in 8 octets beyond the first 8; of AH in 4 octets beyond the first 8
	__be16 fragment;
	__u32 rest;
};

static __always_inline int counted(__u32 which, __u32 octets, int verdict)
{
	struct count *count = bpf_map_lookup_elem(&counters, &which);

	if (count) {
		count->packets += 1;
		count->octets += octets;
	}
	return verdict;
}

static __always_inline int unreadable(void)
{
	return counted(UNREADABLE, 0, XDP_PASS);
}

static __always_inline int held(void *bans, const void *key)
{
	__u64 *expires_ns = bpf_map_lookup_elem(bans, key);

	return expires_ns && *expires_ns > bpf_ktime_get_ns();
}

// The scope of the TCP port at `cursor`, or -1 where the packet ends before it.
static __always_inline int scope_of(void *cursor, void *end)
{
	struct tcp_ports *tcp = cursor;

	if ((void *)(tcp + 1) > end)
		return -1;
	__u32 port = bpf_ntohs(tcp->destination);
	return ports[port >> 2] >> (port & 3) * 2 & 3;
}

static __always_inline int judge4(__u32 source, int scope, __u32 octets)
{
	struct prefix4 single = {.length = 32};
	__u32 network = source & bpf_htonl(0xffffff00);
	__u32 dropped;

	__builtin_memcpy(single.address, &source, sizeof(single.address));
	if (scope == AUTH) {
		if (!held(&ban4_auth, &source) && !held(&ban4n_auth, &network))
			return XDP_PASS;
		dropped = DROPPED4_AUTH;
	} else {
		if (!held(&ban4_mx, &source) && !held(&ban4n_mx, &network))
			return XDP_PASS;
		dropped = DROPPED4_MX;
	}
	if (bpf_map_lookup_elem(&allow4, &single))
		return counted(SPARED, octets, XDP_PASS);
	return counted(dropped, octets, XDP_DROP);
}

static __always_inline int judge6(const struct in6_addr *source, int scope, __u32 octets)
{
	struct prefix6 single = {.length = 128};
	__u64 customer, network;
	__u32 dropped;

	__builtin_memcpy(single.address, source, sizeof(single.address));
	__builtin_memcpy(&customer, single.address, sizeof(customer));
	network = customer & bpf_cpu_to_be64(0xffffffffffff0000);
	if (scope == AUTH) {
		if (!held(&ban6_auth, &customer) && !held(&ban6n_auth, &network))
			return XDP_PASS;
		dropped = DROPPED6_AUTH;
	} else {
		if (!held(&ban6_mx, &customer) && !held(&ban6n_mx, &network))
			return XDP_PASS;
		dropped = DROPPED6_MX;
	}
	if (bpf_map_lookup_elem(&allow6, &single))
		return counted(SPARED, octets, XDP_PASS);
	return counted(dropped, octets, XDP_DROP);
}

static __always_inline int ipv4(void *cursor, void *end)
{
	struct iphdr *ip = cursor;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return unreadable();
	// Only the first fragment has ports; the others are of no use without it.
	if (ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(FRAGMENT_OFFSET))
		return XDP_PASS;
	int scope = scope_of(cursor + ip->ihl * 4, end);
	if (scope < 0)
		return unreadable();
	if (scope == UNGUARDED)
		return XDP_PASS;
	return judge4(ip->saddr, scope, bpf_ntohs(ip->tot_len));
}

static __always_inline int ipv6(void *cursor, void *end)
{
	struct ipv6hdr *ip = cursor;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return unreadable();
	// fe80::/10 is the link itself, routers included.
	if ((ip->saddr.s6_addr32[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))
		return XDP_PASS;
	__u8 next = ip->nexthdr;
	cursor = ip + 1;

#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		struct extension *extension = cursor;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
			next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
			break;
		if ((void *)(extension + 1) > end)
			return unreadable();
		if (next == IPPROTO_FRAGMENT) {
			if (extension->fragment & bpf_htons(FRAGMENT_OFFSET6))
				return XDP_PASS;
			cursor += sizeof(*extension);
		} else if (next == IPPROTO_AH) {
			cursor += (extension->length + 2) * 4;
		} else {
			cursor += (extension->length + 1) * 8;
		}
		next = extension->next;
	}
	if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
		next == IPPROTO_FRAGMENT || next == IPPROTO_AH)
		return unreadable();
	if (next != IPPROTO_TCP)
		return XDP_PASS;
	int scope = scope_of(cursor, end);
	if (scope < 0)
		return unreadable();
	if (scope == UNGUARDED)
		return XDP_PASS;
	return judge6(&ip->saddr, scope, bpf_ntohs(ip->payload_len) + sizeof(*ip));
}

// "frags": the headers are in the first buffer whatever the MTU; nothing else is read.
SEC("xdp.frags")
int gatekeeper_xdp(struct xdp_md *context)
{
	void *cursor = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = cursor;

	if ((void *)(ethernet + 1) > end)
		return unreadable();
	__be16 type = ethernet->h_proto;
	cursor = ethernet + 1;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		struct vlan_tag *tag = cursor;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return unreadable();
		type = tag->inner_type;
		cursor = tag + 1;
	}
	if (type == bpf_htons(ETH_P_IP))
		return ipv4(cursor, end);
	if (type == bpf_htons(ETH_P_IPV6))
		return ipv6(cursor, end);
	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD))
		return unreadable();
	return XDP_PASS;
}

// Some helpers are lent to GPL-compatible programs only; this one is MIT, or GPL for the kernel's ear.
char licence[] SEC("license") = "Dual MIT/GPL";
