package sys

import "golang.org/x/sys/unix"

// SeccompKnows asks whether the kernel knows flags for a new filter. Nothing is
// installed: without a program it answers EFAULT when it does.
func SeccompKnows(flags uintptr) bool {
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, 0)
	return e == unix.EFAULT
}

// ProbeCall makes a call with no arguments, or with zeros that no kernel
// accepts, on the calling thread. It is for internal/probe.
func ProbeCall(nr uintptr) (uintptr, error) {
	r, _, e := unix.Syscall(nr, 0, 0, 0)
	return r, errnoErr(e)
}

// HasClone3 reports whether this thread may call clone3: filters that can't see its
// flags refuse it, and callers use clone.
func HasClone3() bool {
	_, _, e := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	return e == unix.EINVAL
}
