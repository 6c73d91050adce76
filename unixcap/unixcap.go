// Package unixcap has the Capsicum of golang.org/x/sys/unix under its names and
// signatures, and works on every system that package capsicum works on. A program
// written for FreeBSD with x/sys moves by changing the import:
//
//	import unix "github.com/capsicum-go/capsicum/unixcap"
//
//	r, err := unix.CapRightsInit([]uint64{unix.CAP_READ, unix.CAP_FSTAT})
//	…
//	err = unix.CapRightsLimit(f.Fd(), r)
//	err = unix.CapEnter()
//
// What x/sys lacks is here in its manner: [CapGetMode], and limits of ioctl and
// fcntl commands. Errors of system calls are bare errnos, as x/sys returns them:
// [ECAPMODE], [ENOTCAPABLE], EBADF, EINVAL; where there is no Capsicum, an error
// that is [errors.ErrUnsupported].
//
// New programs are better served by packages capsicum and rights.
//
// # Limitations
//
// A descriptor is given by number here, so keep the file that it belongs to: one
// that is collected closes it. [os.File.Fd] has its own effect on deadlines.
package unixcap

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

// The errnos of Capsicum. They are those of the running system, which on Linux has
// no names for them.
const (
	ECAPMODE    = capsicum.ErrCapabilityMode
	ENOTCAPABLE = capsicum.ErrNotCapable
)

// CapRights is a set of rights, the cap_rights_t of cap_rights_init(3).
type CapRights struct {
	Rights [2]uint64
}

// bare returns the errno in err where it has one.
func bare(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// part returns the word that a right belongs to, and its bits in that word.
func part(right uint64) (word int, bits uint64, err error) {
	const index = uint64(0x1f) << 57
	switch bits = right &^ (index | 3<<62); {
	case right>>62 != CAP_RIGHTS_VERSION:
		return 0, 0, fmt.Errorf("right %#x: version %d, want %d", right, right>>62, CAP_RIGHTS_VERSION)
	case right&index == 1<<57:
		return 0, bits, nil
	case right&index == 1<<58:
		return 1, bits, nil
	default:
		return 0, 0, fmt.Errorf("right %#x: it belongs to no word or to several", right)
	}
}

// parts returns the bits of rights by word, when r and all of them are valid.
func parts(r *CapRights, of []uint64) (bits [2]uint64, err error) {
	if _, err := rights.FromWords(r.Rights[:]); err != nil {
		return bits, err
	}
	for _, right := range of {
		word, b, err := part(right)
		if err != nil {
			return bits, err
		}
		bits[word] |= b
	}
	return bits, nil
}

// CapRightsInit returns the set of the given rights: cap_rights_init(3).
func CapRightsInit(rights []uint64) (*CapRights, error) {
	r := &CapRights{Rights: [2]uint64{1 << 57, 1 << 58}}
	if err := CapRightsSet(r, rights); err != nil {
		return nil, err
	}
	return r, nil
}

// CapRightsSet adds setrights to rights: cap_rights_set(3). After an error rights is
// unchanged.
func CapRightsSet(rights *CapRights, setrights []uint64) error {
	bits, err := parts(rights, setrights)
	if err != nil {
		return err
	}
	for i, b := range bits {
		rights.Rights[i] |= b
	}
	return nil
}

// CapRightsClear removes clearrights from rights, all parts of composites included:
// cap_rights_clear(3). After an error rights is unchanged.
func CapRightsClear(rights *CapRights, clearrights []uint64) error {
	bits, err := parts(rights, clearrights)
	if err != nil {
		return err
	}
	for i, b := range bits {
		rights.Rights[i] &^= b
	}
	return nil
}

// CapRightsIsSet reports whether all of setrights are in rights:
// cap_rights_is_set(3).
func CapRightsIsSet(rights *CapRights, setrights []uint64) (bool, error) {
	bits, err := parts(rights, setrights)
	if err != nil {
		return false, err
	}
	for i, b := range bits {
		if rights.Rights[i]&b != b {
			return false, nil
		}
	}
	return true, nil
}

// CapRightsLimit takes all rights but the given ones from a descriptor:
// cap_rights_limit(2).
func CapRightsLimit(fd uintptr, r *CapRights) error {
	set, err := rights.FromWords(r.Rights[:])
	if err != nil {
		return syscall.EINVAL
	}
	return bare(capsicum.LimitSetFD(int(fd), set))
}

// CapRightsGet returns the rights of a descriptor: cap_rights_get(3).
func CapRightsGet(fd uintptr) (*CapRights, error) {
	set, err := capsicum.RightsFD(int(fd))
	if err != nil {
		return nil, bare(err)
	}
	return &CapRights{Rights: set.Words()}, nil
}

// CapEnter puts the process into capability mode: cap_enter(2).
func CapEnter() error { return bare(capsicum.Enter()) }

// CapGetMode reports whether the process is in capability mode: cap_getmode(2).
func CapGetMode() (bool, error) {
	in, err := capsicum.Mode()
	return in, bare(err)
}

// CapIoctlsLimit permits only the given ioctl commands on a descriptor:
// cap_ioctls_limit(2).
func CapIoctlsLimit(fd uintptr, cmds []uint) error {
	return bare(capsicum.LimitIoctlsFD(int(fd), cmds...))
}

// CapIoctlsGet stores as many of the ioctl commands that are permitted on a
// descriptor as cmds has room for, and returns how many there are, which may be more:
// cap_ioctls_get(2). When all are permitted it stores none and returns
// [CAP_IOCTLS_ALL].
func CapIoctlsGet(fd uintptr, cmds []uint) (int, error) {
	permitted, limited, err := capsicum.IoctlsFD(int(fd))
	switch {
	case err != nil:
		return -1, bare(err)
	case !limited:
		return CAP_IOCTLS_ALL, nil
	}
	copy(cmds, permitted)
	return len(permitted), nil
}

// CapFcntlsLimit permits only the fcntl commands in fcntlrights on a descriptor:
// cap_fcntls_limit(2).
func CapFcntlsLimit(fd uintptr, fcntlrights uint32) error {
	return bare(capsicum.LimitFcntlsFD(int(fd), rights.Fcntls(fcntlrights)))
}

// CapFcntlsGet returns the fcntl commands that are permitted on a descriptor:
// cap_fcntls_get(2).
func CapFcntlsGet(fd uintptr) (uint32, error) {
	mask, err := capsicum.FcntlsFD(int(fd))
	return uint32(mask), bare(err)
}
