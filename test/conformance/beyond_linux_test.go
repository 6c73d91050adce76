package conformance

import "golang.org/x/sys/unix"

// beyondCases are of calls about the process itself, or about what it holds, that reach
// what is the machine's or somebody else's.
func beyondCases() []Case {
	list := append(coreCases(),
		inMode("clone with CLONE_PARENT", capMode, func() error {
			_, err := start(unix.CLONE_PARENT, 0, script{})
			return err
		}),
		Case{Name: "capability-mode/clone with CLONE_PARENT, outside of it", In: bare, Want: success, Make: func(*T) func() error {
			return func() error { _, err := start(unix.CLONE_PARENT, 0, script{}); return err }
		}},
	)
	return append(append(list, optionCases()...), controlCases()...)
}

// coreCases are of core files, which are made by a global name.
func coreCases() []Case {
	most := at(&unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	limits := func() error {
		var l unix.Rlimit
		err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &l)
		return all(err, same("none are made", l.Cur <= 1 && l.Max <= 1, true))
	}
	own := func(name string, w Want, call func() error) Case {
		return Case{Name: "capability-mode/" + name, In: entered, Want: w, Make: func(*T) func() error {
			stop("raise the limit", raised())
			return call
		}}
	}
	return []Case{
		own("no core file", success, limits),
		own("no core file, of a child either", success, func() error {
			var l unix.Rlimit
			err := forked(call6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, 0, at(&l)))
			return all(err, limits())
		}),
		inModeRaw("setrlimit of core files", unix.SYS_SETRLIMIT, unix.RLIMIT_CORE, most),
		inModeRaw("prlimit64 of core files", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, most, 0),
		inModeRaw("prlimit64 of core files, by number", unix.SYS_PRLIMIT64, uintptr(unix.Getpid()), 1<<32|unix.RLIMIT_CORE, most, 0),
	}
}

// raised is whether the limit of core files could be raised to the most it can be.
func raised() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return unix.Setrlimit(unix.RLIMIT_CORE, &l)
}

// optionCases are of options of sockets that are the packet filter's, or the router's.
func optionCases() []Case {
	var list []Case
	for _, o := range []struct {
		name               string
		family, level, opt int
	}{
		{"IPv4's packet filter", unix.AF_INET, unix.SOL_IP, 64}, {"its counters", unix.AF_INET, unix.SOL_IP, 65},
		{"its modules", unix.AF_INET, unix.SOL_IP, 67}, {"ARP's packet filter", unix.AF_INET, unix.SOL_IP, 96},
		{"bridges' packet filter", unix.AF_INET, unix.SOL_IP, 128}, {"multicast routes", unix.AF_INET, unix.SOL_IP, 200},
		{"virtual servers", unix.AF_INET, unix.SOL_IP, 1152}, {"IPv6's packet filter", unix.AF_INET6, unix.SOL_IPV6, 64},
		{"IPv6's modules", unix.AF_INET6, unix.SOL_IPV6, 69}, {"IPv6's multicast routes", unix.AF_INET6, unix.SOL_IPV6, 200},
		{"IPv4's packet filter, by IPv6", unix.AF_INET6, unix.SOL_IP, 64},
	} {
		ask := func(nr uintptr) func() error {
			return func() error {
				s := need(unix.Socket(o.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
				return try(nr, uintptr(s), uintptr(o.level), uintptr(o.opt), 0, 0)
			}
		}
		list = append(list, inMode("getsockopt: "+o.name, capMode, ask(unix.SYS_GETSOCKOPT)), inMode("setsockopt: "+o.name, capMode, ask(unix.SYS_SETSOCKOPT)))
	}
	return append(list, inMode("socket options", success, func() error {
		four := need(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
		six := need(unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
		return all(unix.SetsockoptInt(four, unix.SOL_IP, unix.IP_MULTICAST_ALL, 0), unix.SetsockoptInt(four, unix.SOL_IP, unix.IP_TOS, 8),
			unix.SetsockoptInt(six, unix.SOL_IPV6, unix.IPV6_TCLASS, 8), unix.SetsockoptInt(six, unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1),
			unix.SetsockoptInt(six, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1))
	}), inMode("where a connection went before it was turned", is(unix.ENOPROTOOPT, unix.ENOENT, unix.EINVAL), func() error {
		const originalDestination = 80 // SO_ORIGINAL_DST
		s := need(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		return try(unix.SYS_GETSOCKOPT, uintptr(s), unix.SOL_IP, originalDestination, at(&unix.RawSockaddrInet4{}), at(&[1]uint32{16}))
	}))
}

// controlCases are of ioctls that open namespaces, tell of processes, or look up names
// by numbers: whatever they are tried on.
func controlCases() []Case {
	var list []Case
	commands := map[string]uintptr{
		"PIDFD_GET_CGROUP_NAMESPACE": 0xff01, "PIDFD_GET_MNT_NAMESPACE": 0xff03, "PIDFD_GET_UTS_NAMESPACE": 0xff0a,
		"what comes after PIDFD_GET_INFO": 0xff0c, "NS_GET_USERNS": 0xb701, "NS_GET_PARENT": 0xb702,
		"NS_GET_PID_IN_PIDNS": 0x8004b708, "NS_MNT_GET_NEXT": 0x8010b70b, "BTRFS_IOC_TREE_SEARCH": 0xd0009411,
		"BTRFS_IOC_INO_LOOKUP": 0xd0009412, "BTRFS_IOC_SNAP_DESTROY, upper half set": 1<<32 | 0x5000940f,
	}
	for _, name := range sortedKeys(commands) {
		list = append(list, Case{Name: "capability-mode/ioctl: " + name, In: entered, Want: capMode, Make: func(t *T) func() error {
			fd := t.file()
			return func() error { return try(unix.SYS_IOCTL, uintptr(fd), commands[name], 0) }
		}})
	}
	held := func(name string, w Want, make func(t *T) (fd, about int), command uintptr) Case {
		return Case{Name: "capability-mode/ioctl: " + name, In: entered, Want: w, Make: func(t *T) func() error {
			fd, about := make(t)
			return func() error { return try(unix.SYS_IOCTL, uintptr(fd), command, uintptr(about)) }
		}}
	}
	// What the kernel or the file system says that knows none of it.
	unknown := is(unix.ENOTTY, unix.EINVAL, unix.EOPNOTSUPP)
	const getInfo = 0xc040ff0b // PIDFD_GET_INFO
	return append(list,
		held("PIDFD_GET_INFO", success.or(unknown), func(*T) (int, int) {
			return need(unix.PidfdOpen(unix.Getpid(), 0)), int(at(&[64]byte{}))
		}, getInfo),
		held("FICLONE", success.or(unknown), func(t *T) (int, int) { return t.file(), t.file() }, unix.FICLONE),
	)
}
