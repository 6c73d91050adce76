package sys

import (
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openat2 gives up with EAGAIN when a rename anywhere in the system races with
// its "..": a few tries tell bad luck from somebody renaming in a loop.
const openTries = 16

// Open opens path below dirfd with openat2. O_CLOEXEC is always added.
func Open(dirfd int, path string, flags, mode, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: resolve}
	var fd int
	var err error
	for range openTries {
		err = Retry(func() (e error) {
			fd, e = unix.Openat2(dirfd, path, &how)
			return e
		})
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// OpenName opens the one component name in dirfd as an O_PATH descriptor; a
// symlink is opened itself.
func OpenName(dirfd int, name string) (int, error) {
	var fd int
	err := Retry(func() (e error) {
		fd, e = unix.Openat(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return e
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// FDName is the name that leads to the object behind one of our own
// descriptors, an O_PATH one included.
func FDName(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Readlink returns the target of the symlink name in dirfd, or of the symlink
// that dirfd itself is when name is empty.
func Readlink(dirfd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	var n int
	err := Retry(func() (e error) {
		n, e = unix.Readlinkat(dirfd, name, buf)
		return e
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// Raw returns the memory of v, to be copied to where the kernel would have
// written it.
func Raw[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
