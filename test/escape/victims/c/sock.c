/* Sockets that lead out, and what is sent through them: rows 15, 16, 17, 40, 47. */
#include "victim.h"

#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stddef.h>

static socklen_t unix_address(struct sockaddr_un *sa, const char *name)
{
	size_t n = strlen(name);

	memset(sa, 0, sizeof *sa);
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, name, n + 1);
	if (name[0] == '@')
		sa->sun_path[0] = 0;
	return offsetof(struct sockaddr_un, sun_path) + n + (name[0] != '@');
}

/* take receives a descriptor. That it came is what counts: a file that was opened outside is read without a question. */
static int take(int s)
{
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int))];
	} c;
	char b[8];
	struct iovec v = { b, sizeof b };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c };
	struct pollfd p = { s, POLLIN, 0 };
	int fd;

	if (poll(&p, 1, 700) != 1)
		return ETIMEDOUT;
	if (recvmsg(s, &h, MSG_DONTWAIT) < 0)
		return errno;
	if (h.msg_controllen < sizeof c.h || CMSG_FIRSTHDR(&h)->cmsg_type != SCM_RIGHTS)
		return ENOMSG;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof fd);
	close(fd);
	return 0;
}

/* sockets NAME...: sockets of the outside; each is connected to and written to every way there is. */
int cmd_sockets(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		static const struct { const char *name; int type; } types[] = {
			{ "stream", SOCK_STREAM }, { "dgram", SOCK_DGRAM }, { "seqpacket", SOCK_SEQPACKET },
		};
		const char *name = argv[i], *short_name = strrchr(name, '/') ? strrchr(name, '/') + 1 : "abstract";
		struct sockaddr_un sa;
		socklen_t len = unix_address(&sa, name);

		if (name[0] == '@')
			short_name = strrchr(name, '-') ? strrchr(name, '-') : name;
		for (int k = 0; k < 3; k++) {
			struct iovec v = { "hello", 5 };
			struct mmsghdr mm = { .msg_hdr = { .msg_name = &sa, .msg_namelen = len, .msg_iov = &v, .msg_iovlen = 1 } };
			int s = socket(AF_UNIX, types[k].type | SOCK_CLOEXEC, 0), r;
			/* Each name serves one type; the others say EPROTOTYPE. */
			char mark = strstr(short_name, types[k].name) ? ' ' : '-';
			const char *m = mark == '-' ? "-" : "";

			if (types[k].type == SOCK_DGRAM) {
				say(result(sendto(s, "hello", 5, 0, (void *)&sa, len)), "%s%s sendto %s", m, types[k].name, short_name);
				say(result(sendmsg(s, &mm.msg_hdr, 0)), "%s%s sendmsg %s", m, types[k].name, short_name);
				say(result(sendmmsg(s, &mm, 1, 0)), "%s%s sendmmsg %s", m, types[k].name, short_name);
			}
			r = connect(s, (void *)&sa, len);
			say(result(r), "%s%s connect %s", m, types[k].name, short_name);
			if (r == 0 && types[k].type != SOCK_DGRAM)
				say(take(s), "%s%s recvmsg %s", m, types[k].name, short_name);
			close(s);
		}
	}
	return 0;
}

/* inbound NAME...: names are bound and the outside, which tries all the time, is waited for. */
int cmd_inbound(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *short_name = name[0] == '@' ? "abstract" : strrchr(name, '/') + 1;
		struct sockaddr_un sa;
		socklen_t len = unix_address(&sa, name);
		int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c, r;
		struct pollfd p = { s, POLLIN, 0 };

		unlink(name);
		r = bind(s, (void *)&sa, len) < 0 || listen(s, 5) < 0 ? errno : 0;
		say(r, "=bind %s", short_name);
		if (r == 0)
			r = poll(&p, 1, 700) == 1 ? 0 : ETIMEDOUT;
		c = r == 0 ? accept4(s, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (r == 0 && c < 0)
			r = errno;
		say(r ? r : take(c), "accept %s", short_name);
		close(c), close(s);
	}
	return 0;
}

static const struct { const char *name; int family; } families[] = {
	{ "inet", AF_INET }, { "inet6", AF_INET6 }, { "netlink", AF_NETLINK }, { "packet", AF_PACKET },
	{ "vsock", AF_VSOCK }, { "alg", AF_ALG }, { "xdp", AF_XDP }, { "key", AF_KEY }, { "can", AF_CAN },
	{ "tipc", AF_TIPC }, { "rds", AF_RDS }, { "bluetooth", AF_BLUETOOTH }, { "smc", AF_SMC }, { "qipcrtr", AF_QIPCRTR },
	{ "ax25", AF_AX25 }, { "x25", AF_X25 }, { "appletalk", AF_APPLETALK }, { "ppp", AF_PPPOX }, { "llc", AF_LLC },
	{ "rxrpc", AF_RXRPC }, { "nfc", AF_NFC }, { "kcm", AF_KCM }, { "phonet", AF_PHONET }, { "ieee802154", AF_IEEE802154 },
	{ "mctp", 45 }, { "isdn", AF_ISDN }, { "caif", AF_CAIF }, { "iucv", AF_IUCV }, { "ib", 27 }, { "mpls", 28 },
};
static const struct { const char *name; int type; } socktypes[] = {
	{ "stream", SOCK_STREAM }, { "dgram", SOCK_DGRAM }, { "raw", SOCK_RAW }, { "rdm", SOCK_RDM },
	{ "seqpacket", SOCK_SEQPACKET }, { "dccp", SOCK_DCCP }, { "packet", SOCK_PACKET },
};
static const struct { const char *name; int proto; } protos[] = {
	{ "0", 0 }, { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "mptcp", 262 }, { "sctp", IPPROTO_SCTP },
	{ "dccp", IPPROTO_DCCP }, { "udplite", IPPROTO_UDPLITE }, { "icmp", IPPROTO_ICMP }, { "icmp6", IPPROTO_ICMPV6 },
	{ "raw", IPPROTO_RAW }, { "generic", 16 }, { "smc", 256 },
};

static socklen_t net_address(int family, struct sockaddr_storage *ss, int tcp, int udp, int type)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;
	struct sockaddr_vm *vm = (void *)ss;
	int port = type == SOCK_DGRAM ? udp : tcp;

	memset(ss, 0, sizeof *ss);
	ss->ss_family = family;
	switch (family) {
	case AF_INET:
		in->sin_port = htons(port), in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof *in;
	case AF_INET6:
		in6->sin6_port = htons(port), in6->sin6_addr = in6addr_loopback;
		return sizeof *in6;
	case AF_NETLINK:
		return 12;
	case AF_VSOCK:
		vm->svm_cid = VMADDR_CID_HOST, vm->svm_port = 1;
		return sizeof *vm;
	case AF_PACKET:
		return 20;
	}
	return sizeof *ss;
}

static int quiet(int r)
{
	/* What was sent into the world and was answered, with whatever, got out. */
	if (r >= 0)
		return 0;
	return errno == ECONNREFUSED || errno == EINPROGRESS || errno == ECONNRESET || errno == ETIMEDOUT ? 0 : errno;
}

/* net TCP-PORT UDP-PORT: every family, type and protocol by every call that reaches out. */
int cmd_net(int argc, char **argv)
{
	int tcp = atoi(argv[1]), udp = atoi(argv[2]);

	(void)argc;
	for (unsigned f = 0; f < sizeof families / sizeof *families; f++)
		for (unsigned t = 0; t < sizeof socktypes / sizeof *socktypes; t++)
			for (unsigned p = 0; p < sizeof protos / sizeof *protos; p++) {
				struct sockaddr_storage ss;
				int family = families[f].family, type = socktypes[t].type;
				socklen_t len = net_address(family, &ss, tcp, udp, type);
				struct timeval tv = { 0, 300000 };
				char cell[64];
				int s = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protos[p].proto), one = 1;
				struct iovec v = { "hello", 5 };
				struct mmsghdr mm = { .msg_hdr = { .msg_name = &ss, .msg_namelen = len, .msg_iov = &v, .msg_iovlen = 1 } };

				if (family == AF_INET || family == AF_INET6) {
					if (p == 7 && family == AF_INET6)
						continue;
				} else if (p > 0 && protos[p].proto != 16) {
					if (s >= 0)
						close(s);
					continue;
				}
				snprintf(cell, sizeof cell, "%s/%s/%s", families[f].name, socktypes[t].name, protos[p].name);
				if (s < 0) {
					say(errno, "cell %s socket", cell);
					continue;
				}
				if (family != AF_INET && family != AF_INET6)
					say(0, "cell %s socket", cell);
				setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
				setsockopt(s, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
				say(quiet(sendto(s, "hello", 5, MSG_DONTWAIT | MSG_NOSIGNAL, (void *)&ss, len)), "cell %s sendto", cell);
				say(quiet(sendmsg(s, &mm.msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL)), "cell %s sendmsg", cell);
				say(quiet(sendmmsg(s, &mm, 1, MSG_DONTWAIT | MSG_NOSIGNAL)), "cell %s sendmmsg", cell);
				close(s);
				s = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protos[p].proto);
				say(quiet(connect(s, (void *)&ss, len)), "cell %s connect", cell);
				close(s);
				s = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protos[p].proto);
				say(quiet(sendto(s, "hello", 5, MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, (void *)&ss, len)), "cell %s fastopen", cell);
				close(s);
			}
	return 0;
}

/* fill_window leaves no room in a connection: what is sent after lies where it is until somebody reads. */
static ssize_t fill_window(int s)
{
	static char text[300000];
	int big = 8 << 20;

	memset(text, 'x', sizeof text);
	setsockopt(s, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	return send(s, text, sizeof text, MSG_DONTWAIT);
}

/* count_of reads n bytes and counts those that are c, after the first skip. */
static ssize_t count_of(int s, char c, ssize_t skip, ssize_t n)
{
	static char text[65536];
	ssize_t at = 0, found = 0, got;

	while (at < n && (got = recv(s, text, sizeof text, 0)) > 0)
		for (ssize_t i = 0; i < got; i++, at++)
			found += at >= skip && text[i] == c;
	return found;
}

/*
 * later: what is sent without a copy is read by the kernel when there is room for it. By
 * then a helper that sent it has other things in that memory, its own and other callers'.
 */
int cmd_later(int argc, char **argv)
{
	static char ours[200000], others[200000];
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int dgram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), small = 4096, one = 1, peer;
	ssize_t before, sent = 0;

	(void)argc, (void)argv;
	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	if (bind(l, (void *)&sa, len) < 0 || listen(l, 1) < 0 || getsockname(l, (void *)&sa, &len) < 0 ||
	    setsockopt(s, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) < 0 || connect(s, (void *)&sa, len) < 0 ||
	    (peer = accept(l, NULL, NULL)) < 0 || (before = fill_window(s)) < 0)
		die("connection");
	memset(ours, 'A', sizeof ours), memset(others, 'B', sizeof others);
	for (int i = 0; i < 3; i++) {
		ssize_t n = sendto(s, ours, sizeof ours, MSG_ZEROCOPY | MSG_DONTWAIT, (void *)&sa, len);

		if (n < 0 && errno == ENOBUFS) /* which it says of too much that waits: copy */
			n = sendto(s, ours, sizeof ours, MSG_DONTWAIT, (void *)&sa, len);
		sent += n > 0 ? n : 0;
	}
	for (int i = 0; i < 600; i++) /* too long: copied, and refused */
		sendto(dgram, others, sizeof others - i * 100, 0, (void *)&sa, len);
	say(ok(sent > 0 && count_of(peer, 'A', before, before + sent) == sent), "+sent-later");
	return 0;
}
