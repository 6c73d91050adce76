package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ReopenMemory opens an anonymous file in memory, which fd has open for writing, for
// reading only. It returns nil for any other file, and where /proc is not to be had.
//
// A filter can't tell of what file a mapping is that mprotect makes writable; of one
// that is open for reading only, the kernel makes none. So who may map what he may
// not write needs such a descriptor.
func ReopenMemory(fd int) (*FD, error) {
	var st unix.Stat_t
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDWR || unix.Fstat(fd, &st) != nil {
		return nil, nil
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 0 {
		return nil, nil
	}
	n, err := unix.Open(FDName(fd), unix.O_RDONLY|unix.O_CLOEXEC|flags&unix.O_APPEND, 0)
	if err != nil {
		return nil, nil
	}
	again := NewFD(n)
	var new unix.Stat_t
	if err := unix.Fstat(n, &new); err != nil || new.Dev != st.Dev || new.Ino != st.Ino {
		return nil, again.Close() // another file took the number meanwhile
	}
	at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
	if err == nil {
		_, err = unix.Seek(n, at, unix.SEEK_SET)
	}
	if err != nil {
		return nil, errors.Join(err, again.Close())
	}
	return again, nil
}
