package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// WithoutAdopting runs f while this process is no child subreaper, if it is one:
// who is orphaned meanwhile goes to another ancestor.
func WithoutAdopting(f func() error) error {
	var reaper int32
	_, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&reaper)), 0)
	if e != 0 || reaper == 0 {
		return f()
	}
	if err := Prctl(unix.PR_SET_CHILD_SUBREAPER, 0); err != nil {
		return err
	}
	defer func() { _ = Prctl(unix.PR_SET_CHILD_SUBREAPER, 1) }()
	return f()
}
