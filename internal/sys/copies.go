package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// CanCopyDescriptors reports whether pidfd_getfd(2) works here: Docker's default
// profile refuses it, even towards oneself.
func CanCopyDescriptors() bool {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	pidfd := NewFD(self)
	defer pidfd.Close()
	n, err := unix.PidfdGetfd(self, self, 0)
	if err != nil {
		return false
	}
	return NewFD(n).Close() == nil
}
