package sys

import (
	"fmt"
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

// noCore is the limit for core files that makes none: less than the least of them, and,
// unlike 0, also what keeps the kernel from handing one to a program (core(5)).
const noCore = 1

// GiveUpCore keeps the kernel from making a core file of this process and those that it
// starts, for as long as nothing raises the limit. Where there are no filters, so that
// nobody can be confined, nothing changes.
func GiveUpCore() error {
	if !SeccompKnows(0) {
		return nil
	}
	if unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: noCore, Max: noCore}) == nil {
		return nil
	}
	var now unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_CORE, &now)
	if err == nil && now.Cur > noCore { // a security module may guard the hard limit alone
		err = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: noCore, Max: now.Max})
	}
	if err == unix.ENOSYS {
		err = unix.EPERM // a caller may go on unconfined where the kernel has no filters
	}
	if err != nil {
		return fmt.Errorf("give core files up: %w", err)
	}
	return nil
}
