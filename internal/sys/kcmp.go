package sys

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// What kcmp(2) compares.
const (
	kcmpFile = 0
	kcmpVM   = 1
)

// SameFile reports whether number afd of process or thread a and number bfd of b are the
// same open file, with its offset and flags; false also where that is not told.
func SameFile(a, afd, b, bfd int) bool { return kcmp(a, b, kcmpFile, afd, bfd) }

// SameMemory reports whether two processes share their memory; false also where that
// is not told.
func SameMemory(a, b int) bool { return kcmp(a, b, kcmpVM, 0, 0) }

func kcmp(a, b, what, x, y int) bool {
	n, _, e := unix.RawSyscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), uintptr(what), uintptr(x), uintptr(y), 0)
	return e == 0 && n == 0
}

// Parent returns the process that a process or thread is a child of, as the proc file
// system of descriptor proc has it; 0 if it has none there.
func Parent(proc, pid int) int {
	const ppidField = 4 - 3
	text, err := ReadFileAt(proc, strconv.Itoa(pid)+"/stat")
	fields := StatFields(text)
	if err != nil || len(fields) <= ppidField {
		return 0
	}
	parent, err := strconv.Atoi(fields[ppidField])
	if err != nil {
		return 0
	}
	return parent
}
