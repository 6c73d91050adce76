package capsicum

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
)

// The system calls of capsicum(4), which package syscall has no names for.
const (
	sysCapRightsGet   = 515 // __cap_rights_get(int version, int fd, cap_rights_t *)
	sysCapEnter       = 516 // cap_enter(void)
	sysCapGetmode     = 517 // cap_getmode(u_int *)
	sysCapRightsLimit = 533 // cap_rights_limit(int fd, cap_rights_t *)
	sysCapIoctlsLimit = 534 // cap_ioctls_limit(int fd, const u_long *, size_t)
	sysCapIoctlsGet   = 535 // cap_ioctls_get(int fd, u_long *, size_t)
	sysCapFcntlsLimit = 536 // cap_fcntls_limit(int fd, uint32_t)
	sysCapFcntlsGet   = 537 // cap_fcntls_get(int fd, uint32_t *)
)

// rightsVersion is CAP_RIGHTS_VERSION_00: two words.
const rightsVersion = 0

// result makes an error of what a system call says. None of these calls sleeps, so
// none is interrupted.
func result(_, _ uintptr, errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func enter() error {
	return result(syscall.Syscall(sysCapEnter, 0, 0, 0))
}

func mode() (bool, error) {
	var in uint32
	err := result(syscall.Syscall(sysCapGetmode, uintptr(unsafe.Pointer(&in)), 0, 0))
	return in != 0, err
}

// kernelAll has the words of all rights of the running kernel, once asked for.
var kernelAll atomic.Pointer[rights.Set]

// all returns all rights of the running kernel. That is what a descriptor has which
// was just made.
func all() (rights.Set, error) {
	if s := kernelAll.Load(); s != nil {
		return *s, nil
	}
	// A kqueue is one descriptor, may be made in capability mode, and is not
	// inherited by children.
	fd, err := syscall.Kqueue()
	if err != nil {
		return rights.Set{}, fmt.Errorf("make a descriptor to ask for all rights: %w", err)
	}
	defer syscall.Close(fd)
	s, err := getRights(fd)
	if err != nil {
		return rights.Set{}, err
	}
	kernelAll.Store(&s)
	return s, nil
}

// limitRights leaves out rights that the kernel is too old to know, which it would
// answer with EINVAL. It has nothing that they permit.
func limitRights(fd int, s rights.Set) error {
	if !rights.AllOf(14).Contains(s) {
		known, err := all()
		if err != nil {
			return err
		}
		s.Intersect(known)
	}
	words := s.Words()
	return result(syscall.Syscall(sysCapRightsLimit, uintptr(fd), uintptr(unsafe.Pointer(&words)), 0))
}

func getRights(fd int) (rights.Set, error) {
	var words [2]uint64
	err := result(syscall.Syscall(sysCapRightsGet, rightsVersion, uintptr(fd), uintptr(unsafe.Pointer(&words))))
	if err != nil {
		return rights.Set{}, err
	}
	return rights.FromWords(words[:])
}

// A Go uint is as long as FreeBSD's u_long on every architecture.

func limitIoctls(fd int, cmds []uint) error {
	first := unsafe.Pointer(unsafe.SliceData(cmds))
	return result(syscall.Syscall(sysCapIoctlsLimit, uintptr(fd), uintptr(first), uintptr(len(cmds))))
}

func getIoctls(fd int) ([]uint, bool, error) {
	cmds := make([]uint, 256) // the longest list, as of now
	for {
		first := unsafe.Pointer(unsafe.SliceData(cmds))
		n, _, errno := syscall.Syscall(sysCapIoctlsGet, uintptr(fd), uintptr(first), uintptr(len(cmds)))
		switch {
		case errno != 0:
			return nil, false, errno
		case n == rights.IoctlsAll:
			return nil, false, nil
		case int(n) <= len(cmds):
			return cmds[:n:n], true, nil
		}
		cmds = make([]uint, n)
	}
}

func limitFcntls(fd int, mask rights.Fcntls) error {
	return result(syscall.Syscall(sysCapFcntlsLimit, uintptr(fd), uintptr(mask), 0))
}

func getFcntls(fd int) (rights.Fcntls, error) {
	var mask uint32
	err := result(syscall.Syscall(sysCapFcntlsGet, uintptr(fd), uintptr(unsafe.Pointer(&mask)), 0))
	return rights.Fcntls(mask), err
}
