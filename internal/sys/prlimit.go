package sys

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// PrlimitAs sets a limit of process pid as the real user uid and group gid. It
// uses a thread that ends with it: without CAP_SYS_RESOURCE, which root in a
// container has not, the kernel wants the real ids to be the process's, and
// these have no way back.
func PrlimitAs(uid, gid uint32, pid, resource int, lim *unix.Rlimit) error {
	done := make(chan error, 1)
	go prlimitAs(uid, gid, pid, resource, lim, done)
	return <-done
}

func prlimitAs(uid, gid uint32, pid, resource int, lim *unix.Rlimit, done chan error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// Changing the main thread's ids would clear the process's parent death
		// signal. It is held here, so that the work goes to another thread.
		defer runtime.UnlockOSThread()
		mine := make(chan error, 1)
		go prlimitAs(uid, gid, pid, resource, lim, mine)
		done <- <-mine
		return
	}
	// Never unlocked: the thread must not serve anybody else, and ends here.
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
		done <- e
		return
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
		done <- e
		return
	}
	done <- unix.Prlimit(pid, resource, lim, nil)
}
