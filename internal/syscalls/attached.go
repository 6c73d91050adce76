package syscalls

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// This file is the table's second column: what the filter of a process says that
// confines itself. It stands for descriptor rights alone. What a limit takes from
// a number, and what capability mode refuses, is said by filters stacked on this
// one, and a refusal there wins over a question here. So this filter asks whatever
// a stacked one cannot decide, and passes the rest.

// What filters know about descriptor numbers. Few of them can be told apart, and
// a filter can be stacked only by the process itself, in a library call. So:
//
//   - Below [fdtable.FirstAsking] the calls that programs make most pass ([Unasked]),
//     and a limit that takes their right from such a number stacks a filter.
//   - The standard descriptors pass what they are for, so that limiting them to it
//     stacks nothing, and putting others in their place finds nothing stacked.
//   - Numbers in the ranges [fdtable.Chosen], which the kernel gives to nobody before
//     it has given the lower ones, are chosen by the supervisor for limited
//     descriptors that no library call makes: copies, opened files, accepted
//     connections. Their low bits say what passes: the number's [fdtable.Class].
//   - All other numbers ask.

// Unasked are the calls that pass on numbers below [fdtable.FirstAsking]: what a filter
// stacked for one must be about.
const Unasked = "read readv recvfrom getdents getdents64 write writev pread64 preadv pwrite64 pwritev lseek sendto mmap " +
	"epoll_wait epoll_pwait epoll_pwait2"

const (
	asksFD     = "which rights the number has only the supervisor knows"
	stackedFD  = "what is refused at this number a stacked filter says"
	codedFD    = "the number itself says so"
	standardFD = "what the standard descriptors are for"

	continueFD = "only registers are looked at, and what the number means stays: until the call has looked it up, the supervisor " +
		"puts no descriptor with fewer rights there"
	copiesFD     = "makes a descriptor, which must get the rights of the one it comes from"
	namesFD      = "a name is looked up beneath a directory, whose rights the supervisor knows; it acts on its own copies"
	continueCopy = "an unlimited descriptor is copied, and its number keeps its meaning"
	globalFD     = "no descriptor is involved"
	pastFD       = "works on descriptors without a call the filter sees, or past their numbers"
	standalone   = "about no descriptor"
	noWait       = "waits for nothing but time"
	itself       = "about the process itself"
	whose        = "in capability mode a process has only itself, and a filter does not know who asks"
	whoAsks      = "only registers are looked at, and who asks"
)

// stackedNumber returns the tests that register arg is a number that filters are stacked
// for, other than a standard descriptor's.
func stackedNumber(arg int) []ArgTest {
	return []ArgTest{part("a number up to 255", arg, ^uint64(fdtable.FirstAsking-1), 0), isNot("not 0, 1, 2", arg, 0, 1, 2)}
}

// codedRules pass calls on a number, in register arg, whose class has bits.
func codedRules(arg int, bits fdtable.Class, more ...ArgTest) []Rule {
	var out []Rule
	for _, r := range fdtable.Chosen {
		common := uint32(^(r.Last ^ r.First)) // the bits that its numbers have in common
		test := part("a chosen number whose class allows it", arg, uint64(common|uint32(bits)), uint64(r.First|int(bits)))
		out = append(out, pass(codedFD).where(append([]ArgTest{test}, more...)...))
	}
	return out
}

// onNumber are the rules of calls that take a descriptor in register arg. With
// bits they pass on numbers of a class that has them all, and on the standard
// descriptors named.
func onNumber(arg int, bits fdtable.Class, standard ...uint64) []Rule {
	out := []Rule{pass(stackedFD).where(stackedNumber(arg)...)}
	if bits != 0 {
		out = append(out, codedRules(arg, bits)...)
	}
	if len(standard) > 0 {
		out = append(out, pass(standardFD).where(is("a standard descriptor", arg, standard...)))
	}
	return append(out, judge())
}

// onProcess are the rules of calls on the process or thread in register 0.
func onProcess() []Rule {
	return []Rule{pass(itself).where(is("itself", 0, 0)), ask(whose).mayContinue(whoAsks)}
}

// judge is the rule of calls that take descriptors and are not made often enough to
// pass anywhere.
func judge() Rule { return ask(asksFD).mayContinue(continueFD) }

// beneath are the rules of calls that look a name up in directories in the given
// registers.
func beneath(dirs ...int) []Rule {
	var global []ArgTest
	for _, arg := range dirs {
		global = append(global, is("AT_FDCWD", arg, atFDCWD))
	}
	return []Rule{
		pass("in the global namespace, as long as there is one").where(global...),
		ask(namesFD).mayContinue("in the global namespace, beneath a directory that is not limited, nothing is refused; " + continueFD),
	}
}

const atFDCWD = unix.AT_FDCWD & low32

// sendtoRules: an address is judged by stacked filters, or asked about.
func sendtoRules() []Rule {
	return slices.Concat(
		[]Rule{pass(stackedFD).where(stackedNumber(0)...)},
		codedRules(0, fdtable.ClassWrite, isNull("no address", 4)),
		[]Rule{judge()},
	)
}

// mmapRules: a mapping can be given more later, by mprotect, that no filter knows
// the file of: as much as the file is open for, where it is shared, and reading.
func mmapRules() []Rule {
	unexecuted := ArgTest{2, unix.PROT_EXEC, In, []uint64{0}, "not executed"}
	private := part("private", 3, 0xf, unix.MAP_PRIVATE)
	return slices.Concat(
		[]Rule{pass(globalFD).where(hasAny("MAP_ANONYMOUS", 3, unix.MAP_ANONYMOUS)), pass(stackedFD).where(stackedNumber(4)...)},
		codedRules(4, fdtable.ClassMap|fdtable.ClassRead|fdtable.ClassSeek, unexecuted, private),
		codedRules(4, fdtable.ClassMap|fdtable.ClassRead|fdtable.ClassSeek|fdtable.ClassWrite, unexecuted),
		[]Rule{judge()},
	)
}

// attachedGroups are the rules of a process that confines itself, for every call
// that does not simply pass.
func attachedGroups() []group {
	return []group{
		{names: "read readv recvfrom getdents getdents64", rules: onNumber(0, fdtable.ClassRead, 0)},
		{names: "write writev", rules: onNumber(0, fdtable.ClassWrite, 1, 2)},
		{names: "pread64 preadv", rules: onNumber(0, fdtable.ClassRead|fdtable.ClassSeek)},
		{names: "pwrite64 pwritev", rules: onNumber(0, fdtable.ClassWrite|fdtable.ClassSeek)},
		{names: "lseek", rules: onNumber(0, fdtable.ClassSeek)},
		{names: "sendto", rules: sendtoRules()},
		{names: "mmap", rules: mmapRules()},
		{names: "epoll_wait epoll_pwait epoll_pwait2", rules: onNumber(0, 0)},
		{names: "preadv2 pwritev2", rules: []Rule{ask(asksFD + "; RWF_NOAPPEND, which writes before the end of a file that is only " +
			"appended to, and flags that are not known need CAP_SEEK, at the file's own offset too").mayContinue(continueFD)}},
		{names: "fstat fchmod fchown ftruncate fallocate flock ioctl fsync fdatasync syncfs sync_file_range fsetxattr " +
			"fgetxattr flistxattr fremovexattr fstatfs readahead cachestat listen shutdown getsockname getpeername getsockopt " +
			"setsockopt bind connect timerfd_settime timerfd_gettime inotify_add_watch inotify_rm_watch mq_timedsend mq_timedreceive " +
			"mq_notify mq_getsetattr pidfd_send_signal fchdir vmsplice setns fanotify_mark process_madvise process_mrelease sendfile tee splice copy_file_range epoll_ctl " +
			"quotactl_fd fsmount fspick mount_setattr move_mount fsconfig",
			rules: []Rule{judge()}},
		{names: "fcntl", rules: []Rule{
			ask(copiesFD).where(is("F_DUPFD, F_DUPFD_CLOEXEC", 1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC)).mayContinue(continueCopy),
			pass("needs no right").where(is("F_GETFD, F_SETFD", 1, unix.F_GETFD, unix.F_SETFD)),
			judge(),
		}},
		{names: "signalfd signalfd4", rules: []Rule{pass(globalFD).where(is("-1", 0, low32)), judge()}},
		{names: "waitid", rules: []Rule{pass(standalone).where(isNot("not P_PIDFD", 0, unix.P_PIDFD)), judge()}},
		{names: "pidfd_open", rules: []Rule{ask(whose).mayContinue(whoAsks)}},

		{names: "dup dup2 dup3 accept accept4", rules: []Rule{ask(copiesFD).mayContinue(continueCopy)}},
		{names: "close", rules: []Rule{
			pass("the library's own, when nobody may be there to ask; closing gives nobody anything").where(
				ArgTest{1, ^uint64(0), In, []uint64{sys.CloseCookie}, "a cookie"}),
			ask(asksFD + ", and whether it may be given out again").mayContinue("closing gives nobody anything: a limited descriptor " +
				"is taken away before"),
		}},
		{names: "close_range", rules: []Rule{
			pass("marks only").where(is("CLOSE_RANGE_CLOEXEC", 2, unix.CLOSE_RANGE_CLOEXEC)),
			refuse(unix.EPERM, "the supervisor keeps one table for each process").where(
				hasAny("CLOSE_RANGE_UNSHARE", 2, unix.CLOSE_RANGE_UNSHARE)),
			ask(asksFD + ", and whether it may be given out again").mayContinue("closing gives nobody anything"),
		}},
		{names: "sendmsg sendmmsg", rules: []Rule{ask("may pass on descriptors, which keep their rights where the receiver has a " +
			"supervisor that knows them, and go nowhere else").mayContinue("a process that holds nothing limited passes nothing limited on, and until the message is out nothing limited comes to it")}},
		{names: "recvmsg recvmmsg", rules: []Rule{ask("may bring descriptors, with their rights").mayContinue("a message without room " +
			"for descriptors brings none; one that gets room after the look brings only what stands for a limited descriptor")}},
		{names: "poll ppoll", rules: []Rule{pass(noWait).where(is("no descriptor", 1, 0)),
			ask("the numbers are in memory").mayContinue("waiting for a descriptor whose number comes after the look tells that it is ready")}},
		{names: "select pselect6", rules: []Rule{pass(noWait).where(is("no descriptor", 0, 0)),
			ask("the numbers are in memory").mayContinue("waiting for a descriptor whose number comes after the look tells that it is ready")}},

		{names: "openat openat2 newfstatat statx faccessat faccessat2 readlinkat fchmodat fchmodat2 fchownat utimensat futimesat mkdirat " +
			"mknodat unlinkat name_to_handle_at getxattrat setxattrat listxattrat removexattrat file_getattr file_setattr open_tree " +
			"open_tree_attr open_by_handle_at", rules: beneath(0)},
		{names: "symlinkat", rules: beneath(1)},
		{names: "linkat renameat renameat2", rules: beneath(0, 2)},
		{names: "execve execveat", rules: []Rule{ask("descriptors are closed, and a new program keeps the rights of the others; a program " +
			"is executed through a descriptor that has the right").mayContinue("whatever is executed instead runs under the same " +
			"filters with the same descriptors")}},

		{names: "fork vfork", rules: []Rule{ask("the child gets a copy of the table").mayContinue("only registers are looked at; what " +
			"happens to the table meanwhile is noted for the child too")}},
		{names: "clone", rules: []Rule{
			refuse(unix.EINVAL, "threads share one table").where(part("CLONE_THREAD without CLONE_FILES", 0,
				unix.CLONE_THREAD|unix.CLONE_FILES, unix.CLONE_THREAD)),
			pass("a thread has its process's table").where(hasAny("CLONE_THREAD", 0, unix.CLONE_THREAD)),
			ask("the child gets a copy of the table, or shares it").mayContinue("only registers are looked at; what happens to the " +
				"table meanwhile is noted for the child too"),
		}},
		{names: "clone3", rules: []Rule{refuse(unix.ENOSYS, "a filter can't see the flags; as on a kernel before 5.3, libraries fall back to clone")}},
		{names: "unshare", rules: []Rule{
			refuse(unix.EPERM, "the supervisor keeps one table for each process").where(hasAny("CLONE_FILES", 0, unix.CLONE_FILES)),
			pass(standalone),
		}},
		{names: "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo", rules: []Rule{
			ask(whose).mayContinue(whoAsks),
		}},
		{names: "prctl", rules: []Rule{
			ask("in capability mode only the supervisor may be named").mayContinue(whoAsks).where(is("PR_SET_PTRACER", 0, prSetPtracer)),
			pass(itself),
		}},
		{names: "capget", rules: []Rule{ask("in capability mode a process has only itself, and which one is meant is in memory").
			mayContinue("outside capability mode nothing is refused")}},
		{names: "getpgid getsid sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_setattr sched_getattr " +
			"sched_setaffinity sched_getaffinity sched_rr_get_interval get_robust_list", rules: onProcess()},
		{names: "setrlimit", rules: []Rule{
			refuse(unix.EPERM, "the kernel ignores this limit; the supervisor keeps there which table a child was forked with").where(
				is("RLIMIT_LOCKS", 0, rlimitLocks)),
			pass(standalone),
		}},
		{names: "prlimit64", rules: []Rule{
			refuse(unix.EPERM, "the kernel ignores this limit; the supervisor keeps there which table a child was forked with").where(
				is("RLIMIT_LOCKS", 1, rlimitLocks), notNull("a new limit", 2)),
			pass(itself).where(is("itself", 0, 0)),
			ask(whose).mayContinue(whoAsks),
		}},
		{names: "seccomp", rules: []Rule{ownListener, pass(standalone)}},
		{names: "bpf", rules: []Rule{refuse(unix.EPERM, "names descriptors in memory")}},
		{names: "pidfd_getfd", rules: []Rule{refuse(filecaps.ENOTCAPABLE, pastFD)}},
		{names: "io_uring_setup io_uring_enter io_uring_register io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents",
			rules: []Rule{refuse(unix.ENOSYS, pastFD+"; as on a kernel without it, libraries fall back to plain calls")}},
	}
}
