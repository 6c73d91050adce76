package capsicum

import "syscall"

// What the kernel answers a refused call with. They are plain errnos, so that
// [errors.Is] finds them in the error of any refused call, such as [os.Open]'s.
const (
	// ErrCapabilityMode (ECAPMODE): not permitted in capability mode.
	ErrCapabilityMode = syscall.ECAPMODE
	// ErrNotCapable (ENOTCAPABLE): the descriptor lacks a right, the name leads out
	// of its directory, or a limit would widen what is limited.
	ErrNotCapable = syscall.ENOTCAPABLE
)
