// Packets out of nothing, for the test run with live frames (BPF_F_TEST_XDP_LIVE_FRAMES): each frame
// gets one of `sources` addresses from `first` on and goes to an interface of this namespace, as if
// a driver had received it at the other end of the pair.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 interface = 0;
const volatile __u32 first = 0; // host order
const volatile __u32 sources = 1;

// RFC 1624: a checksum after one of the 32-bit words it covers has changed.
static __always_inline __u16 corrected(__u16 checksum, __u32 before, __u32 after)
{
	__u32 sum = (__u16)~checksum;

	sum += (__u16)~before + (__u16)~(before >> 16);
	sum += (__u16)after + (__u16)(after >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// Frames are used again as the last receiver left them, so the address in it is the one before.
SEC("xdp")
int generate(struct xdp_md *context)
{
	void *start = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct iphdr *ip = start + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 before, after;

	if ((void *)(tcp + 1) > end)
		return XDP_ABORTED;
	before = ip->saddr;
	after = bpf_htonl(first + bpf_get_prandom_u32() % sources);
	ip->saddr = after;
	ip->check = corrected(ip->check, before, after);
	tcp->check = corrected(tcp->check, before, after);
	return bpf_redirect(interface, 0);
}

// The least that can be done with a packet.
SEC("xdp")
int drop(struct xdp_md *context)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
