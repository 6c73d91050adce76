//go:build !linux && !freebsd

package capsicum

import (
	"syscall"

	"github.com/capsicum-go/capsicum/rights"
)

// Errors that never occur here: every call fails with [ErrNotSupported].
const (
	ErrCapabilityMode = syscall.Errno(0x20000086)
	ErrNotCapable     = syscall.Errno(0x20000087)
)

func enter() error                         { return ErrNotSupported }
func mode() (bool, error)                  { return false, ErrNotSupported }
func limitRights(int, rights.Set) error    { return ErrNotSupported }
func getRights(int) (rights.Set, error)    { return rights.Set{}, ErrNotSupported }
func limitIoctls(int, []uint) error        { return ErrNotSupported }
func getIoctls(int) ([]uint, bool, error)  { return nil, false, ErrNotSupported }
func limitFcntls(int, rights.Fcntls) error { return ErrNotSupported }
func getFcntls(int) (rights.Fcntls, error) { return 0, ErrNotSupported }
