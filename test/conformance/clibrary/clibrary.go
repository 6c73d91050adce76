//go:build cgo && linux && clibrary

package clibrary

// The linker is told of the library itself when the whole program is linked: were its
// place known here, everything in C would be compiled again for each.

// #cgo CFLAGS: -std=c11 -Wall -Wextra -Werror -I${SRCDIR}/../../../c/include
// #include <sys/capsicum.h>
//
// static ssize_t all_ioctls(void) { return CAP_IOCTLS_ALL; }
// static void empty(cap_rights_t *r) { cap_rights_init(r); }
// static void add(cap_rights_t *r, uint64_t right) { cap_rights_set(r, right); }
import "C"

import (
	"fmt"
	"syscall"

	"github.com/capsicum-go/capsicum/rights"
)

// Library is the C library, with the methods that are the Go package's functions.
type Library struct{}

// said is the errno of a call that returned -1, and nothing of any other.
func said(r C.int, errno error) error {
	switch {
	case r == 0:
		return nil
	case r != -1 || errno == nil:
		return fmt.Errorf("the call returned %d, errno %v", r, errno)
	}
	return errno
}

// Enter is cap_enter.
func (Library) Enter() error {
	r, errno := C.cap_enter()
	return said(r, errno)
}

// Mode is cap_getmode.
func (Library) Mode() (bool, error) {
	mode := C.uint(2)
	if r, errno := C.cap_getmode(&mode); r != 0 {
		return false, said(r, errno)
	}
	if mode > 1 {
		return false, fmt.Errorf("cap_getmode says %d", mode)
	}
	return mode == 1, nil
}

// Sandboxed is cap_sandboxed.
func (Library) Sandboxed() bool { return bool(C.cap_sandboxed()) }

// LimitSetFD is cap_rights_limit.
func (Library) LimitSetFD(fd int, s rights.Set) error {
	var r C.cap_rights_t
	for i, w := range s.Words() {
		r.cr_rights[i] = C.uint64_t(w)
	}
	return limited(fd, &r)
}

// LimitFD is cap_rights_limit of what cap_rights_init and cap_rights_set make.
func (Library) LimitFD(fd int, list ...rights.Right) error {
	var r C.cap_rights_t
	C.empty(&r)
	for _, right := range list {
		C.add(&r, C.uint64_t(right))
	}
	return limited(fd, &r)
}

func limited(fd int, r *C.cap_rights_t) error {
	n, errno := C.cap_rights_limit(C.int(fd), r)
	return said(n, errno)
}

// RightsFD is cap_rights_get.
func (Library) RightsFD(fd int) (rights.Set, error) {
	var r C.cap_rights_t
	if n, errno := C.cap_rights_get(C.int(fd), &r); n != 0 {
		return rights.Set{}, said(n, errno)
	}
	words := make([]uint64, len(r.cr_rights))
	for i := range words {
		words[i] = uint64(r.cr_rights[i])
	}
	return rights.FromWords(words)
}

// LimitIoctlsFD is cap_ioctls_limit.
func (Library) LimitIoctlsFD(fd int, cmds ...uint) error {
	list := make([]C.cap_ioctl_t, len(cmds), len(cmds)+1)
	for i, cmd := range cmds {
		list[i] = C.cap_ioctl_t(cmd)
	}
	r, errno := C.cap_ioctls_limit(C.int(fd), &list[:1][0], C.size_t(len(cmds)))
	return said(r, errno)
}

// IoctlsFD is cap_ioctls_get, once for the number and once for the list.
func (Library) IoctlsFD(fd int) (cmds []uint, limited bool, err error) {
	count, err := C.cap_ioctls_get(C.int(fd), nil, 0)
	if count < 0 {
		return nil, false, said(C.int(count), err)
	}
	if count == C.all_ioctls() {
		return nil, false, nil
	}
	list := make([]C.cap_ioctl_t, count, count+1)
	again, err := C.cap_ioctls_get(C.int(fd), &list[:1][0], C.size_t(count))
	if again != count {
		return nil, false, fmt.Errorf("cap_ioctls_get says %d, then %d: %w", count, again, err)
	}
	for _, cmd := range list {
		cmds = append(cmds, uint(cmd))
	}
	return cmds, true, nil
}

// LimitFcntlsFD is cap_fcntls_limit.
func (Library) LimitFcntlsFD(fd int, mask rights.Fcntls) error {
	r, errno := C.cap_fcntls_limit(C.int(fd), C.uint32_t(mask))
	return said(r, errno)
}

// FcntlsFD is cap_fcntls_get.
func (Library) FcntlsFD(fd int) (rights.Fcntls, error) {
	var mask C.uint32_t
	r, errno := C.cap_fcntls_get(C.int(fd), &mask)
	return rights.Fcntls(mask), said(r, errno)
}

// Limit is LimitFD for an open file.
func (l Library) Limit(f syscall.Conn, list ...rights.Right) error {
	return through(f, func(fd int) error { return l.LimitFD(fd, list...) })
}

// Rights is RightsFD for an open file.
func (l Library) Rights(f syscall.Conn) (s rights.Set, err error) {
	err = through(f, func(fd int) error { s, err = l.RightsFD(fd); return err })
	return s, err
}

func through(f syscall.Conn, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = do(int(fd)) }); err != nil {
		return err
	}
	return result
}
