//go:build linux || freebsd

package conformance

import (
	"syscall"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

// library is what a process of cases confines itself with.
type library interface {
	Enter() error
	Mode() (bool, error)
	Sandboxed() bool
	Limit(f syscall.Conn, r ...rights.Right) error
	LimitFD(fd int, r ...rights.Right) error
	LimitSetFD(fd int, s rights.Set) error
	Rights(f syscall.Conn) (rights.Set, error)
	RightsFD(fd int) (rights.Set, error)
	LimitIoctlsFD(fd int, cmds ...uint) error
	IoctlsFD(fd int) (cmds []uint, limited bool, err error)
	LimitFcntlsFD(fd int, mask rights.Fcntls) error
	FcntlsFD(fd int) (rights.Fcntls, error)
}

// lib is the Go package, unless this program is linked with the C library.
var lib library = goLibrary{}

type goLibrary struct{}

func (goLibrary) Enter() error                                  { return capsicum.Enter() }
func (goLibrary) Mode() (bool, error)                           { return capsicum.Mode() }
func (goLibrary) Sandboxed() bool                               { return capsicum.Sandboxed() }
func (goLibrary) Limit(f syscall.Conn, r ...rights.Right) error { return capsicum.Limit(f, r...) }
func (goLibrary) LimitFD(fd int, r ...rights.Right) error       { return capsicum.LimitFD(fd, r...) }
func (goLibrary) LimitSetFD(fd int, s rights.Set) error         { return capsicum.LimitSetFD(fd, s) }
func (goLibrary) Rights(f syscall.Conn) (rights.Set, error)     { return capsicum.Rights(f) }
func (goLibrary) RightsFD(fd int) (rights.Set, error)           { return capsicum.RightsFD(fd) }
func (goLibrary) LimitIoctlsFD(fd int, cmds ...uint) error {
	return capsicum.LimitIoctlsFD(fd, cmds...)
}
func (goLibrary) IoctlsFD(fd int) ([]uint, bool, error)       { return capsicum.IoctlsFD(fd) }
func (goLibrary) LimitFcntlsFD(fd int, m rights.Fcntls) error { return capsicum.LimitFcntlsFD(fd, m) }
func (goLibrary) FcntlsFD(fd int) (rights.Fcntls, error)      { return capsicum.FcntlsFD(fd) }
