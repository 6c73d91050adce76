package sys

import "golang.org/x/sys/unix"

// What kcmp(2) compares.
const (
	kcmpFile  = 0
	kcmpVM    = 1
	kcmpFiles = 2
)

// SameFile reports whether number afd of process or thread a and number bfd of b are the
// same open file, with its offset and flags. EPERM says that one of the two may not be
// looked into, EBADF that one has no such number.
func SameFile(a, afd, b, bfd int) (bool, error) {
	same, err := kcmp(a, b, kcmpFile, afd, bfd)
	if err != 0 {
		return false, err
	}
	return same, nil
}

// SameMemory reports whether two processes share their memory; false also where that
// is not told.
func SameMemory(a, b int) bool {
	same, err := kcmp(a, b, kcmpVM, 0, 0)
	return same && err == 0
}

// SameFiles reports whether two threads share their descriptor table. Of one that has
// ended that is true; where it is not told it is not.
func SameFiles(a, b int) bool {
	same, err := kcmp(a, b, kcmpFiles, 0, 0)
	return a == b || err == unix.ESRCH || same && err == 0
}

// kcmp may block: it waits for an exec of either, which waits for what close-on-exec
// closes, of a FUSE for ever. The other goroutines go on meanwhile.
func kcmp(a, b, what, x, y int) (same bool, err unix.Errno) {
	n, _, err := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), uintptr(what), uintptr(x), uintptr(y), 0)
	return n == 0, err
}
