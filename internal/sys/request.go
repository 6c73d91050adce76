package sys

import (
	"golang.org/x/sys/unix"
)

// Request makes the system call nr with up to five words, for numbers that only
// filters and supervisors know.
func Request(nr uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	n, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return n, errnoErr(e)
}
