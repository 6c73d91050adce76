package sys

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ListenerFlags returns the flags to install a filter with that has a listener:
// with the flag that lets only fatal signals interrupt a received call where the
// kernel knows it.
func ListenerFlags() (int, error) {
	if err := ProbeNotify(); err != nil {
		return 0, err
	}
	if HasWaitKillable() {
		return unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, nil
	}
	return unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, nil
}

// HasWaitKillable reports whether the kernel can keep signals that are not
// fatal away from a caller whose notification was received (Linux 5.19). A flag
// it does not know is refused before the missing program is.
func HasWaitKillable() bool {
	_, err := setFilter(nil, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	return errors.Is(err, unix.EFAULT)
}

// Installed tells what InstallFilter got from the kernel.
type Installed struct {
	Listener *FD // nil when no listener was asked for
	// WaitKillable is false before Linux 5.19: a signal then takes a caller out
	// of its wait after the call was received, and the call is asked again.
	WaitKillable bool
}

// InstallFilter puts prog on the calling thread, which must be locked to its
// goroutine and must not be able to gain privileges by exec. With listener it
// asks for a notification descriptor.
func InstallFilter(prog []unix.SockFilter, listener bool) (Installed, error) {
	if !listener {
		_, err := install(prog, 0)
		return Installed{}, err
	}
	flags, err := ListenerFlags()
	if err != nil {
		return Installed{}, err
	}
	n, err := install(prog, flags)
	if err != nil {
		return Installed{}, err
	}
	return Installed{NewFD(n), flags&unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0}, nil
}

// InstallAll puts prog on every thread of the process, those that the runtime
// starts meanwhile included. Nobody can gain privileges by exec from then on. It
// fails with ESRCH, and nothing has changed, if some thread has a filter that the
// calling one has not.
func InstallAll(prog []unix.SockFilter) error {
	thread, err := installAll(prog, 0)
	if err != nil {
		return err
	}
	if thread != 0 {
		return fmt.Errorf("install seccomp filter on all threads: thread %d has one of its own: %w", thread, unix.ESRCH)
	}
	return nil
}

// InstallListener is [InstallAll] for a filter that asks; it returns the number of
// the notification descriptor.
func InstallListener(prog []unix.SockFilter) (int, error) {
	flags, err := ListenerFlags()
	if err != nil {
		return -1, err
	}
	// A thread with a filter of its own is ESRCH: the result is a descriptor.
	return installAll(prog, flags|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

func installAll(prog []unix.SockFilter, flags int) (int, error) {
	p, err := program(prog)
	if err != nil {
		return -1, err
	}
	n, unable, e := giveUpAndFilter(uintptr(flags|unix.SECCOMP_FILTER_FLAG_TSYNC), p)
	runtime.KeepAlive(prog)
	if unable != 0 {
		return -1, fmt.Errorf("give up new privileges: %w", unix.Errno(unable))
	}
	if e != 0 {
		return -1, fmt.Errorf("install seccomp filter: %w", unix.Errno(e))
	}
	return int(n), nil
}

// giveUpAndFilter has the calling thread give up new privileges, and installs a filter
// from the same thread, which is the one that may. Go code could be moved to another
// thread in between; [runtime.LockOSThread] would prevent that, but its first use in a
// program starts a thread, and ends the program where there is none to be had
// (RLIMIT_NPROC). The runtime never interrupts assembly.
//
//go:noescape
func giveUpAndFilter(flags uintptr, prog *unix.SockFprog) (n, unable, errno uintptr)

func install(prog []unix.SockFilter, flags int) (int, error) {
	p, err := program(prog)
	if err != nil {
		return -1, err
	}
	defer runtime.KeepAlive(prog)
	return setFilter(p, flags)
}

// program is prog as the kernel takes it.
func program(prog []unix.SockFilter) (*unix.SockFprog, error) {
	if len(prog) == 0 || len(prog) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("install seccomp filter of %d instructions: %w", len(prog), unix.EINVAL)
	}
	return &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}, nil
}

func setFilter(prog *unix.SockFprog, flags int) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(prog)))
	if e != 0 {
		return -1, fmt.Errorf("install seccomp filter: %w", e)
	}
	return int(n), nil
}
