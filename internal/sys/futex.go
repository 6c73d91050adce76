package sys

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2), for words in memory that processes share.
const (
	futexWait = 0
	futexWake = 1
)

// WaitWord sleeps while the word at addr, in memory that processes share, is
// old. It returns early after a signal, and after d: the caller looks again.
func WaitWord(addr *uint32, old uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	// Every error means: look again.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait, uintptr(old), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// SetWord stores v at addr and wakes who waits for that.
func SetWord(addr *uint32, v uint32) {
	atomic.StoreUint32(addr, v)
	_, _, _ = unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake, 1<<30) // nobody may wait
}
