package sysno

import (
	"strings"
	"sync"
)

// Kind says what an argument register holds. What matters is whether the
// register is the argument or only says where in memory the argument is: memory
// can change between a look and the call.
type Kind byte

// The kinds of argument.
const (
	Int     Kind = 'i' // a number: count, size, identifier, mode, command
	Flags   Kind = 'o' // bits
	FD      Kind = 'f' // a descriptor
	DirFD   Kind = 'd' // a descriptor, or AT_FDCWD, that a name is relative to
	Path    Kind = 'p' // the address of a name
	Pointer Kind = '*' // the address of anything else
	Either  Kind = '?' // a number or an address, as another argument decides
)

// String returns the word used for k in the documentation.
func (k Kind) String() string {
	switch k {
	case Int:
		return "int"
	case Flags:
		return "flags"
	case FD:
		return "fd"
	case DirFD:
		return "dirfd"
	case Path:
		return "path"
	case Pointer:
		return "ptr"
	case Either:
		return "any"
	}
	return "invalid"
}

// Args returns the kinds of the arguments of the call called name, in register
// order. It is empty for calls that take none and for calls that no kernel
// implements.
func Args(name string) []Kind { return kinds()[name] }

// Described reports whether the arguments of the call called name are known.
func Described(name string) bool {
	_, ok := kinds()[name]
	return ok
}

var kinds = sync.OnceValue(func() map[string][]Kind {
	out := make(map[string][]Kind)
	for _, s := range signatures {
		for _, name := range strings.Fields(s.names) {
			out[name] = []Kind(s.kinds)
		}
	}
	return out
})

// signatures lists the calls by the kinds of their arguments. Where the two
// architectures order the arguments of a call differently (clone), the kinds
// are those both have in common.
var signatures = []struct{ kinds, names string }{
	// No argument, or no implementation.
	{"", `fork vfork getpid getppid gettid getuid geteuid getgid getegid getpgrp setsid sched_yield pause
		munlockall sync vhangup restart_syscall rt_sigreturn inotify_init uretprobe uprobe rseq_slice_yield
		_sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall tuxcall security
		epoll_ctl_old epoll_wait_old vserver set_thread_area get_thread_area lookup_dcookie`},

	// Descriptors.
	{"f", "close dup fsync fdatasync syncfs fchdir"},
	{"ff", "dup2"},
	{"ffo", "dup3"},
	{"iio", "close_range"},
	{"fii", "lseek"},
	{"f*i", "read write readv writev getdents getdents64"},
	{"f*ii", "pread64 pwrite64"},
	{"f*iii", "preadv pwritev"},
	{"f*iiio", "preadv2 pwritev2"},
	{"ff*i", "sendfile"},
	{"f*f*io", "splice copy_file_range"},
	{"ffio", "tee"},
	{"f*io", "vmsplice"},
	{"fi?", "ioctl fcntl"},
	{"fo", "flock"},
	{"fi", "ftruncate fchmod listen shutdown"},
	{"fiii", "fallocate fadvise64 readahead"},
	{"fiio", "sync_file_range"},
	{"f**o", "cachestat"},
	{"f*", "fstat fstatfs"},
	{"*", "pipe"},
	{"*o", "pipe2 memfd_create"},

	// Names.
	{"poi", "open"},
	{"dpoi", "openat"},
	{"dp*i", "openat2"},
	{"pi", "creat mkdir chmod truncate"},
	{"p", "rmdir unlink chdir chroot uselib swapoff acct mq_unlink"},
	{"p*", "stat lstat statfs utime utimes"},
	{"dp*o", "newfstatat utimensat"},
	{"dpoo*", "statx"},
	{"po", "access umount2 swapon"},
	{"dpo", "faccessat unlinkat open_tree fspick"},
	{"dpoo", "faccessat2"},
	{"p*i", "readlink"},
	{"dpi", "mkdirat fchmodat"},
	{"dpio", "fchmodat2"},
	{"pii", "mknod chown lchown"},
	{"dpii", "mknodat"},
	{"dpiio", "fchownat"},
	{"fii", "fchown"},
	{"pp", "rename link symlink pivot_root"},
	{"dpdp", "renameat"},
	{"dpdpo", "renameat2 linkat move_mount"},
	{"pdp", "symlinkat"},
	{"dp*", "futimesat"},
	{"dp*i", "readlinkat"},
	{"*i", "getcwd sethostname setdomainname"},
	{"fpo", "inotify_add_watch"},
	{"fi", "inotify_rm_watch"},
	{"o", "inotify_init1"},
	{"oo", "fanotify_init"},
	{"foodp", "fanotify_mark"},
	{"dp**o", "name_to_handle_at"},
	{"f*o", "open_by_handle_at"},
	{"dp*io", "file_getattr file_setattr"},
	{"p**io", "setxattr lsetxattr"},
	{"f**io", "fsetxattr"},
	{"p**i", "getxattr lgetxattr"},
	{"f**i", "fgetxattr"},
	{"p*i", "listxattr llistxattr"},
	{"f*i", "flistxattr"},
	{"p*", "removexattr lremovexattr"},
	{"f*", "fremovexattr"},
	{"dpo**i", "setxattrat getxattrat"},
	{"dpo*i", "listxattrat"},
	{"dpo*", "removexattrat"},
	{"p**", "execve"},
	{"dp**o", "execveat"},

	// Mounts.
	{"pppo*", "mount"},
	{"po", "fsopen"},
	{"fi**i", "fsconfig"},
	{"foo", "fsmount"},
	{"dpo*i", "mount_setattr open_tree_attr"},
	{"**io", "statmount listmount listns"},

	// Waiting.
	{"*ii", "poll"},
	{"i****", "select"},
	{"i*****", "pselect6"},
	{"*i**i", "ppoll"},
	{"i", "epoll_create"},
	{"o", "epoll_create1"},
	{"fif*", "epoll_ctl"},
	{"f*ii", "epoll_wait"},
	{"f*ii*i", "epoll_pwait"},
	{"f*i**i", "epoll_pwait2"},
	{"i", "eventfd"},
	{"io", "eventfd2 timerfd_create pidfd_open"},
	{"f*i", "signalfd"},
	{"f*io", "signalfd4"},
	{"fo**", "timerfd_settime"},
	{"f*", "timerfd_gettime"},
	{"i*", "io_setup"},
	{"i", "io_destroy"},
	{"ii*", "io_submit"},
	{"i**", "io_cancel"},
	{"iii**", "io_getevents"},
	{"iii***", "io_pgetevents"},
	{"i*", "io_uring_setup"},
	{"fiio*i", "io_uring_enter"},
	{"fi*i", "io_uring_register"},
	{"o", "memfd_secret userfaultfd"},

	// Sockets.
	{"iii", "socket"},
	{"iii*", "socketpair"},
	{"f*i", "bind connect"},
	{"f**", "accept getsockname getpeername"},
	{"f**o", "accept4"},
	{"f*io*i", "sendto"},
	{"f*io**", "recvfrom"},
	{"f*o", "sendmsg recvmsg"},
	{"f*io", "sendmmsg"},
	{"f*io*", "recvmmsg"},
	{"fii*i", "setsockopt"},
	{"fii**", "getsockopt"},

	// Memory.
	{"*iioii", "mmap"},
	{"*i", "munmap mlock munlock"},
	{"*ii", "mprotect madvise"},
	{"*iio*", "mremap"},
	{"*io", "msync mlock2 mseal map_shadow_stack"},
	{"*i*", "mincore"},
	{"*", "brk"},
	{"o", "mlockall"},
	{"*iiio", "remap_file_pages"},
	{"*ii*io", "mbind"},
	{"i*i", "set_mempolicy"},
	{"**i*o", "get_mempolicy"},
	{"*iio", "set_mempolicy_home_node"},
	{"ii**", "migrate_pages"},
	{"ii***o", "move_pages"},
	{"*iii", "pkey_mprotect"},
	{"oi", "pkey_alloc"},
	{"i", "pkey_free"},
	{"ooi", "membarrier"},
	{"f*iio", "process_madvise"},
	{"fo", "process_mrelease"},
	{"i*i*io", "process_vm_readv process_vm_writev"},

	// Processes and threads.
	{"o****", "clone"},
	{"*i", "clone3"},
	{"i", "exit exit_group alarm umask"},
	{"i*o*", "wait4"},
	{"ii*o*", "waitid"},
	{"ii", "kill tkill"},
	{"iii", "tgkill"},
	{"ii*", "rt_sigqueueinfo"},
	{"iii*", "rt_tgsigqueueinfo"},
	{"fi*o", "pidfd_send_signal"},
	{"ffo", "pidfd_getfd"},
	{"i**i", "rt_sigaction rt_sigprocmask"},
	{"*i", "rt_sigpending rt_sigsuspend set_robust_list"},
	{"***i", "rt_sigtimedwait"},
	{"**", "sigaltstack"},
	{"i**", "get_robust_list"},
	{"*", "set_tid_address"},
	{"*ii**i", "futex"},
	{"*iio", "futex_wake"},
	{"*iio*i", "futex_wait"},
	{"*oii", "futex_requeue"},
	{"*io*i", "futex_waitv"},
	{"*ioi", "rseq"},
	{"i?**", "ptrace"},
	{"iii??", "kcmp"},
	{"i????", "prctl"},
	{"i?", "arch_prctl"},
	{"i*i", "modify_ldt"},
	{"io*", "seccomp"},
	{"i", "personality"},
	{"fo", "setns"},
	{"o", "unshare"},
	{"ii", "setpgid setreuid setregid getpriority ioprio_get"},
	{"i", "getpgid getsid setuid setgid setfsuid setfsgid"},
	{"iii", "setresuid setresgid setpriority ioprio_set"},
	{"***", "getresuid getresgid"},
	{"i*", "getgroups setgroups"},
	{"**", "capget capset"},
	{"i*", "getrlimit setrlimit getrusage sched_setparam sched_getparam sched_rr_get_interval"},
	{"ii**", "prlimit64"},
	{"ii*", "sched_setscheduler sched_setaffinity sched_getaffinity"},
	{"i", "sched_getscheduler sched_get_priority_max sched_get_priority_min"},
	{"i*o", "sched_setattr"},
	{"i*io", "sched_getattr"},
	{"**", "getcpu"},

	// Time.
	{"**", "gettimeofday settimeofday nanosleep"},
	{"*", "time times adjtimex"},
	{"i*", "getitimer clock_gettime clock_settime clock_getres clock_adjtime timer_gettime"},
	{"i**", "setitimer timer_create"},
	{"io**", "clock_nanosleep timer_settime"},
	{"i", "timer_getoverrun timer_delete"},

	// System V and POSIX messages.
	{"iio", "shmget"},
	{"i*o", "shmat"},
	{"*", "shmdt"},
	{"ii*", "shmctl msgctl"},
	{"iio", "semget"},
	{"i*i", "semop"},
	{"i*i*", "semtimedop"},
	{"iii?", "semctl"},
	{"io", "msgget"},
	{"i*io", "msgsnd"},
	{"i*iio", "msgrcv"},
	{"poi*", "mq_open"},
	{"f*ii*", "mq_timedsend"},
	{"f*i**", "mq_timedreceive"},
	{"f*", "mq_notify"},
	{"f**", "mq_getsetattr"},

	// The machine.
	{"*", "uname sysinfo"},
	{"*io", "getrandom"},
	{"i*i", "syslog bpf"},
	{"iii*", "reboot"},
	{"i", "iopl"},
	{"iii", "ioperm"},
	{"ii*o", "kexec_load"},
	{"ffi*o", "kexec_file_load"},
	{"*i*", "init_module"},
	{"f*o", "finit_module"},
	{"*o", "delete_module"},
	{"ipi*", "quotactl"},
	{"fii*", "quotactl_fd"},
	{"ii", "sysfs"},
	{"i*", "ustat"},
	{"*iifo", "perf_event_open"},
	{"**iii", "add_key"},
	{"***i", "request_key"},
	{"i????", "keyctl"},
	{"*io", "landlock_create_ruleset"},
	{"fi*o", "landlock_add_rule"},
	{"fo", "landlock_restrict_self"},
	{"i**o", "lsm_get_self_attr"},
	{"i*io", "lsm_set_self_attr"},
	{"**o", "lsm_list_modules"},
}
