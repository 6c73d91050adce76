package slot

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

const testPID = 4711

// TestClassified: every number of every architecture is in the table, and nothing
// else is.
func TestClassified(t *testing.T) {
	names := sysno.Names()
	for _, name := range names {
		if _, ok := modeTable()[name]; !ok {
			t.Errorf("%s is not classified", name)
		}
	}
	for name := range modeTable() {
		if !slices.Contains(names, name) {
			t.Errorf("%s is classified, and no call", name)
		}
	}
}

// TestNamesAreJudged: a call that takes a name, or a directory for one, never just
// passes.
func TestNamesAreJudged(t *testing.T) {
	for _, name := range sysno.Names() {
		kinds := sysno.Args(name)
		r := modeTable()[name]
		if slices.Contains(kinds, sysno.Path) && len(r.refused) == 0 {
			t.Errorf("%s takes a path and passes", name)
		}
		for arg, kind := range kinds {
			if kind != sysno.DirFD || refusedInMode(name) {
				continue
			}
			for _, cwd := range []uint64{atCWD, 0xffffffff<<32 | atCWD, 5<<32 | atCWD} {
				args := [6]uint64{ptr, ptr, ptr, ptr, ptr, ptr}
				args[arg] = cwd
				if got := decide(r.refused, args); got != filecaps.ECAPMODE {
					t.Errorf("%s with AT_FDCWD in %d: %v", name, arg, got)
				}
			}
			if len(r.unseen) == 0 {
				t.Errorf("%s looks names up and needs nobody to ask", name)
			}
		}
	}
}

const eC, eN = filecaps.ECAPMODE, filecaps.ENOTCAPABLE

// modeCases are calls with the answer of capability mode, and of its static form.
var modeCases = []struct {
	name         string
	args         [6]uint64
	mode, static unix.Errno
}{
	{"read", [6]uint64{3}, 0, 0},
	{"chroot", [6]uint64{ptr}, eC, eC},
	{"fchdir", [6]uint64{3}, eC, eC},
	{"getcwd", [6]uint64{ptr}, eC, eC},
	{"execve", [6]uint64{ptr}, eC, eC},
	{"execveat", [6]uint64{atCWD, ptr, ptr, ptr, unix.AT_EMPTY_PATH}, eC, eC},
	{"execveat", [6]uint64{3, ptr, ptr, ptr, 0}, 0, eC},
	{"execveat", [6]uint64{3, ptr, ptr, ptr, unix.AT_EMPTY_PATH}, 0, eC},
	{"openat", [6]uint64{3, ptr}, 0, eN},
	{"openat", [6]uint64{atCWD, ptr}, eC, eC},
	{"openat2", [6]uint64{7<<32 | atCWD, ptr}, eC, eC},
	{"linkat", [6]uint64{3, ptr, 4, ptr}, 0, eN},
	{"linkat", [6]uint64{3, ptr, atCWD, ptr}, eC, eC},
	{"renameat2", [6]uint64{atCWD, ptr, 4, ptr}, eC, eC},
	{"symlinkat", [6]uint64{ptr, atCWD, ptr}, eC, eC},
	{"symlinkat", [6]uint64{atCWD, 3, ptr}, 0, eN},
	{"newfstatat", [6]uint64{3, ptr}, 0, eN},
	{"newfstatat", [6]uint64{3, null, ptr, unix.AT_EMPTY_PATH}, 0, 0},
	{"statx", [6]uint64{3, null, unix.AT_EMPTY_PATH}, 0, 0},
	{"utimensat", [6]uint64{3, null, ptr}, 0, 0},
	{"utimensat", [6]uint64{3, 1 << 32, ptr}, 0, eN},
	{"utimensat", [6]uint64{atCWD, null, ptr}, eC, eC},
	{"name_to_handle_at", [6]uint64{3, ptr}, eC, eC},
	{"open_by_handle_at", [6]uint64{3, ptr}, eC, eC},
	{"fanotify_mark", [6]uint64{3, unix.FAN_MARK_ADD, 0, 4, ptr}, 0, eN},
	{"fanotify_mark", [6]uint64{3, unix.FAN_MARK_ADD, 0, 4, null}, 0, 0},
	{"fanotify_mark", [6]uint64{3, unix.FAN_MARK_ADD | unix.FAN_MARK_MOUNT, 0, 4, null}, eC, eC},
	{"fanotify_mark", [6]uint64{3, unix.FAN_MARK_ADD, 0, atCWD, ptr}, eC, eC},
	{"inotify_add_watch", [6]uint64{3, ptr}, eC, eC},
	{"connect", [6]uint64{3, ptr}, eC, eC},
	{"bind", [6]uint64{3, ptr}, eC, eC},
	{"listen", [6]uint64{3}, 0, 0},
	{"accept4", [6]uint64{3}, 0, 0},
	{"sendto", [6]uint64{3, ptr, 1, 0, null}, 0, 0},
	{"sendto", [6]uint64{3, ptr, 1, 0, ptr}, eC, eC},
	{"sendto", [6]uint64{3, ptr, 1, 0, 1 << 32}, eC, eC},
	{"sendmsg", [6]uint64{3, ptr}, 0, eC},
	{"recvmsg", [6]uint64{3, ptr}, 0, 0},
	{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}, 0, 0},
	{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}, 0, 0},
	{"socket", [6]uint64{unix.AF_UNIX, unix.SOCK_RAW}, eC, eC},
	{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 0}, 0, 0},
	{"socket", [6]uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP}, 0, 0},
	{"socket", [6]uint64{unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK, unix.IPPROTO_UDP}, 0, 0},
	{"socket", [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, eC, eC},
	{"socket", [6]uint64{unix.AF_INET, unix.SOCK_RAW, 0}, eC, eC},
	{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 262}, eC, eC},
	{"socket", [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, eC, eC},
	{"socket", [6]uint64{unix.AF_PACKET, unix.SOCK_DGRAM, 0}, eC, eC},
	{"socket", [6]uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, eC, eC},
	{"socketpair", [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, 0, 0},
	{"socketpair", [6]uint64{unix.AF_TIPC, unix.SOCK_STREAM}, eC, eC},
	{"ioctl", [6]uint64{3, unix.TCGETS}, 0, 0},
	{"ioctl", [6]uint64{3, 0x541b}, 0, 0},
	{"ioctl", [6]uint64{3, 0x8912}, eC, eC},        // SIOCGIFCONF
	{"ioctl", [6]uint64{3, high | 0x8914}, eC, eC}, // SIOCSIFFLAGS
	{"ioctl", [6]uint64{3, 0x8b01}, eC, eC},        // SIOCGIWNAME
	{"ioctl", [6]uint64{3, 0x89e0}, eC, eC},        // SIOCUNIXFILE
	{"ioctl", [6]uint64{3, 0x8901}, 0, eC},         // FIOSETOWN
	{"ioctl", [6]uint64{3, 0x80108906}, 0, 0},      // SIOCGSTAMP_NEW
	{"ioctl", [6]uint64{3, 0xff03}, eC, eC},        // PIDFD_GET_MNT_NAMESPACE
	{"ioctl", [6]uint64{3, high | 0xc000ff0a}, eC, eC},
	{"ioctl", [6]uint64{3, 0xc040ff0b}, 0, 0},   // PIDFD_GET_INFO
	{"ioctl", [6]uint64{3, 0xc050ff0b}, 0, 0},   // the same, of a later kernel
	{"ioctl", [6]uint64{3, 0xff0c}, eC, eC},     // what comes after it
	{"ioctl", [6]uint64{3, 0xff00}, eC, eC},     //
	{"ioctl", [6]uint64{3, 0xffff}, eC, eC},     //
	{"ioctl", [6]uint64{3, 0xb701}, eC, eC},     // NS_GET_USERNS
	{"ioctl", [6]uint64{3, 0x8004b708}, eC, eC}, // NS_GET_PID_IN_PIDNS
	{"ioctl", [6]uint64{3, 0x8010b70b}, eC, eC}, // NS_MNT_GET_NEXT
	{"ioctl", [6]uint64{3, 0xb6ff}, 0, 0},
	{"ioctl", [6]uint64{3, 0xb800}, 0, 0},
	{"ioctl", [6]uint64{3, unix.FICLONE}, 0, 0},
	{"ioctl", [6]uint64{3, unix.FICLONERANGE}, 0, 0},
	{"ioctl", [6]uint64{3, unix.FIDEDUPERANGE}, 0, 0},
	{"ioctl", [6]uint64{3, 0xd0009411}, eC, eC},        // BTRFS_IOC_TREE_SEARCH
	{"ioctl", [6]uint64{3, 0xd0009412}, eC, eC},        // BTRFS_IOC_INO_LOOKUP
	{"ioctl", [6]uint64{3, high | 0x50009401}, eC, eC}, // BTRFS_IOC_SNAP_CREATE
	{"ioctl", [6]uint64{3, 0x940f}, eC, eC},            // BTRFS_IOC_SNAP_DESTROY
	{"getsockopt", [6]uint64{3, unix.SOL_SOCKET, unix.SO_ERROR}, 0, 0},
	{"getsockopt", [6]uint64{3, unix.SOL_SOCKET, unix.SO_PEERPIDFD}, eC, eC},
	{"getsockopt", [6]uint64{3, unix.SOL_TCP, unix.TCP_INFO}, 0, 0},
	{"getsockopt", [6]uint64{3, unix.SOL_IP, unix.IP_TOS}, 0, 0},
	{"getsockopt", [6]uint64{3, unix.SOL_IP, 63}, 0, 0},
	{"getsockopt", [6]uint64{3, unix.SOL_IP, 64}, eC, eC}, // IPT_SO_GET_INFO
	{"getsockopt", [6]uint64{3, unix.SOL_IP, 67}, eC, eC}, // IPT_SO_GET_REVISION_TARGET
	{"getsockopt", [6]uint64{3, unix.SOL_IP, 80}, 0, 0},   // SO_ORIGINAL_DST
	{"getsockopt", [6]uint64{3, unix.SOL_IP, 81}, eC, eC},
	{"getsockopt", [6]uint64{3, high, high | 64}, eC, eC},
	{"getsockopt", [6]uint64{3, unix.SOL_IPV6, unix.IPV6_TCLASS}, 0, 0},
	{"getsockopt", [6]uint64{3, unix.SOL_IPV6, 64}, eC, eC},  // IP6T_SO_GET_INFO
	{"getsockopt", [6]uint64{3, unix.SOL_IPV6, 69}, eC, eC},  // IP6T_SO_GET_REVISION_TARGET
	{"getsockopt", [6]uint64{3, unix.SOL_IPV6, 80}, 0, 0},    // IP6T_SO_ORIGINAL_DST
	{"getsockopt", [6]uint64{3, unix.SOL_IPV6, 206}, eC, eC}, // MRT6_VERSION
	{"setsockopt", [6]uint64{3, unix.SOL_SOCKET, unix.SO_RCVBUF}, 0, 0},
	{"setsockopt", [6]uint64{3, unix.SOL_SOCKET, unix.SO_PASSPIDFD}, eC, eC},
	{"setsockopt", [6]uint64{3, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE}, 0, 0},
	{"setsockopt", [6]uint64{3, unix.SOL_IP, 65}, eC, eC},    // IPT_SO_SET_ADD_COUNTERS
	{"setsockopt", [6]uint64{3, unix.SOL_IP, 96}, eC, eC},    // ARPT_SO_SET_REPLACE
	{"setsockopt", [6]uint64{3, unix.SOL_IP, 128}, eC, eC},   // EBT_SO_SET_ENTRIES
	{"setsockopt", [6]uint64{3, unix.SOL_IP, 200}, eC, eC},   // MRT_INIT
	{"setsockopt", [6]uint64{3, unix.SOL_IP, 1157}, eC, eC},  // IP_VS_SO_SET_FLUSH
	{"setsockopt", [6]uint64{3, high | 41, 65}, eC, eC},      // IP6T_SO_SET_ADD_COUNTERS
	{"setsockopt", [6]uint64{3, unix.SOL_IPV6, 200}, eC, eC}, // MRT6_INIT
	{"setsockopt", [6]uint64{3, unix.SOL_IPV6, unix.IPV6_FREEBIND}, 0, 0},
	{"setsockopt", [6]uint64{3, unix.SOL_IPV6, unix.IPV6_AUTOFLOWLABEL}, 0, 0},
	{"fcntl", [6]uint64{3, unix.F_SETOWN, 0}, 0, 0},
	{"fcntl", [6]uint64{3, high | unix.F_SETOWN, high}, 0, 0},
	{"fcntl", [6]uint64{3, unix.F_SETOWN, testPID}, 0, eC}, // of a child's parent, too
	{"fcntl", [6]uint64{3, unix.F_SETOWN, ^uint64(testPID - 1)}, 0, eC},
	{"fcntl", [6]uint64{3, unix.F_SETOWN, 1}, 0, eC},
	{"fcntl", [6]uint64{3, unix.F_SETOWN_EX, ptr}, 0, eC},
	{"kill", [6]uint64{testPID, 9}, 0, eC},
	{"kill", [6]uint64{0, 9}, 0, eC},
	{"kill", [6]uint64{everyBit, 9}, 0, eC},
	{"kill", [6]uint64{1, 0}, 0, eC},
	{"tgkill", [6]uint64{testPID, 5, 23}, 0, 0},
	{"tgkill", [6]uint64{testPID + 1, 5, 23}, 0, eC},
	{"tkill", [6]uint64{testPID, 9}, 0, eC},
	{"rt_sigqueueinfo", [6]uint64{1, 9, ptr}, 0, eC},
	{"tgkill", [6]uint64{testPID, 5, 9}, 0, eC},
	{"rt_tgsigqueueinfo", [6]uint64{testPID, 9, 9, ptr}, 0, eC},
	{"pidfd_send_signal", [6]uint64{3}, 0, 0},
	{"pidfd_open", [6]uint64{testPID}, 0, eC},
	{"pidfd_getfd", [6]uint64{3, 4}, eC, eC},
	{"ptrace", [6]uint64{0}, eC, eC},
	{"setpgid", [6]uint64{0, 0}, eC, eC},
	{"getpgid", [6]uint64{0}, 0, 0},
	{"getsid", [6]uint64{1}, 0, eC},
	{"sched_getaffinity", [6]uint64{0}, 0, 0},
	{"sched_setaffinity", [6]uint64{testPID}, 0, eC},
	{"prlimit64", [6]uint64{0, 7, ptr}, 0, 0},
	{"prlimit64", [6]uint64{1, 7, ptr}, 0, eC},
	{"prlimit64", [6]uint64{0, unix.RLIMIT_CORE, null, ptr}, 0, 0},
	{"prlimit64", [6]uint64{0, unix.RLIMIT_CORE, ptr}, eC, eC},
	{"prlimit64", [6]uint64{testPID, high | unix.RLIMIT_CORE, 1 << 32}, eC, eC},
	{"setrlimit", [6]uint64{unix.RLIMIT_CORE, ptr}, eC, eC},
	{"setrlimit", [6]uint64{unix.RLIMIT_NOFILE, ptr}, 0, 0},
	{"getrlimit", [6]uint64{unix.RLIMIT_CORE, ptr}, 0, 0},
	{"setpriority", [6]uint64{unix.PRIO_PROCESS, 0, 5}, 0, 0},
	{"setpriority", [6]uint64{unix.PRIO_PGRP, 0, 5}, eC, eC},
	{"getpriority", [6]uint64{unix.PRIO_PROCESS, 1}, eC, eC},
	{"ioprio_set", [6]uint64{1, 0}, 0, 0},
	{"ioprio_set", [6]uint64{2, 0}, eC, eC},
	{"clone", [6]uint64{unix.CLONE_VM | unix.CLONE_VFORK | 17}, 0, 0},
	{"clone", [6]uint64{unix.CLONE_NEWUSER | 17}, eC, eC},
	{"clone", [6]uint64{unix.CLONE_PARENT}, eC, eC},
	{"clone", [6]uint64{high | unix.CLONE_PARENT | unix.CLONE_VM | 17}, eC, eC},
	{"clone", [6]uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
		unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID}, 0, 0}, // pthread_create
	{"clone", [6]uint64{unix.CLONE_FILES | 17}, 0, eN},
	{"clone", [6]uint64{high | unix.CLONE_FILES | unix.CLONE_VM | unix.CLONE_VFORK | 17}, 0, eN},
	{"clone", [6]uint64{unix.CLONE_FILES | unix.CLONE_PARENT | 17}, eC, eC},
	{"clone3", [6]uint64{ptr, 88}, unix.ENOSYS, unix.ENOSYS},
	{"unshare", [6]uint64{unix.CLONE_FILES}, 0, 0},
	{"unshare", [6]uint64{unix.CLONE_NEWNET}, eC, eC},
	{"setns", [6]uint64{3}, eC, eC},
	{"personality", [6]uint64{0xffffffff}, 0, 0},
	{"personality", [6]uint64{0x0400000}, eC, eC},
	{"prctl", [6]uint64{unix.PR_SET_NAME, ptr}, 0, 0},
	{"prctl", [6]uint64{prSetVMA}, 0, 0},
	{"prctl", [6]uint64{unix.PR_SET_NO_NEW_PRIVS, 1}, 0, 0},
	{"prctl", [6]uint64{unix.PR_SET_MM}, eC, eC},
	{"prctl", [6]uint64{prSetPtracer, testPID}, 0, eC},
	{"prctl", [6]uint64{9999}, eC, eC},
	{"seccomp", [6]uint64{1}, 0, 0},
	{"setgroups", [6]uint64{0}, eC, eC},
	{"capget", [6]uint64{ptr, ptr}, 0, eC},
	{"setuid", [6]uint64{1500}, 0, 0},
	{"clock_gettime", [6]uint64{unix.CLOCK_MONOTONIC}, 0, 0},
	{"clock_gettime", [6]uint64{0xfffffffa}, 0, 0},       // own process
	{"clock_gettime", [6]uint64{cpuClock(1, 2)}, eC, eC}, // process 1
	{"clock_gettime", [6]uint64{cpuClock(3, 3)}, eC, eC}, // a device held as 3
	{"clock_gettime", [6]uint64{cpuClock(0, 3)}, eC, eC}, // a device held as 0
	{"timer_create", [6]uint64{cpuClock(1, 2)}, eC, eC},
	{"clock_settime", [6]uint64{0}, eC, eC},
	{"shmget", [6]uint64{0}, eC, eC},
	{"mq_open", [6]uint64{ptr}, eC, eC},
	{"mq_timedsend", [6]uint64{3}, 0, 0},
	{"memfd_create", [6]uint64{ptr}, 0, 0},
	{"io_submit", [6]uint64{ptr}, 0, eN},
	{"io_uring_setup", [6]uint64{8}, eC, eC},
	{"userfaultfd", [6]uint64{1}, eC, eC},
	{"bpf", [6]uint64{0}, eC, eC},
	{"keyctl", [6]uint64{0}, eC, eC},
	{"mount_setattr", [6]uint64{3, ptr}, eC, eC},
	{"ioctl", [6]uint64{3, 0xc038586b, ptr}, eC, eC}, // XFS_IOC_OPEN_BY_HANDLE
	{"process_vm_readv", [6]uint64{testPID}, eC, eC},
	{"process_madvise", [6]uint64{3}, eC, eC},
	{"reboot", [6]uint64{0}, eC, eC},
}

// cpuClock is the clock of process pid as clock_getcpuclockid(3) encodes it, or,
// with kind 3, the one of descriptor pid.
func cpuClock(pid, kind int) uint64 { return uint64(^pid<<3 | kind) }

func modes(t tester, arch sysno.Arch) (mode, static []cbpf.Instruction) {
	t.Helper()
	mode, err := CapabilityMode(arch)
	if err != nil {
		t.Fatal(err)
	}
	static, err = StaticMode(arch, testPID)
	if err != nil {
		t.Fatal(err)
	}
	return mode, static
}

func TestModeCases(t *testing.T) {
	for _, arch := range sysno.Arches() {
		mode, static := modes(t, arch)
		for _, c := range modeCases {
			if got := answer(t, arch, mode, c.name, c.args); got != c.mode {
				t.Errorf("%s %s%x: %d, want %d", arch, c.name, c.args, got, c.mode)
			}
			if got := answer(t, arch, static, c.name, c.args); got != c.static {
				t.Errorf("%s %s%x without a supervisor: %d, want %d", arch, c.name, c.args, got, c.static)
			}
		}
	}
}

// TestModeOnAMD64 has calls that the newer architecture never had.
func TestModeOnAMD64(t *testing.T) {
	mode, _ := modes(t, sysno.AMD64)
	for _, name := range []string{"open", "stat", "rename", "unlink", "mkdir", "readlink", "access", "chmod", "utime", "mknod", "creat", "iopl",
		"ioperm", "modify_ldt", "uselib", "sysfs", "ustat", "_sysctl", "epoll_ctl_old"} {
		if got := answer(t, sysno.AMD64, mode, name, [6]uint64{ptr}); got != eC {
			t.Errorf("%s: %d", name, got)
		}
	}
	for _, name := range []string{"fork", "vfork", "pipe", "dup2", "poll", "select", "epoll_wait", "getdents", "alarm", "pause", "time", "arch_prctl"} {
		if got := answer(t, sysno.AMD64, mode, name, [6]uint64{3}); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestModeQuestion(t *testing.T) {
	for _, arch := range sysno.Arches() {
		mode, static := modes(t, arch)
		for _, prog := range [][]cbpf.Instruction{mode, static} {
			if got := answer(t, arch, prog, "", [6]uint64{OpMode}); got != eC {
				t.Errorf("the mode is told with %d", got)
			}
			for op := range uint64(100) {
				if got := answer(t, arch, prog, "", [6]uint64{op, 1, 2}); op != OpMode && got != 0 {
					t.Errorf("request %d: %d", op, got)
				}
			}
		}
	}
}

// TestStaticRefusesMore: nothing passes for want of somebody to ask, and code and
// table say the same.
func TestStaticRefusesMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch := genArch(t)
		mode, static := modes(t, arch)
		for range 100 {
			name, args := nameOf(t, arch), genArgs(t)
			got, more := answer(t, arch, mode, name, args), answer(t, arch, static, name, args)
			if want := decide(modeTable()[name].refused, args); got != want {
				t.Fatalf("%s%x: the filter says %d, the table %d", name, args, got, want)
			}
			if got != 0 && more != got {
				t.Fatalf("%s%x: %d, and %d without a supervisor", name, args, got, more)
			}
			if want := decide(own(modeTable()[name].unseen, testPID), args); got == 0 && more != want {
				t.Fatalf("%s%x: the static filter says %d, the table %d", name, args, more, want)
			}
		}
	})
}

// TestStaticDescriptor has what the static form adds to a limit.
func TestStaticDescriptor(t *testing.T) {
	all := capsWith(t, rights.All().Minus(rights.Of(rights.Fsync)))
	blind := capsWith(t, rights.All().Minus(rights.Of(rights.Event)))
	for _, c := range []struct {
		name  string
		args  [6]uint64
		caps  filecaps.Caps
		first unix.Errno // with First and Poll
		later unix.Errno
	}{
		{"dup", [6]uint64{testFD}, all, eN, eN},
		{"dup", [6]uint64{other}, all, 0, 0},
		{"dup3", [6]uint64{testFD, other}, all, eN, eN},
		{"dup3", [6]uint64{other, testFD}, all, 0, 0},
		{"fcntl", [6]uint64{testFD, unix.F_DUPFD_CLOEXEC | high}, all, eN, eN},
		{"fcntl", [6]uint64{testFD, unix.F_DUPFD}, all, eN, eN},
		{"fcntl", [6]uint64{other, unix.F_DUPFD}, all, 0, 0},
		{"fcntl", [6]uint64{testFD, unix.F_GETFD}, all, 0, 0},
		{"accept4", [6]uint64{testFD}, all, eN, eN},
		{"openat", [6]uint64{testFD, ptr}, all, eN, eN},
		{"openat", [6]uint64{atCWD, ptr}, all, 0, 0},
		{"linkat", [6]uint64{other, ptr, testFD, ptr}, all, eN, eN},
		{"execveat", [6]uint64{testFD, ptr}, all, eN, eN},
		{"move_mount", [6]uint64{testFD, ptr, other, ptr}, all, eN, eN},
		{"newfstatat", [6]uint64{testFD, ptr}, all, eN, eN},
		{"newfstatat", [6]uint64{testFD, null}, all, 0, 0},
		{"statx", [6]uint64{testFD, ptr}, all, eN, eN},
		{"close", [6]uint64{testFD}, all, 0, 0},
		{"read", [6]uint64{testFD}, all, 0, 0},
		{"ppoll", [6]uint64{ptr, 1}, all, 0, 0},
		{"ppoll", [6]uint64{ptr, 1}, blind, eN, 0},
		{"ppoll", [6]uint64{ptr, 0}, blind, 0, 0},
		{"pselect6", [6]uint64{8}, blind, eN, 0},
		{"sendmsg", [6]uint64{other}, all, eN, 0},
		{"io_submit", [6]uint64{1}, all, eN, 0},
		{"io_uring_enter", [6]uint64{other}, all, eN, 0},
		{"pidfd_getfd", [6]uint64{other, testFD}, all, eN, 0},
		{"ioctl", [6]uint64{other, unix.FICLONERANGE}, all, eN, 0},
		{"ioctl", [6]uint64{other, 0x40182103}, all, eN, 0},
		{"ioctl", [6]uint64{other, 0xc0202103}, all, eN, 0}, // the kernel takes any size and direction
		{"clone", [6]uint64{unix.CLONE_FILES | 17}, all, eN, 0},
		{"clone", [6]uint64{unix.CLONE_FILES | unix.CLONE_THREAD}, all, 0, 0},
		{"clone", [6]uint64{unix.CLONE_VM | unix.CLONE_VFORK | 17}, all, 0, 0},
		{"clone3", [6]uint64{ptr}, all, unix.ENOSYS, 0},
	} {
		for _, arch := range sysno.Arches() {
			first := descriptor(t, arch, c.caps, Options{Static: true, First: true, Poll: true})
			if got := answer(t, arch, first, c.name, c.args); got != c.first {
				t.Errorf("%s %s%x: %d, want %d", arch, c.name, c.args, got, c.first)
			}
			later := descriptor(t, arch, c.caps, Options{Static: true})
			if got := answer(t, arch, later, c.name, c.args); got != c.later {
				t.Errorf("%s %s%x in a later limit: %d, want %d", arch, c.name, c.args, got, c.later)
			}
		}
	}
}

// TestStaticLookups: no register that is a directory is missing.
func TestStaticLookups(t *testing.T) {
	for _, arch := range sysno.Arches() {
		prog := descriptor(t, arch, capsWith(t, rights.All().Minus(rights.Of(rights.Fsync))), Options{Static: true})
		for _, e := range sysno.Table(arch) {
			for arg, kind := range sysno.Args(e.Name) {
				args := [6]uint64{ptr, ptr, ptr, ptr, ptr, ptr}
				args[arg] = testFD | high
				if kind == sysno.DirFD && answer(t, arch, prog, e.Name, args) != eN {
					t.Errorf("%s %s looks up in argument %d", arch, e.Name, arg)
				}
			}
		}
	}
}
