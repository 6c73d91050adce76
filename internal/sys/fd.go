package sys

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// FD owns one descriptor. Closing it twice is harmless, using it after Close
// yields -1 and so EBADF: a number that was given back to the kernel may
// already mean something else.
type FD struct {
	n atomic.Int64 // descriptor + 1, so that the zero FD is closed
}

// NewFD takes ownership of descriptor n.
func NewFD(n int) *FD {
	f := new(FD)
	if n >= 0 {
		f.n.Store(int64(n) + 1)
	}
	return f
}

// Int returns the descriptor's number, -1 once closed. It stays owned by f.
func (f *FD) Int() int {
	if f == nil {
		return -1
	}
	return int(f.n.Load()) - 1
}

// Valid reports whether f still owns a descriptor.
func (f *FD) Valid() bool { return f.Int() >= 0 }

// Close gives the descriptor back. A nil or closed FD is left alone.
func (f *FD) Close() error {
	n := f.Release()
	if n < 0 {
		return nil
	}
	// close(2) is never retried: after EINTR the number is already free.
	if err := unix.Close(n); err != nil && err != unix.EINTR {
		return fmt.Errorf("close descriptor %d: %w", n, err)
	}
	return nil
}

// Release hands the number to the caller, who now has to close it.
func (f *FD) Release() int {
	if f == nil {
		return -1
	}
	return int(f.n.Swap(0)) - 1
}

// Dup returns a second descriptor of the same open file, close-on-exec.
func (f *FD) Dup() (*FD, error) {
	n, err := unix.FcntlInt(uintptr(f.Int()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor %d: %w", f.Int(), err)
	}
	return NewFD(n), nil
}
