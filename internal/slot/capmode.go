package slot

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// modeRow is what capability mode makes of one call. Every call of every
// architecture has one; a number without a name is refused.
type modeRow struct {
	refused []clause // by registers
	// unseen is what someone must be asked about: refused where nobody is there.
	unseen []clause
}

// modeGroup is a number of calls with the same row.
type modeGroup struct {
	names   string
	reason  string
	refused []clause
	unseen  []clause
}

// ecapmode refuses as not permitted in capability mode.
func ecapmode(tests ...test) clause { return clause{tests, filecaps.ECAPMODE} }

// notcapable refuses a name that leads nobody knows where.
func notcapable(tests ...test) clause { return clause{tests, filecaps.ENOTCAPABLE} }

// pass lets calls through for which tests hold.
func pass(tests ...test) clause { return clause{tests, 0} }

var always = []clause{ecapmode()}

// atCWD is AT_FDCWD as the kernel reads it.
const atCWD = 0xffffff9c

// ownPID stands in the table for the number of the process that a static filter
// is for. Children inherit the filter, and there it is their parent's: only what may be
// done to a parent may pass by it.
const ownPID = 1 << 40

// lookup is the row of calls that resolve a name from the directories in
// registers dirs.
func lookup(dirs ...int) (refused, unseen []clause) {
	for _, d := range dirs {
		refused = append(refused, ecapmode(is(d, atCWD)))
	}
	return refused, []clause{notcapable()}
}

// selfOnly refuses other values than 0 of register arg, where 0 is the caller.
func selfOnly(arg int) []clause { return []clause{ecapmode(isNot(arg, 0))} }

// lookupGroup is the group of calls that resolve a name from dirs.
func lookupGroup(names string, dirs ...int) modeGroup {
	refused, unseen := lookup(dirs...)
	return modeGroup{names, "what is named is not in a register", refused, unseen}
}

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME
	queryPersonality = 0xffffffff
	prSetVMA         = 0x53564d41
	prSetPtracer     = 0x59616d61
	prGetAuxv        = 0x41555856
	socketType       = 0xf // the bits of socket's second argument that are the type
	ioctlNumber      = 0xffff
	fioSetOwn        = 0x8901
	siocSetPgrp      = 0x8902
	whoProcess       = 1 // IOPRIO_WHO_PROCESS
	lastClock        = 23
	signalFlags      = 3 // PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP
)

// ownClocks are the clocks of the calling process and thread by number: pid 0 in
// the encoding of clock_getcpuclockid(3).
var ownClocks = []uint64{0xfffffff8, 0xfffffff9, 0xfffffffa, 0xfffffffc, 0xfffffffd, 0xfffffffe}

// globalControls are the ioctls, without size and direction, that reach beyond the
// descriptor, as ranges: a kind that only grows such commands is refused with all its
// numbers but those of commands that do not.
var globalControls = [][2]uint64{
	// Of XFS: they look up names and handles, which are names of every file there.
	{0x5869, 0x586c}, {0x587a, 0x587b},
	// Of sockets: routes, addresses, interfaces, and those of wireless ones.
	{0x8908, 0x89ff}, {0x8b00, 0x8bff},
	// Of btrfs: they find names by numbers, search, send and change the whole file
	// system. Not FICLONE, FICLONERANGE, FIDEDUPERANGE.
	{0x9400, 0x9408}, {0x940a, 0x940c}, {0x940e, 0x9435}, {0x9437, 0x94ff},
	// Of namespaces: they tell which process numbers exist, and open other namespaces.
	{0xb700, 0xb7ff},
	// Of process descriptors: they open namespaces. Not PIDFD_GET_INFO.
	{0xff00, 0xff0a}, {0xff0c, 0xffff},
}

// through lists the values of ranges.
func through(ranges [][2]uint64) []uint64 {
	var out []uint64
	for _, r := range ranges {
		for v := r[0]; v <= r[1]; v++ {
			out = append(out, v)
		}
	}
	return out
}

// Where a socket's own options end: numbers beyond are of the packet filters (of IP, ARP,
// bridges, IPVS) and multicast routes of the machine, or of a network namespace.
const (
	lastOptionIP4   = 63
	lastOptionIP6   = 95
	originalAddress = 80 // SO_ORIGINAL_DST, of the socket
)

// tablesIP6 are those of IPv6's packet filter that are among its own options.
var tablesIP6 = []uint64{64, 65, 68, 69}

// globalOptions refuses what is not about the socket.
var globalOptions = []clause{
	ecapmode(is(1, unix.SOL_IP), isAbove(2, lastOptionIP4), isNot(2, originalAddress)),
	ecapmode(is(1, unix.SOL_IPV6), is(2, tablesIP6...)),
	ecapmode(is(1, unix.SOL_IPV6), isAbove(2, lastOptionIP6)),
}

// modeGroups is the closed table of capability mode.
func modeGroups() []modeGroup {
	return slices.Concat(pathGroups(), descriptorGroups(), socketGroups(), processGroups(), otherGroups())
}

func pathGroups() []modeGroup {
	return []modeGroup{
		{"open creat stat lstat access readlink rename mkdir rmdir link unlink symlink chmod chown lchown truncate chdir chroot " +
			"utime utimes mknod uselib statfs acct swapon swapoff setxattr lsetxattr getxattr lgetxattr listxattr llistxattr " +
			"removexattr lremovexattr execve inotify_add_watch", "a name from the root or the working directory", always, nil},
		{"fchdir getcwd", "the working directory is a global name", always, nil},
		{"mount umount2 pivot_root move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr statmount " +
			"listmount quotactl quotactl_fd sysfs ustat", "mounts and file systems are global", always, nil},
		{"name_to_handle_at open_by_handle_at", "a handle is a global name of a file", always, nil},
		lookupGroup("openat openat2 mkdirat mknodat fchownat unlinkat readlinkat fchmodat fchmodat2 faccessat faccessat2 "+
			"setxattrat getxattrat listxattrat removexattrat file_getattr file_setattr", 0),
		lookupGroup("symlinkat", 1),
		lookupGroup("linkat renameat renameat2", 0, 2),
		{"newfstatat statx utimensat futimesat", "a name, or none", []clause{ecapmode(is(0, atCWD))}, []clause{notcapable(notNull(1))}},
		{"execveat", "only a program that is held open", []clause{ecapmode(is(0, atCWD))},
			[]clause{ecapmode()}},
		{"fanotify_init", "its events open any file", always, nil},
		{"fanotify_mark", "marks of whole mounts and file systems are global",
			[]clause{ecapmode(hasAny(1, unix.FAN_MARK_MOUNT|unix.FAN_MARK_FILESYSTEM)), ecapmode(is(3, atCWD))},
			[]clause{notcapable(notNull(4))}},
	}
}

func descriptorGroups() []modeGroup {
	return []modeGroup{
		{"read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3 pipe pipe2 " +
			"sendfile splice tee vmsplice copy_file_range fstat fstatfs fchmod fchown ftruncate fallocate fadvise64 readahead flock " +
			"fsync fdatasync syncfs sync sync_file_range getdents getdents64 fsetxattr fgetxattr flistxattr fremovexattr cachestat",
			"acts on held descriptors", nil, nil},
		{"poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 " +
			"signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime inotify_init inotify_init1 inotify_rm_watch " +
			"io_setup io_destroy io_getevents io_pgetevents io_cancel memfd_create memfd_secret mq_timedsend mq_timedreceive " +
			"mq_notify mq_getsetattr", "waits, and makes what has no name", nil, nil},
		// Nobody may be named, not even the process itself: children inherit the filter, and
		// there the number is the parent's, whom F_SETSIG would then send any signal.
		{"fcntl", "an owner is signalled by number", nil, []clause{
			ecapmode(is(1, unix.F_SETOWN), isNot(2, 0)), ecapmode(is(1, unix.F_SETOWN_EX)),
		}},
		{"ioctl", "interfaces, namespaces and handles are global; an owner is signalled by number", []clause{
			ecapmode(masked(1, ioctlNumber, through(globalControls)...)),
		}, []clause{ecapmode(is(1, fioSetOwn, siocSetPgrp))}},
		{"io_submit", "what is done is in memory", nil, []clause{notcapable()}},
		{"io_uring_setup io_uring_enter io_uring_register", "rings are seen by no filter", always, nil},
		{"bpf perf_event_open userfaultfd lookup_dcookie", "reaches far beyond held descriptors", always, nil},
	}
}

// masked tests bits of a 32-bit register.
func masked(arg int, mask uint32, values ...uint64) test {
	return test{arg: arg, op: in, mask: mask, values: values}
}

func socketGroups() []modeGroup {
	kind := func(values ...uint64) test { return masked(1, socketType, values...) }
	internet := is(0, unix.AF_INET, unix.AF_INET6)
	return []modeGroup{
		{"socket", "only protocols whose addresses are refused", []clause{
			pass(is(0, unix.AF_UNIX), kind(unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET)),
			pass(internet, kind(unix.SOCK_STREAM), is(2, 0, unix.IPPROTO_TCP)),
			pass(internet, kind(unix.SOCK_DGRAM), is(2, 0, unix.IPPROTO_UDP)),
			ecapmode(),
		}, nil},
		{"socketpair", "only local ones have no name", []clause{pass(is(0, unix.AF_UNIX)), ecapmode()}, nil},
		{"bind connect", "an address is a global name", always, nil},
		{"sendto", "an address is a global name", []clause{ecapmode(notNull(4))}, nil},
		{"sendmsg sendmmsg", "the address is in memory", nil, []clause{ecapmode()}},
		{"recvfrom recvmsg recvmmsg accept accept4 listen shutdown getsockname getpeername", "acts on held sockets", nil, nil},
		{"getsockopt", "who is at the other end is a process that is not held",
			append([]clause{ecapmode(is(1, unix.SOL_SOCKET), is(2, unix.SO_PEERPIDFD))}, globalOptions...), nil},
		// SO_RCVLOWAT marks process descriptors: marked, any socket would stand for who made it.
		{"setsockopt", "so is who sends",
			append([]clause{ecapmode(is(1, unix.SOL_SOCKET), is(2, unix.SO_PASSPIDFD, unix.SO_RCVLOWAT))}, globalOptions...), nil},
	}
}

func processGroups() []modeGroup {
	return []modeGroup{
		{"fork vfork exit exit_group wait4 waitid set_tid_address getpid getppid gettid getpgrp setsid", "", nil, nil},
		{"unshare", "a new namespace is full of global names", []clause{ecapmode(hasAny(0, newNamespaces))}, nil},
		// A sibling is a child of whoever started the process: it hears of its end, and may
		// take it for one of its own.
		{"clone", "so is it; and a sibling is another's child", []clause{ecapmode(hasAny(0, newNamespaces|unix.CLONE_PARENT))}, sharers},
		{"clone3", "its flags are in memory; libraries then use clone, as before Linux 5.3", []clause{{nil, unix.ENOSYS}}, nil},
		{"setns", "", always, nil},
		{"kill rt_sigqueueinfo rt_tgsigqueueinfo", "only the process itself", nil, always},
		// The number in a static filter is that of a child's parent, too. So nothing but
		// what a Go runtime lives by passes, a signal that is ignored elsewhere.
		{"tgkill", "only the process itself", nil, []clause{ecapmode(isNot(0, ownPID)), ecapmode(isNot(2, uint64(unix.SIGURG)))}},
		{"tkill", "any thread has a number", nil, []clause{ecapmode()}},
		{"pidfd_send_signal", "a held process, not its group", []clause{ecapmode(isAbove(3, signalFlags))}, nil},
		{"pidfd_open", "only the process itself", nil, always},
		{"pidfd_getfd ptrace kcmp process_vm_readv process_vm_writev process_madvise process_mrelease setpgid",
			"processes are named by number", always, nil},
		{"getpgid getsid sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_setattr sched_getattr " +
			"sched_setaffinity sched_getaffinity sched_rr_get_interval get_robust_list",
			"only the process itself, whose threads have numbers too", nil, selfOnly(0)},
		{"prlimit64", "so here", []clause{ecapmode(is(1, unix.RLIMIT_CORE), notNull(2))}, selfOnly(0)},
		{"migrate_pages move_pages", "only the process itself", selfOnly(0), nil},
		{"getpriority setpriority", "only the process itself", []clause{
			ecapmode(isNot(0, unix.PRIO_PROCESS)), ecapmode(isNot(1, 0)),
		}, nil},
		{"ioprio_get ioprio_set", "only the process itself", []clause{ecapmode(isNot(0, whoProcess)), ecapmode(isNot(1, 0))}, nil},
		{"sched_yield sched_get_priority_max sched_get_priority_min getuid geteuid getgid getegid getresuid getresgid getgroups " +
			"capset setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid umask getrusage getrlimit " +
			"times getcpu getrandom uname sysinfo arch_prctl rseq rseq_slice_yield uretprobe uprobe restart_syscall",
			"of the process itself", nil, nil},
		// Whoever enters gives core files up: the kernel makes them by a global name.
		{"setrlimit", "of the process itself", []clause{ecapmode(is(0, unix.RLIMIT_CORE))}, nil},
		{"capget", "only of the process itself, which is named in memory", nil, always},
		{"setgroups", "as on FreeBSD", always, nil},
		{"prctl", "options that weaken, or name others", []clause{
			pass(is(0, prSetVMA, prGetAuxv)),
			ecapmode(isAbove(0, unix.PR_SET_CFI), isNot(0, prSetPtracer)),
			ecapmode(is(0, unix.PR_SET_SECUREBITS, unix.PR_SET_MM, unix.PR_SET_IO_FLUSHER, unix.PR_SCHED_CORE)),
		}, []clause{ecapmode(is(0, prSetPtracer))}},
		{"personality", "only a query", []clause{ecapmode(isNot(0, queryPersonality))}, nil},
		{"seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self", "only restricts further", nil, nil},
		{"lsm_get_self_attr lsm_list_modules", "only reads", nil, nil},
		{"lsm_set_self_attr", "chooses another profile", always, nil},
		{"rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigreturn sigaltstack pause", "", nil, nil},
		{"futex futex_wake futex_wait futex_requeue futex_waitv set_robust_list membarrier", "", nil, nil},
	}
}

func otherGroups() []modeGroup {
	return []modeGroup{
		{"mmap munmap mprotect mremap madvise mincore msync mlock mlock2 munlock mlockall munlockall brk remap_file_pages mbind " +
			"set_mempolicy get_mempolicy set_mempolicy_home_node pkey_mprotect pkey_alloc pkey_free mseal map_shadow_stack",
			"the process's own memory", nil, nil},
		{"modify_ldt", "weakens the kernel for everyone", always, nil},
		{"clock_gettime clock_getres clock_nanosleep timer_create", "no clock of another process, nor of a device", []clause{
			pass(is(0, ownClocks...)), ecapmode(isAbove(0, lastClock)),
		}, nil},
		{"gettimeofday time nanosleep getitimer setitimer alarm timer_settime timer_gettime timer_getoverrun timer_delete", "", nil, nil},
		{"settimeofday clock_settime adjtimex clock_adjtime", "the machine's clock", always, nil},
		{"shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink",
			"named by numbers and names of the machine", always, nil},
		{"add_key request_key keyctl", "keys are named by number", always, nil},
		{"kexec_load kexec_file_load init_module finit_module delete_module reboot sethostname setdomainname syslog iopl ioperm " +
			"vhangup nfsservctl listns", "the machine", always, nil},
		{"_sysctl create_module get_kernel_syms query_module getpmsg putpmsg afs_syscall tuxcall security epoll_ctl_old " +
			"epoll_wait_old vserver set_thread_area get_thread_area", "not implemented by 64-bit kernels", always, nil},
	}
}

// modeTable is the table by name, made when capability mode is first spoken of.
var modeTable = sync.OnceValue(func() map[string]modeRow {
	out := make(map[string]modeRow, 512)
	for _, g := range modeGroups() {
		for name := range strings.FieldsSeq(g.names) {
			if _, twice := out[name]; twice {
				panic("slot: two rows for " + name)
			}
			out[name] = modeRow{g.refused, g.unseen}
		}
	}
	return out
})

// refusedInMode reports whether capability mode refuses a call whatever its
// arguments.
func refusedInMode(name string) bool {
	r, ok := modeTable()[name]
	return !ok || len(r.refused) > 0 && len(r.refused[0].tests) == 0
}

// leftToMode returns clauses that let pass what capability mode refuses. Where somebody
// is asked about the rest, it is he who says that the process is in the mode, and the
// kernel may not have heard of it: then they refuse it.
func leftToMode(name string, o Options) []clause {
	if !o.CapabilityMode {
		return nil
	}
	refused := slices.Clone(modeTable()[name].refused)
	if o.Only == nil {
		for i := range refused {
			refused[i].errno = 0
		}
	}
	return refused
}

// mode compiles capability mode's filter.
func mode(arch sysno.Arch, static bool, pid int) ([]cbpf.Instruction, error) {
	p := program{arch: arch, calls: make(map[string][]clause), foreign: filecaps.ECAPMODE, unlisted: filecaps.ECAPMODE}
	for _, e := range sysno.Table(arch) {
		r, ok := modeTable()[e.Name]
		if !ok {
			r.refused = always
		}
		list := slices.Clone(r.refused)
		if static {
			list = append(list, own(r.unseen, pid)...)
		}
		p.calls[e.Name] = list
	}
	p.questions = []clause{ecapmode(is(0, OpMode))}
	return p.compile()
}

// own puts the process's number where the table says ownPID.
func own(list []clause, pid int) []clause {
	out := make([]clause, len(list))
	for i, c := range list {
		out[i] = clause{slices.Clone(c.tests), c.errno}
		for j, t := range c.tests {
			if k := slices.Index(t.values, ownPID); k >= 0 {
				t.values = slices.Clone(t.values)
				t.values[k] = uint64(uint32(pid))
				out[i].tests[j] = t
			}
		}
	}
	return out
}
