package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrChanged means that a name leads to another object than the one that was
// judged when the command line was read.
var ErrChanged = errors.New("changed while the sandbox was starting")

// OpenPinned opens the host object that was found at name before, an absolute
// path free of symlinks, with O_PATH. Anything but the object with that device
// and inode number is ErrChanged.
func OpenPinned(name string, dev, ino uint64) (*FD, error) {
	n, err := Open(unix.AT_FDCWD, name, unix.O_PATH|unix.O_NOFOLLOW, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
	if errors.Is(err, unix.ELOOP) {
		return nil, ErrChanged // a component became a symlink
	}
	if err != nil {
		return nil, err
	}
	fd := NewFD(n)
	var st unix.Stat_t
	if err := unix.Fstat(n, &st); err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	if uint64(st.Dev) != dev || st.Ino != ino {
		return nil, errors.Join(ErrChanged, fd.Close())
	}
	return fd, nil
}

// CloexecFrom marks every descriptor from first on close-on-exec, so that what
// a careless parent left open reaches no program.
func CloexecFrom(first uint) error {
	return unix.CloseRange(first, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
}
