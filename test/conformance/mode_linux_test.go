package conformance

import (
	"maps"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func mountNothing() error { return unix.Mount("none", "/mnt", "tmpfs", 0, "") }

// inModeRaw is inMode for a call by its number.
func inModeRaw(name string, nr uintptr, args ...uintptr) Case {
	return inMode(name, capMode, func() error { return try(nr, args...) })
}

// pathCalls name files by paths alone, so that they take no right, and are never
// permitted in capability mode.
func pathCalls() map[string]func(path, other uintptr) error {
	argv := func() uintptr { return at(&[2]uintptr{text("program"), 0}) }
	m := map[string]func(path, other uintptr) error{
		"truncate": func(p, _ uintptr) error { return try(unix.SYS_TRUNCATE, p, 0) },
		"statfs":   func(p, _ uintptr) error { return try(unix.SYS_STATFS, p, at(&unix.Statfs_t{})) },
		"execve":   func(p, _ uintptr) error { return try(unix.SYS_EXECVE, p, argv(), argv()) },
		"chdir":    func(p, _ uintptr) error { return try(unix.SYS_CHDIR, p) },
	}
	for _, link := range []string{"", "l"} {
		m[link+"getxattr"] = func(p, _ uintptr) error {
			return try(map[string]uintptr{"": unix.SYS_GETXATTR, "l": unix.SYS_LGETXATTR}[link], p, text("user.x"), at(&[9]byte{}), 9)
		}
		m[link+"setxattr"] = func(p, _ uintptr) error {
			return try(map[string]uintptr{"": unix.SYS_SETXATTR, "l": unix.SYS_LSETXATTR}[link], p, text("user.x"), text("x"), 1, 0)
		}
		m[link+"listxattr"] = func(p, _ uintptr) error {
			return try(map[string]uintptr{"": unix.SYS_LISTXATTR, "l": unix.SYS_LLISTXATTR}[link], p, at(&[9]byte{}), 9)
		}
		m[link+"removexattr"] = func(p, _ uintptr) error {
			return try(map[string]uintptr{"": unix.SYS_REMOVEXATTR, "l": unix.SYS_LREMOVEXATTR}[link], p, text("user.x"))
		}
	}
	maps.Copy(m, oldPathCalls())
	return m
}

func systemModeCases() []Case {
	var list []Case
	calls := pathCalls()
	for _, name := range sortedKeys(calls) {
		list = append(list, Case{Name: "capability-mode/" + name, In: entered, Want: capMode, Make: func(t *T) func() error {
			file, other := text(t.path("file")), text(t.path("new"))
			stop("write", os.WriteFile(t.path("file"), []byte("x"), 0o700))
			return func() error { return calls[name](file, other) }
		}})
	}
	// Of what is refused whatever its arguments, a descriptor without rights says
	// nothing else.
	always := map[string]uintptr{
		"fchdir": unix.SYS_FCHDIR, "bind": unix.SYS_BIND, "connect": unix.SYS_CONNECT, "name_to_handle_at": unix.SYS_NAME_TO_HANDLE_AT,
		"open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "setns": unix.SYS_SETNS, "finit_module": unix.SYS_FINIT_MODULE,
		"pidfd_getfd": unix.SYS_PIDFD_GETFD, "process_madvise": unix.SYS_PROCESS_MADVISE, "inotify_add_watch": unix.SYS_INOTIFY_ADD_WATCH,
		"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "move_mount": unix.SYS_MOVE_MOUNT, "fsmount": unix.SYS_FSMOUNT,
		"fspick": unix.SYS_FSPICK, "open_tree": unix.SYS_OPEN_TREE, "mount_setattr": unix.SYS_MOUNT_SETATTR,
		"io_uring_enter": unix.SYS_IO_URING_ENTER, "kexec_file_load": unix.SYS_KEXEC_FILE_LOAD,
	}
	for _, name := range sortedKeys(always) {
		list = append(list, Case{Name: "capability-mode/" + name + " of a descriptor without rights", In: entered, Want: capMode, Make: func(t *T) func() error {
			fd := t.file()
			return func() error { limit(fd); return try(always[name], uintptr(fd), 0, 0, 0, 0, 0) }
		}})
	}
	// What names something that is everybody's.
	page := uintptr(os.Getpagesize())
	parent := uintptr(os.Getppid())
	self := uintptr(os.Getpid())
	vec := func() uintptr { return iovec(4) }
	list = append(list,
		inModeRaw("ptrace", unix.SYS_PTRACE, unix.PTRACE_ATTACH, parent, 0, 0),
		inModeRaw("ptrace TRACEME", unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0),
		inMode("process_vm_readv", capMode, func() error { return try(unix.SYS_PROCESS_VM_READV, parent, vec(), 1, vec(), 1, 0) }),
		inMode("process_vm_writev", capMode, func() error { return try(unix.SYS_PROCESS_VM_WRITEV, parent, vec(), 1, vec(), 1, 0) }),
		inModeRaw("kcmp", unix.SYS_KCMP, self, self, 0, 0, 0),
		inModeRaw("perf_event_open", unix.SYS_PERF_EVENT_OPEN, 0, 0, ^uintptr(0), ^uintptr(0), 0),
		inModeRaw("bpf", unix.SYS_BPF, 0, 0, 0),
		inModeRaw("add_key", unix.SYS_ADD_KEY, 0, 0, 0, 0, 0),
		inModeRaw("request_key", unix.SYS_REQUEST_KEY, 0, 0, 0, 0),
		inModeRaw("keyctl", unix.SYS_KEYCTL, 0, 0, 0),
		inModeRaw("shmget", unix.SYS_SHMGET, 0, page, 0o600),
		inModeRaw("shmat", unix.SYS_SHMAT, 0, 0, 0),
		inModeRaw("semget", unix.SYS_SEMGET, 0, 1, 0o600),
		inModeRaw("msgget", unix.SYS_MSGGET, 0, 0o600),
		inModeRaw("mq_open", unix.SYS_MQ_OPEN, 0, 0, 0, 0),
		inModeRaw("mq_unlink", unix.SYS_MQ_UNLINK, 0),
		inModeRaw("name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, 0, 0, 0, 0, 0),
		inModeRaw("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0),
		inModeRaw("setns", unix.SYS_SETNS, 0, 0),
		inModeRaw("unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		inModeRaw("clone into a namespace", unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0, 0, 0),
		inModeRaw("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, 0),
		inModeRaw("userfaultfd", unix.SYS_USERFAULTFD, 0),
		inModeRaw("umount2", unix.SYS_UMOUNT2, 0, 0),
		inModeRaw("move_mount", unix.SYS_MOVE_MOUNT, 0, 0, 0, 0, 0),
		inModeRaw("open_tree", unix.SYS_OPEN_TREE, 0, 0, 0),
		inModeRaw("fsopen", unix.SYS_FSOPEN, 0, 0),
		inModeRaw("pivot_root", unix.SYS_PIVOT_ROOT, 0, 0),
		inModeRaw("reboot", unix.SYS_REBOOT, 0, 0, 0, 0),
		inModeRaw("init_module", unix.SYS_INIT_MODULE, 0, 0, 0),
		inModeRaw("finit_module", unix.SYS_FINIT_MODULE, 0, 0, 0),
		inModeRaw("delete_module", unix.SYS_DELETE_MODULE, 0, 0),
		inModeRaw("kexec_load", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0),
		inModeRaw("swapon", unix.SYS_SWAPON, 0, 0),
		inModeRaw("swapoff", unix.SYS_SWAPOFF, 0),
		inModeRaw("acct", unix.SYS_ACCT, 0),
		inModeRaw("quotactl", unix.SYS_QUOTACTL, 0, 0, 0, 0),
		inModeRaw("syslog", unix.SYS_SYSLOG, 3, 0, 0),
		inModeRaw("sethostname", unix.SYS_SETHOSTNAME, 0, 0),
		inModeRaw("settimeofday", unix.SYS_SETTIMEOFDAY, 0, 0),
		inModeRaw("clock_settime", unix.SYS_CLOCK_SETTIME, 0, 0),
		inModeRaw("setgroups", unix.SYS_SETGROUPS, 0, 0),
		inModeRaw("pidfd_open of another", unix.SYS_PIDFD_OPEN, parent, 0),
		inModeRaw("pidfd_getfd", unix.SYS_PIDFD_GETFD, 0, 0, 0),
		inModeRaw("process_madvise", unix.SYS_PROCESS_MADVISE, 0, 0, 0, 0, 0),
		inModeRaw("inotify_add_watch", unix.SYS_INOTIFY_ADD_WATCH, 0, text("/"), unix.IN_CREATE),
		inMode("prlimit of another", capMode, func() error { return unix.Prlimit(int(parent), unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)) }),
		inMode("prlimit of itself", success, func() error { return unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)) }),
		inMode("sched_setaffinity of another", capMode, func() error {
			var set unix.CPUSet
			set.Set(0)
			return unix.SchedSetaffinity(int(parent), &set)
		}),
		inMode("socket: netlink", capMode, func() error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, 0) }),
		inMode("socket: packet", capMode, func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) }),
		inMode("socket: VM", capMode, func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }),
		inMode("eventfd", success, func() error { _, err := unix.Eventfd(0, unix.EFD_CLOEXEC); return err }),
		inMode("timerfd", success, func() error { _, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0); return err }),
		inMode("memfd_create", success, func() error { _, err := unix.MemfdCreate("x", 0); return err }),
		inMode("epoll", success, func() error { _, err := unix.EpollCreate1(0); return err }),
		inMode("getrandom", success, func() error { _, err := unix.Getrandom(make([]byte, 9), 0); return err }),
		statically(inMode("pidfd_open of itself", success, func() error { _, err := unix.PidfdOpen(int(self), 0); return err }), either),
		inMode("uname", success, func() error { return unix.Uname(new(unix.Utsname)) }),
		inMode("a call by another table", capMode, otherTable),
		inMode("no_new_privs", success, func() error {
			v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			return all(err, same("no_new_privs", v, 1))
		}),
	)
	return append(list, beyondCases()...)
}

// otherTable makes a call by the numbers of x32, which a filter must not take for
// another call: the kernel says ENOSYS where it has none.
func otherTable() error {
	if runtime.GOARCH != "amd64" {
		return try(unix.SYS_CHROOT, 0)
	}
	err := try(0x40000000|unix.SYS_CHROOT, 0)
	if err == unix.ENOSYS {
		return unix.Errno(134)
	}
	return err
}
