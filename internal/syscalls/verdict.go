package syscalls

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Verdict is what the filter says about one call: the value it returns to the
// kernel.
type Verdict uint32

// The verdicts beside [Errno].
const (
	Pass Verdict = unix.SECCOMP_RET_ALLOW      // the kernel carries the call out
	Ask  Verdict = unix.SECCOMP_RET_USER_NOTIF // the supervisor answers
)

// Errno refuses a call with e. Errno(0) makes it succeed without effect.
func Errno(e unix.Errno) Verdict {
	return unix.SECCOMP_RET_ERRNO | Verdict(e)&unix.SECCOMP_RET_DATA
}

// Refused returns the errno of a verdict made by [Errno].
func (v Verdict) Refused() (unix.Errno, bool) {
	if v&unix.SECCOMP_RET_ACTION_FULL != unix.SECCOMP_RET_ERRNO {
		return 0, false
	}
	return unix.Errno(v & unix.SECCOMP_RET_DATA), true
}

// String returns "pass", "ask", or the name of the errno.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Ask:
		return "ask"
	case Errno(0):
		return "succeed without effect"
	}
	if e, ok := v.Refused(); ok {
		return unix.ErrnoName(e)
	}
	return fmt.Sprintf("%#x", uint32(v))
}
