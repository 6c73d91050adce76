package syscalls

import "golang.org/x/sys/unix"

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

	noNamespaces = "a new namespace gives back the privileges that were dropped, and most of the kernel's privileged code"
	cwdOfProcess = "the supervisor keeps one working directory for each process"

	queryPersonality = 0xffffffff
	// tamePersonality are the bits of a personality that change addresses and
	// names only, and weaken nothing: PER_LINUX32, UNAME26, ADDR_LIMIT_32BIT,
	// ADDR_LIMIT_3GB.
	tamePersonality = 0x0000008 | 0x0020000 | 0x0800000 | 0x8000000

	prSetVMA     = 0x53564d41
	prGetAuxv    = 0x41555856
	prSetPtracer = 0x59616d61
	prLast       = unix.PR_SET_CFI // the newest option known here

	rlimitLocks = 10 // RLIMIT_LOCKS
)

const limitLabel = "the kernel ignores this limit; the supervisor keeps the label of a process's working directory there"

// ownListener refuses a filter with a listener as the kernel does, which does so only
// while there is the one before.
var ownListener = refuse(unix.EBUSY, "whoever listens above a filter whose listener is gone answers what that one asks; a process has one listener").
	where(is("SECCOMP_SET_MODE_FILTER", 0, unix.SECCOMP_SET_MODE_FILTER),
		hasAny("SECCOMP_FILTER_FLAG_NEW_LISTENER", 1, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER))

var processGroups = func() []group {
	return []group{
		{"fork vfork", "Makes a process.", []Rule{
			pass("the filter and Landlock's rules are inherited"),
		}},
		{"clone", "Makes a process or thread.", []Rule{
			refuse(unix.EPERM, noNamespaces).where(hasAny("CLONE_NEW*", 0, newNamespaces)),
			refuse(unix.EPERM, cwdOfProcess+", so two must not share theirs").when(landlock).
				where(part("CLONE_FS without CLONE_THREAD", 0, unix.CLONE_FS|unix.CLONE_THREAD, unix.CLONE_FS)),
			pass("the filter is inherited whatever the flags; CLONE_UNTRACED and CLONE_PARENT escape tracers, not filters"),
		}},
		{"clone3", "Makes a process or thread; the flags are in memory.", []Rule{
			refuse(unix.ENOSYS, "a filter can't see the flags; as on a kernel before 5.3, libraries fall back to clone"),
		}},
		{"unshare", "Leaves what is shared with other processes.", []Rule{
			refuse(unix.EPERM, cwdOfProcess+", so threads must not have their own").when(landlock).
				where(hasAny("CLONE_FS", 0, unix.CLONE_FS)),
			pass("descriptors, directory and semaphores of one's own").where(onlyBits("no more than CLONE_FILES, CLONE_FS, CLONE_SYSVSEM, "+
				"CLONE_VM, CLONE_SIGHAND, CLONE_THREAD", 0, unix.CLONE_FILES|unix.CLONE_FS|unix.CLONE_SYSVSEM|
				unix.CLONE_VM|unix.CLONE_SIGHAND|unix.CLONE_THREAD)),
			refuse(unix.EPERM, noNamespaces),
		}},
		{"setns", "Joins a namespace.", []Rule{refuse(unix.EPERM, noNamespaces)}},
		{"exit exit_group wait4 waitid set_tid_address getpid getppid gettid getpgrp getpgid getsid setpgid setsid",
			"Ends, waits, and names processes and groups.", []Rule{
				pass("the kernel limits groups and sessions to one's own children"),
			}},
		{"getuid geteuid getgid getegid getresuid getresgid getgroups capget", "Reads credentials.", []Rule{pass("")}},
		{"setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset", "Gives up credentials.", []Rule{
			pass("no privilege can be gained after no_new_privs; the supervisor acts with the caller's credentials of the moment"),
		}},
		{"umask getrusage getcpu getrandom uname sysinfo", "Reads about the process and the machine.", []Rule{pass("")}},
		{"getrlimit setrlimit", "Reads and sets own limits.", []Rule{
			ask(limitLabel).when(landlock).where(is("RLIMIT_LOCKS", 0, rlimitLocks)),
			pass(""),
		}},
		{"prlimit64", "Reads and sets limits of a process.", []Rule{
			refuse(unix.EPERM, "any process of the same user could be meant").when(landlock).where(isNot("another process", 0, 0)),
			ask(limitLabel).when(landlock).where(is("RLIMIT_LOCKS", 1, rlimitLocks)),
			refuse(unix.EPERM, "the supervisor is in the same PID namespace and has the same user: with no descriptor or no time left it answers nobody").
				when(namespaces).where(isNot("another process", 0, 0), notNull("a new limit", 2)),
			pass("its own limits, or under the namespaces engine a look at those of processes in its PID namespace"),
		}},
		{"prctl", "Sets up the process.", []Rule{
			refuse(0, "the supervisor must be able to read names from the program's memory, so it stays readable and is told otherwise").
				when(landlock).where(is("PR_SET_DUMPABLE", 0, unix.PR_SET_DUMPABLE)),
			refuse(unix.EPERM, "would let /proc/PID/exe and the memory map tell lies").where(is("PR_SET_MM", 0, unix.PR_SET_MM)),
			refuse(unix.EINVAL, "lets one user of the machine idle whole cores; the answer of a kernel without it").
				where(is("PR_SCHED_CORE", 0, unix.PR_SCHED_CORE)),
			pass("PR_SET_PTRACER only loosens what others may do to the program; Landlock still refuses them").
				where(is("PR_SET_VMA, PR_GET_AUXV, PR_SET_PTRACER", 0, prSetVMA, prGetAuxv, prSetPtracer)),
			refuse(unix.EINVAL, "an option newer than this table").where(above("beyond PR_SET_CFI", 0, prLast)),
			pass("concerns the process itself; PR_SET_SECCOMP and PR_SET_NO_NEW_PRIVS only restrict it further. Under the " +
				"namespaces engine the supervisor holds CAP_SYS_PTRACE over the program and reads it even when it is not dumpable"),
		}},
		{"arch_prctl", "Sets thread registers.", []Rule{pass("")}},
		{"seccomp", "Restricts the process further.", []Rule{
			ownListener,
			pass("a later filter can only refuse more"),
		}},
		{"landlock_create_ruleset landlock_add_rule landlock_restrict_self", "Restricts the process further.", []Rule{
			pass("a later ruleset can only refuse more"),
		}},
		{"lsm_get_self_attr lsm_list_modules", "Reads security attributes.", []Rule{pass("")}},
		{"lsm_set_self_attr", "Sets security attributes.", []Rule{
			refuse(unix.EPERM, "would choose another profile than the one the sandbox started under"),
		}},
		{"personality", "Chooses how old a Linux to be.", []Rule{
			pass("only asks").where(is("a query", 0, queryPersonality)),
			refuse(unix.EPERM, "READ_IMPLIES_EXEC, MMAP_PAGE_ZERO and addresses that are not random weaken this program "+
				"and those it starts (gdb goes on without); foreign personalities change what calls mean").
				where(hasAny("other than PER_LINUX, PER_LINUX32, UNAME26, ADDR_LIMIT_*", 0, ^uint64(tamePersonality))),
			pass("changes the version and machine that uname tells; setarch needs it"),
		}},
		{"rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigreturn sigaltstack", "Handles own signals.",
			[]Rule{pass("")}},
		{"uretprobe uprobe", "Made by the kernel's own probe trampolines.", []Rule{
			pass("refusing would kill a program that someone outside traces; called from elsewhere it is an error"),
		}},
	}
}

const (
	outsiders = "any process of the same user could be meant"
	ownGroup  = "the program's process group is the one it was started in and has members outside"
	ownPIDs   = "only processes of the sandbox have numbers in its PID namespace"
	traceRule = "the kernel asks whether tracing is allowed, and Landlock keeps tracing inside the sandbox"
	noTrace   = "nothing keeps it to processes of the sandbox"
	scheduler = "only processes of the sandbox have numbers in its PID namespace; alone, a program schedules itself"
)

// signalRules are the rules of calls that signal processes by number.
func signalRules() []Rule {
	return []Rule{
		ask("the supervisor sends it, if the receiver is in the sandbox").when(and(landlock, noSignalScope)),
		pass("Landlock keeps signals inside the sandbox, or only processes of the sandbox have numbers in its PID namespace"),
	}
}

// selfOnly are the rules of calls that change the scheduling of process arg 0.
func selfOnly() []Rule {
	return []Rule{
		refuse(unix.EPERM, outsiders).when(landlock).where(isNot("another process or thread", 0, 0)),
		pass(scheduler),
	}
}

var peerGroups = func() []group {
	return []group{
		{"kill", "Signals processes and groups.", append([]Rule{
			ask(ownGroup).when(and(namespaces, noSignalScope)).where(is("pid 0", 0, 0)),
		}, signalRules()...)},
		{"tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal", "Signals a process or thread.", signalRules()},
		{"pidfd_open", "Makes a descriptor of a process.", []Rule{
			pass("it serves only to wait and to signal, which is decided there"),
		}},
		{"pidfd_getfd", "Takes a descriptor out of another process.", []Rule{
			refuse(unix.EPERM, "an exiting process can be robbed past the tracing check on some kernels"),
		}},
		{"ptrace", "Traces a process.", []Rule{
			refuse(unix.EPERM, noTrace).when(noPtraceScope),
			pass(traceRule + "; a tracer changes calls before the filter sees them"),
		}},
		{"kcmp", "Compares what two processes hold.", []Rule{
			refuse(unix.EPERM, noTrace).when(noPtraceScope),
			pass(traceRule),
		}},
		{"get_robust_list", "Reads a thread's list of locks.", []Rule{
			pass("its own").where(is("pid 0", 0, 0)),
			refuse(unix.EPERM, noTrace).when(noPtraceScope),
			pass(traceRule),
		}},
		{"setpriority", "Sets niceness.", []Rule{
			pass("its own").where(is("PRIO_PROCESS", 0, unix.PRIO_PROCESS), is("0", 1, 0)),
			refuse(unix.EPERM, outsiders).when(landlock),
			refuse(unix.EPERM, ownGroup).where(is("PRIO_PGRP", 0, unix.PRIO_PGRP), is("0", 1, 0)),
			pass(ownPIDs),
		}},
		{"ioprio_set", "Sets input/output priority.", []Rule{
			pass("its own").where(is("IOPRIO_WHO_PROCESS", 0, 1), is("0", 1, 0)),
			refuse(unix.EPERM, outsiders).when(landlock),
			refuse(unix.EPERM, ownGroup).where(is("IOPRIO_WHO_PGRP", 0, 2), is("0", 1, 0)),
			pass(ownPIDs),
		}},
		{"sched_setparam sched_setscheduler sched_setattr sched_setaffinity", "Schedules a process or thread.", selfOnly()},
		{"getpriority ioprio_get sched_getparam sched_getscheduler sched_getattr sched_getaffinity sched_rr_get_interval " +
			"sched_get_priority_max sched_get_priority_min", "Reads scheduling.", []Rule{
			pass("changes nothing; tells at most that a process exists"),
		}},
	}
}
