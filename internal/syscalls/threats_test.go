package syscalls

import (
	"testing"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

const (
	high = 1 << 32 // where the kernel does not look in an int
	top  = 1 << 63
)

// newKernel has every Landlock feature, floor none at all.
func newKernel(e policy.Engine) Options {
	return Options{Engine: e, SignalScope: true, AbstractScope: true, UnixScope: true, PtraceScope: true}
}

func floor(e policy.Engine) Options { return Options{Engine: e} }

var (
	nsNew     = newKernel(policy.EngineNamespaces)
	nsFloor   = floor(policy.EngineNamespaces)
	llNew     = newKernel(policy.EngineLandlock)
	llFloor   = floor(policy.EngineLandlock)
	everyKind = []Options{nsNew, nsFloor, llNew, llFloor}
)

func withNetwork(o Options) Options { o.Net = true; return o }

func lacking(o Options, r ...rights.Right) Options { o.Lacking = rights.Of(r...); return o }

// one is a call and what must come of it. It is written down by hand, not
// derived from the table.
type one struct {
	why     string
	name    string
	args    [6]uint64
	options []Options
	want    Verdict
}

func args(a ...uint64) (out [6]uint64) { copy(out[:], a); return out }

var (
	eperm  = Errno(unix.EPERM)
	enosys = Errno(unix.ENOSYS)
	einval = Errno(unix.EINVAL)
)

var threats = []one{
	{"io_uring", "io_uring_setup", args(1), everyKind, enosys},
	{"io_uring", "io_uring_enter", args(3), everyKind, enosys},
	{"io_uring", "io_uring_register", args(3), everyKind, enosys},
	{"new mount interface", "open_tree", args(5), everyKind, eperm},
	{"new mount interface", "move_mount", args(5), everyKind, eperm},
	{"new mount interface", "mount_setattr", args(5), everyKind, eperm},
	{"new mount interface", "fsopen", args(5), everyKind, eperm},
	{"mount", "mount", args(0), everyKind, eperm},
	{"mount", "pivot_root", args(0), everyKind, eperm},
	{"mount", "umount2", args(0), everyKind, eperm},

	{"fake input", "ioctl", args(0, 0x5412), everyKind, eperm},
	{"fake input, high bits", "ioctl", args(0, 0x5412|high), everyKind, eperm},
	{"fake input, top bit", "ioctl", args(0, 0x5412|top), everyKind, eperm},
	{"console paste", "ioctl", args(0, 0x541c), everyKind, eperm},
	{"console paste, high bits", "ioctl", args(0, 0x541c|0xfffffff0<<32), everyKind, eperm},
	{"window size works", "ioctl", args(0, 0x5413), everyKind, Pass},
	{"terminal modes work", "ioctl", args(0, 0x5402), everyKind, Pass},
	{"foreground group works", "ioctl", args(0, 0x5410), everyKind, Pass},
	{"pty peer", "ioctl", args(0, 0x5441), []Options{nsNew, nsFloor}, Pass},
	{"pty peer", "ioctl", args(0, 0x5441), []Options{llNew, llFloor}, Errno(unix.ENOTTY)},
	{"freeze", "ioctl", args(3, 0xc0045877), everyKind, Errno(unix.ENOTTY)},
	{"immutable flag without mounts", "ioctl", args(3, 0x40086602|high), []Options{llNew, llFloor}, eperm},
	{"immutable flag", "ioctl", args(3, 0x40086602), []Options{nsNew, nsFloor}, Pass},
	{"immutable flag withheld", "ioctl", args(3, 0x401c5820), []Options{lacking(nsNew, rights.Fchflags)}, eperm},
	{"btrfs: remove a tree by a descriptor", "ioctl", args(3, 0x5000940f), everyKind, Errno(unix.ENOTTY)},
	{"btrfs: clone a file", "ioctl", args(3, 0x40049409), everyKind, Pass},
	{"interfaces through a Unix socket", "ioctl", args(3, 0x8914), []Options{llNew, llFloor}, eperm},
	{"interfaces", "ioctl", args(3, 0x8914), []Options{withNetwork(llNew), nsNew}, Pass},
	{"SIGIO to outsiders", "ioctl", args(3, 0x8901), []Options{llFloor}, eperm},
	{"SIGIO to outsiders", "fcntl", args(3, 8, 4000), []Options{llFloor}, eperm},
	{"SIGIO to nobody", "fcntl", args(3, 8, 0), []Options{llFloor}, Pass},
	{"SIGIO to outsiders, in memory", "fcntl", args(3, 15|high, 4000), []Options{llFloor}, eperm},
	{"SIGIO in a scope", "fcntl", args(3, 8, 4000), []Options{llNew, nsNew, nsFloor}, Pass},
	{"lease", "fcntl", args(3, 1024, 1), everyKind, Errno(unix.EACCES)},
	{"end of lease", "fcntl", args(3, 1024, 2), everyKind, Pass},
	{"delegation, whose type is in memory", "fcntl", args(3, 1040, high|2), everyKind, Errno(unix.EACCES)},
	{"record lock", "fcntl", args(3, 6, 1), everyKind, Pass},

	{"user namespace", "clone", args(unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)), everyKind, eperm},
	{"user namespace, high bits", "clone", args(unix.CLONE_NEWUSER | high), everyKind, eperm},
	{"user namespace in memory", "clone3", args(1, 88), everyKind, enosys},
	{"user namespace", "unshare", args(unix.CLONE_NEWUSER), everyKind, eperm},
	{"time namespace", "unshare", args(unix.CLONE_NEWTIME), everyKind, eperm},
	{"a flag of tomorrow", "unshare", args(1 << 37), everyKind, eperm},
	{"join a namespace", "setns", args(3), everyKind, eperm},
	{"fork", "clone", args(uint64(unix.SIGCHLD)), everyKind, Pass},
	{"thread", "clone", args(0x3d0f00), everyKind, Pass},
	{"untraced", "clone", args(unix.CLONE_UNTRACED | unix.CLONE_PARENT | uint64(unix.SIGCHLD)), everyKind, Pass},
	{"shared directory", "clone", args(unix.CLONE_FS | high), []Options{llNew, llFloor}, eperm},
	{"shared directory", "clone", args(unix.CLONE_FS), []Options{nsNew}, Pass},
	{"own directory", "unshare", args(unix.CLONE_FS), []Options{llNew}, eperm},
	{"own descriptors", "unshare", args(unix.CLONE_FILES), everyKind, Pass},

	{"handles", "open_by_handle_at", args(3), everyKind, eperm},
	{"chroot", "chroot", args(1), everyKind, eperm},
	{"device node", "mknodat", args(3, 1, unix.S_IFCHR|0o666|high), everyKind, eperm},
	{"device node", "mknod", args(1, unix.S_IFBLK), everyKind, eperm},
	{"FIFO", "mknod", args(1, unix.S_IFIFO|0o600), []Options{nsNew}, Pass},
	{"FIFO", "mknod", args(1, unix.S_IFIFO|0o600), []Options{llNew}, Ask},

	{"trace outsiders", "ptrace", args(16, 1), []Options{nsFloor, llFloor}, eperm},
	{"trace inside", "ptrace", args(16, 1), []Options{nsNew, llNew}, Pass},
	{"write outsiders' memory", "process_vm_writev", args(1), []Options{nsFloor, llFloor}, eperm},
	{"take descriptors", "pidfd_getfd", args(3, 0), everyKind, eperm},
	{"signal outsiders", "kill", args(4000, 9), []Options{llFloor}, Ask},
	{"signal outsiders", "kill", args(4000, 9), []Options{llNew, nsNew, nsFloor}, Pass},
	{"signal the shell's job", "kill", args(high, 9), []Options{nsFloor, llFloor}, Ask},
	{"signal the shell's job", "kill", args(0, 9), []Options{nsNew, llNew}, Pass},
	{"signal everyone", "kill", args(^uint64(0), 9), []Options{llFloor}, Ask},
	{"queue to outsiders", "rt_sigqueueinfo", args(4000, 9), []Options{llFloor}, Ask},
	{"signal by descriptor", "pidfd_send_signal", args(3, 9), []Options{llFloor}, Ask},
	{"slow outsiders down", "setpriority", args(0, 4000), []Options{llNew, llFloor}, eperm},
	{"slow the user down", "setpriority", args(2, 0), []Options{llNew, llFloor}, eperm},
	{"slow the shell down", "setpriority", args(1, 0), everyKind, eperm},
	{"nice", "setpriority", args(0, 0, 10), everyKind, Pass},
	{"schedule outsiders", "sched_setaffinity", args(4000), []Options{llNew, llFloor}, eperm},
	{"schedule oneself", "sched_setaffinity", args(0), everyKind, Pass},
	{"limit outsiders", "prlimit64", args(4000, 7), []Options{llNew, llFloor}, eperm},
	{"limit the supervisor", "prlimit64", args(1, 7, 1), everyKind, eperm},
	{"limit the supervisor, high bits", "prlimit64", args(1|high, 7, 1), everyKind, eperm},
	{"look at limits", "prlimit64", args(1, 7, 0, 1), []Options{nsNew, nsFloor}, Pass},
	{"forge the label", "prlimit64", args(0, 10|high, 1), []Options{llNew, llFloor}, Ask},
	{"forge the label", "setrlimit", args(10|high, 1), []Options{llNew, llFloor}, Ask},
	{"limit", "prlimit64", args(0, 7, 1), everyKind, Pass},

	{"key rings", "keyctl", args(0), everyKind, enosys},
	{"key rings", "add_key", args(0), everyKind, enosys},
	{"key rings", "request_key", args(0), everyKind, enosys},
	{"executable data", "personality", args(0x0400000), everyKind, eperm},
	{"executable data, high bits", "personality", args(0x0400000 | high), everyKind, eperm},
	{"page zero", "personality", args(0x0100000), everyKind, eperm},
	{"addresses that are not random", "personality", args(0x0040000), everyKind, eperm},
	{"another uname", "personality", args(0x0020000), everyKind, Pass},
	{"query", "personality", args(0xffffffff), everyKind, Pass},
	{"become unreadable", "prctl", args(4, 0), []Options{llNew, llFloor}, Errno(0)},
	{"become unreadable, high bits", "prctl", args(4|high, 0), []Options{llNew, llFloor}, Errno(0)},
	{"another executable", "prctl", args(35), everyKind, eperm},
	{"an option of tomorrow", "prctl", args(5000), everyKind, einval},
	{"thread name", "prctl", args(15), everyKind, Pass},
	{"bpf", "bpf", args(0), everyKind, eperm},
	{"perf", "perf_event_open", args(0), everyKind, eperm},
	{"page faults", "userfaultfd", args(0), everyKind, eperm},

	{"internet", "socket", args(unix.AF_INET, unix.SOCK_STREAM), everyKind, Errno(unix.EAFNOSUPPORT)},
	{"internet, high bits", "socket", args(unix.AF_INET|high, unix.SOCK_STREAM), everyKind, Errno(unix.EAFNOSUPPORT)},
	{"pretend Unix above", "socket", args(unix.AF_UNIX<<32|unix.AF_INET, unix.SOCK_STREAM), everyKind, Errno(unix.EAFNOSUPPORT)},
	{"MPTCP without network", "socket", args(unix.AF_INET, unix.SOCK_STREAM, 262), everyKind, Errno(unix.EAFNOSUPPORT)},
	{"MPTCP", "socket", args(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 262), []Options{withNetwork(nsNew)}, Pass},
	{"raw", "socket", args(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, 255), []Options{withNetwork(nsNew)}, eperm},
	{"packets through AF_INET", "socket", args(unix.AF_INET, 10), []Options{withNetwork(nsNew)}, Errno(unix.ESOCKTNOSUPPORT)},
	{"packets", "socket", args(unix.AF_PACKET, unix.SOCK_RAW), []Options{withNetwork(nsNew)}, Errno(unix.EAFNOSUPPORT)},
	{"virtual machines", "socket", args(unix.AF_VSOCK, unix.SOCK_STREAM), []Options{withNetwork(nsNew)}, Errno(unix.EAFNOSUPPORT)},
	{"crypto", "socket", args(unix.AF_ALG, unix.SOCK_SEQPACKET), []Options{withNetwork(nsNew)}, Errno(unix.EAFNOSUPPORT)},
	{"interfaces", "socket", args(unix.AF_NETLINK, unix.SOCK_RAW, 0), []Options{withNetwork(nsNew)}, Pass},
	{"audit", "socket", args(unix.AF_NETLINK, unix.SOCK_RAW, 9), []Options{withNetwork(nsNew)}, Errno(unix.EPROTONOSUPPORT)},
	{"netlink", "socket", args(unix.AF_NETLINK, unix.SOCK_RAW, 0), everyKind, Errno(unix.EAFNOSUPPORT)},
	{"Unix stream", "socket", args(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC), everyKind, Pass},
	{"Unix datagrams", "socket", args(unix.AF_UNIX, unix.SOCK_DGRAM), []Options{nsFloor, llFloor}, Errno(unix.EPROTONOSUPPORT)},
	{"Unix datagrams called raw", "socket", args(unix.AF_UNIX|high, unix.SOCK_RAW|unix.SOCK_CLOEXEC), []Options{nsFloor, llFloor},
		Errno(unix.EPROTONOSUPPORT)},
	{"Unix datagram pair", "socketpair", args(unix.AF_UNIX, unix.SOCK_DGRAM), []Options{nsFloor, llFloor}, Errno(unix.EPROTONOSUPPORT)},
	{"Unix datagrams in a scope", "socket", args(unix.AF_UNIX, unix.SOCK_DGRAM), []Options{nsNew, llNew}, Pass},
	{"send to an address", "sendto", args(3, 1, 1, 0, high), everyKind, Ask},
	{"send to an address", "sendto", args(3, 1, 1, 0, 1), everyKind, Ask},
	{"send to the peer", "sendto", args(3, 1, 1, 0, 0), everyKind, Pass},
	{"connect", "connect", args(3), everyKind, Ask},

	{"name", "openat", args(3, 1), []Options{llNew, llFloor}, Ask},
	{"name that may be empty", "newfstatat", args(3, 1, 1, unix.AT_EMPTY_PATH), []Options{llNew}, Ask},
	{"no name", "newfstatat", args(3, 0, 1, unix.AT_EMPTY_PATH), []Options{llNew}, Pass},
	{"no name, but a low half of zero", "newfstatat", args(3, high, 1, unix.AT_EMPTY_PATH), []Options{llNew}, Ask},
	{"cut", "openat", args(3, 1, unix.O_TRUNC|high), []Options{lacking(nsFloor, rights.Ftruncate)}, Ask},
	{"no cut", "openat", args(3, 1, unix.O_WRONLY), []Options{lacking(nsFloor, rights.Ftruncate)}, Pass},
	{"lock out", "flock", args(3, unix.LOCK_EX), []Options{llNew, lacking(nsNew, rights.Flock)}, Ask},
	{"unlock", "flock", args(3, unix.LOCK_UN), everyKind, Pass},
	{"System V", "shmget", args(1), []Options{llNew, llFloor}, enosys},
	{"System V", "shmget", args(1), []Options{nsNew, nsFloor}, Pass},
}

// TestThreats holds the table to calls of known attacks, and to the harmless
// calls next to them.
func TestThreats(t *testing.T) {
	for _, a := range sysno.Arches() {
		for _, c := range threats {
			nr, ok := sysno.Nr(a, c.name)
			if !ok {
				if a == sysno.AMD64 {
					t.Errorf("%s: no number", c.name)
				}
				continue
			}
			for _, o := range c.options {
				if got, _ := Lookup(a, uint32(nr), c.args, o); got != c.want {
					t.Errorf("%s: %s %s%#x is %s, want %s\n%+v", c.why, a, c.name, c.args, got, c.want, o)
				}
				agree(t, compile(t, a, o), a, uint32(nr), c.args, o)
			}
		}
	}
}

// TestDumpableHasNoEffect: errno 0 makes the call return 0 without being made.
func TestDumpableHasNoEffect(t *testing.T) {
	nr, _ := sysno.Nr(sysno.AMD64, "prctl")
	got := cbpf.Run(compile(t, sysno.AMD64, llNew), cbpf.Data{Nr: uint32(nr), Arch: uint32(sysno.AMD64), Args: args(4, 0)})
	if got.Value != unix.SECCOMP_RET_ERRNO {
		t.Errorf("filter returns %#x", got.Value)
	}
}
