package syscalls

import (
	"slices"

	"golang.org/x/sys/unix"
)

const (
	addressMemory = "the address and its family are in memory: the supervisor copies it once and acts on its own copy of the socket"
	connectedOnly = "only stream sockets exist, which ignore or refuse an address"
	internetOnly  = "every socket is of the network granted, or a connected Unix one, which keeps its peer"
	dgramAddress  = "each message of a Unix datagram socket may name another receiver, in memory that no filter sees; " +
		"a program without such sockets uses streams"
	sockTypeMask = 0xf // SOCK_TYPE_MASK; the rest of the register is flags
)

// The tests of socket(family, type, protocol).
var (
	unixFamily    = is("AF_UNIX", 0, unix.AF_UNIX)
	inetFamily    = is("AF_INET, AF_INET6", 0, unix.AF_INET, unix.AF_INET6)
	netlinkFamily = is("AF_NETLINK", 0, unix.AF_NETLINK)
	routeProtocol = is("NETLINK_ROUTE", 2, unix.NETLINK_ROUTE)

	connected = part("SOCK_STREAM, SOCK_SEQPACKET", 1, sockTypeMask, unix.SOCK_STREAM, unix.SOCK_SEQPACKET)
	datagram  = part("SOCK_DGRAM, SOCK_RAW", 1, sockTypeMask, unix.SOCK_DGRAM, unix.SOCK_RAW)
	inetTypes = part("SOCK_STREAM, SOCK_DGRAM", 1, sockTypeMask, unix.SOCK_STREAM, unix.SOCK_DGRAM)
	rawType   = part("SOCK_RAW", 1, sockTypeMask, unix.SOCK_RAW)
)

func unixDgrams() Cond { return or(scopedUnix, askedDgram) }

// unixRules are the rules for Unix sockets, of socket and socketpair alike.
func unixRules() []Rule {
	return []Rule{
		pass("connected first, and connect asks").where(unixFamily, connected),
		pass("Landlock decides each receiver, or each message asks").when(unixDgrams()).where(unixFamily, datagram),
		refuse(unix.EPROTONOSUPPORT, dgramAddress+"; SOCK_RAW is the same for Unix sockets").where(unixFamily, datagram),
		refuse(unix.ESOCKTNOSUPPORT, "no such type").where(unixFamily),
	}
}

func netRules() []Rule {
	return []Rule{
		pass("the host's network is granted").when(withNet).where(inetFamily, inetTypes),
		refuse(unix.EPERM, "raw packets forge others' traffic; ping works through SOCK_DGRAM").when(withNet).where(inetFamily, rawType),
		refuse(unix.ESOCKTNOSUPPORT, "SOCK_PACKET under AF_INET is a packet socket; other types load protocols nobody asked for").
			when(withNet).where(inetFamily),
		pass("interfaces and addresses belong to the network granted").when(withNet).where(netlinkFamily, routeProtocol, datagramNetlink),
		refuse(unix.EPROTONOSUPPORT, "other netlink protocols speak to audit, netfilter, device events").when(withNet).where(netlinkFamily),
		refuse(unix.EAFNOSUPPORT, "no such network here: the family was not granted, or is none that --net means"),
	}
}

// datagramNetlink: the two types of netlink sockets.
var datagramNetlink = part("SOCK_RAW, SOCK_DGRAM", 1, sockTypeMask, unix.SOCK_RAW, unix.SOCK_DGRAM)

// messageRules are the rules of calls whose address is inside a structure.
func messageRules() []Rule {
	return []Rule{
		ask(dgramAddress).when(askedDgram),
		pass("Landlock decides each receiver").when(scopedUnix),
		pass(connectedOnly + " (see socket); with the network granted, an internet address may be any").when(withNet),
		pass(connectedOnly + " (see socket)"),
	}
}

var socketGroups = func() []group {
	return []group{
		{"socket", "Makes a socket.", slices.Concat([]Rule{
			refuse(unix.EAFNOSUPPORT, "nobody could carry out its bind and connect, and no other socket may have a Unix address").
				when(noCopies).where(unixFamily),
		}, unixRules(), netRules())},
		{"socketpair", "Makes two connected sockets.", slices.Concat(unixRules(), []Rule{
			refuse(unix.EAFNOSUPPORT, "only Unix sockets come in pairs")})},
		{"bind connect", "Names a socket, or reaches another by name.", []Rule{
			pass(internetOnly).when(and(noCopies, withNet)),
			ask(addressMemory),
		}},
		{"sendto", "Sends, maybe to an address.", []Rule{
			pass(internetOnly).when(and(noCopies, withNet)),
			ask(addressMemory + "; with MSG_FASTOPEN it even connects").where(notNull("an address", 4)),
			pass("no address: the socket's peer was decided when it was connected"),
		}},
		{"sendmsg sendmmsg", "Sends, with an address and descriptors in a structure.", messageRules()},
		{"recvfrom recvmsg recvmmsg", "Receives.", []Rule{
			pass("descriptors come only from peers that connect or accept let through"),
		}},
		{"listen accept accept4 getsockname getpeername shutdown getsockopt setsockopt", "Uses a socket.", []Rule{
			pass("the socket's address was decided by bind"),
		}},
	}
}
