package conformance

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// namespaceCases are of a process in a later pid namespace than its supervisor: the first
// one there, which has the number 1 for itself and another for the supervisor.
func namespaceCases() []Case {
	inside := func(name string, w Want, steps func(t *T) []step) Case {
		return Case{Name: "processes/in a later pid namespace: " + name, In: alone, Root: true, Want: w, Static: ptr(w.or(either)), Make: func(t *T) func() error {
			fd := t.file()
			list := steps(t)
			return func() error {
				limit(fd, rights.Read) // from here on there is a supervisor
				runtime.LockOSThread()
				stop("unshare", unix.Unshare(unix.CLONE_NEWPID))
				enter()
				return forked(list...)
			}
		}}
	}
	one := func(nr uintptr, args ...uintptr) func(*T) []step {
		return func(*T) []step { return []step{call6(nr, args...)} }
	}
	capabilities := func(pid uint32) func(*T) []step {
		header := &[2]uint32{unix.LINUX_CAPABILITY_VERSION_3, pid}
		return one(unix.SYS_CAPGET, at(header), at(&[6]uint32{}))
	}
	owner := func(pid uintptr) func(t *T) []step {
		return func(t *T) []step { return []step{call6(unix.SYS_FCNTL, uintptr(aSocket(t)), unix.F_SETOWN, pid)} }
	}
	other := uintptr(os.Getppid())
	return []Case{
		inside("kill of itself", success, one(unix.SYS_KILL, 1, 0)),
		inside("kill of another", capMode, one(unix.SYS_KILL, other, 0)),
		inside("tgkill of itself", success, one(unix.SYS_TGKILL, 1, 1, uintptr(unix.SIGURG))),
		inside("tkill of itself", success, one(unix.SYS_TKILL, 1, uintptr(unix.SIGURG))),
		inside("getpgid of itself", success, one(unix.SYS_GETPGID, 1)),
		inside("getsid of another", capMode, one(unix.SYS_GETSID, other)),
		inside("prlimit64 of itself", success, one(unix.SYS_PRLIMIT64, 1, unix.RLIMIT_NOFILE, 0, at(&unix.Rlimit{}))),
		inside("sched_getscheduler of another", capMode, one(unix.SYS_SCHED_GETSCHEDULER, other)),
		inside("capget of itself", success, capabilities(1)),
		inside("capget of another", capMode, capabilities(2)),
		inside("F_SETOWN to itself", success, owner(1)),
		inside("F_SETOWN to another", refused, owner(other)),
	}
}
