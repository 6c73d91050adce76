// Package capsicum is Capsicum: capability mode, and rights on descriptors.
//
// A program opens what it needs, limits each descriptor to what it will do with
// it, and gives up everything else:
//
//	f, err := os.Open(name)
//	…
//	err = capsicum.Limit(f, rights.Read, rights.Fstat)
//	…
//	err = capsicum.Enter()
//
// From then on nothing is reached by a global name, and f can only be read.
// Rights bite from the call of [Limit] on, inside and outside capability mode.
// Both are for good: rights only shrink, and capability mode cannot be left. Both
// are inherited by processes started later.
//
// On FreeBSD the kernel enforces this (capsicum(4)). On Linux system call filters
// do, with a supervisor that is this program's own executable; see
// docs/capability-mode.md for what that can and cannot do. On other systems every
// call fails with [ErrNotSupported], never silently succeeds.
//
// # What keeps working
//
// Goroutines, timers, pipes, [os.Root] methods on a directory opened before,
// connections and listeners opened before, and execveat of a static program held
// open, on Linux without cgo. What does not: [os.Open] and everything else that takes
// a path, os/exec, which names the program, [net.Dial], [net.Listen], name lookups,
// and time zones that were not loaded before.
package capsicum

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/capsicum-go/capsicum/rights"
)

// ErrNotSupported says that this system cannot do it at all.
var ErrNotSupported = errors.ErrUnsupported

// Enter puts the process, with all its threads, into capability mode: cap_enter(2).
// Entering again changes nothing.
func Enter() error {
	if err := enter(); err != nil {
		return fmt.Errorf("enter capability mode: %w", err)
	}
	return nil
}

// Mode reports whether the process is in capability mode: cap_getmode(2).
func Mode() (bool, error) {
	in, err := mode()
	if err != nil {
		return false, fmt.Errorf("get capability mode: %w", err)
	}
	return in, nil
}

// Sandboxed reports whether the process is in capability mode, false when that
// cannot be told: cap_sandboxed(3).
func Sandboxed() bool {
	in, err := mode()
	return err == nil && in
}

// Limit takes all rights but the given ones from f: cap_rights_limit(2). It fails
// with [ErrNotCapable] when f has not all of them.
func Limit(f syscall.Conn, r ...rights.Right) error { return LimitSet(f, rights.Of(r...)) }

// LimitFD is [Limit] for a descriptor number.
func LimitFD(fd int, r ...rights.Right) error { return LimitSetFD(fd, rights.Of(r...)) }

// LimitSet is [Limit] for a set.
func LimitSet(f syscall.Conn, s rights.Set) error {
	return through(f, func(fd int) error { return LimitSetFD(fd, s) })
}

// LimitSetFD is [LimitSet] for a descriptor number.
func LimitSetFD(fd int, s rights.Set) error {
	if err := limitRights(fd, s); err != nil {
		return fmt.Errorf("limit rights of descriptor %d: %w", fd, err)
	}
	return nil
}

// Rights returns what f may be used for: cap_rights_get(3).
func Rights(f syscall.Conn) (s rights.Set, err error) {
	err = through(f, func(fd int) error { s, err = RightsFD(fd); return err })
	return s, err
}

// RightsFD is [Rights] for a descriptor number.
func RightsFD(fd int) (rights.Set, error) {
	s, err := getRights(fd)
	if err != nil {
		return rights.Set{}, fmt.Errorf("get rights of descriptor %d: %w", fd, err)
	}
	return s, nil
}

// LimitIoctls permits only the given ioctl commands on f, as far as it has
// [rights.Ioctl]: cap_ioctls_limit(2). Without commands it permits none.
func LimitIoctls(f syscall.Conn, cmds ...uint) error {
	return through(f, func(fd int) error { return LimitIoctlsFD(fd, cmds...) })
}

// LimitIoctlsFD is [LimitIoctls] for a descriptor number.
func LimitIoctlsFD(fd int, cmds ...uint) error {
	if err := limitIoctls(fd, cmds); err != nil {
		return fmt.Errorf("limit ioctls of descriptor %d: %w", fd, err)
	}
	return nil
}

// Ioctls returns the ioctl commands that are permitted on f, and false when every
// command is: cap_ioctls_get(2).
func Ioctls(f syscall.Conn) (cmds []uint, limited bool, err error) {
	err = through(f, func(fd int) error { cmds, limited, err = IoctlsFD(fd); return err })
	return cmds, limited, err
}

// IoctlsFD is [Ioctls] for a descriptor number.
func IoctlsFD(fd int) (cmds []uint, limited bool, err error) {
	if cmds, limited, err = getIoctls(fd); err != nil {
		return nil, false, fmt.Errorf("get ioctls of descriptor %d: %w", fd, err)
	}
	return cmds, limited, nil
}

// LimitFcntls permits only the fcntl commands in mask on f, as far as it has
// [rights.Fcntl]: cap_fcntls_limit(2).
func LimitFcntls(f syscall.Conn, mask rights.Fcntls) error {
	return through(f, func(fd int) error { return LimitFcntlsFD(fd, mask) })
}

// LimitFcntlsFD is [LimitFcntls] for a descriptor number.
func LimitFcntlsFD(fd int, mask rights.Fcntls) error {
	if err := limitFcntls(fd, mask); err != nil {
		return fmt.Errorf("limit fcntls of descriptor %d: %w", fd, err)
	}
	return nil
}

// Fcntls returns the fcntl commands that are permitted on f: cap_fcntls_get(2).
func Fcntls(f syscall.Conn) (mask rights.Fcntls, err error) {
	err = through(f, func(fd int) error { mask, err = FcntlsFD(fd); return err })
	return mask, err
}

// FcntlsFD is [Fcntls] for a descriptor number.
func FcntlsFD(fd int) (rights.Fcntls, error) {
	mask, err := getFcntls(fd)
	if err != nil {
		return 0, fmt.Errorf("get fcntls of descriptor %d: %w", fd, err)
	}
	return mask, nil
}

// through runs do with the descriptor of f, which stays open meanwhile and keeps
// its mode, as [os.File.Fd] would not.
func through(f syscall.Conn, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("get descriptor: %w", err)
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = do(int(fd)) }); err != nil {
		return fmt.Errorf("get descriptor: %w", err)
	}
	return result
}
