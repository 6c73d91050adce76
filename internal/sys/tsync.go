package sys

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// InstallAll puts prog on every thread of the process, those that the runtime
// starts meanwhile included. Nobody can gain privileges by exec from then on. It
// fails with ESRCH, and nothing has changed, if some thread has a filter that the
// calling one has not.
func InstallAll(prog []unix.SockFilter) error {
	if len(prog) == 0 || len(prog) > unix.BPF_MAXINSNS {
		return fmt.Errorf("install seccomp filter of %d instructions: %w", len(prog), unix.EINVAL)
	}
	runtime.LockOSThread() // the filter is the business of the thread that gave up privileges
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	defer runtime.KeepAlive(prog)
	thread, err := setFilter(&fprog, unix.SECCOMP_FILTER_FLAG_TSYNC)
	if err != nil {
		return err
	}
	if thread != 0 {
		return fmt.Errorf("install seccomp filter on all threads: thread %d has one of its own: %w", thread, unix.ESRCH)
	}
	return nil
}
