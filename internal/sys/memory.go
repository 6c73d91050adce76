package sys

import "golang.org/x/sys/unix"

// ReopenMemory opens an anonymous file in memory, which fd has open for writing, for
// reading only. It returns nil for any other file, and where /proc is not to be had.
//
// A filter can't tell of what file a mapping is that mprotect makes writable; of one
// that is open for reading only, the kernel makes none. So who may map what he may
// not write needs such a descriptor.
func ReopenMemory(fd int) (*FD, error) {
	var st unix.Stat_t
	flags, err := Fcntl(fd, unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDWR {
		return nil, nil
	}
	// Only memory has seals: what is called about it from here on does not wait.
	if _, err := Fcntl(fd, unix.F_GET_SEALS, 0); err != nil || fstat(fd, &st) != nil ||
		st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 0 {
		return nil, nil
	}
	again, err := openProc(FDName(fd), unix.O_RDONLY|flags&unix.O_APPEND)
	if err != nil {
		return nil, nil
	}
	var new unix.Stat_t
	if err := fstat(again.Int(), &new); err != nil || new.Dev != st.Dev || new.Ino != st.Ino {
		again.CloseSoon()
		return nil, nil // another file took the number meanwhile
	}
	at, err := seek(fd, 0, unix.SEEK_CUR)
	if err == nil {
		_, err = seek(again.Int(), at, unix.SEEK_SET)
	}
	if err != nil {
		again.CloseSoon()
		return nil, err
	}
	return again, nil
}

// MapsReadOnly reports whether fd can be mapped shared, and the kernel does not make
// that mapping writable, which it does if the file is open for that.
func MapsReadOnly(fd int) bool {
	const size = 4096
	at, err := mapShared(fd, size, unix.PROT_NONE, unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	defer Unmap(at, size)
	_, _, errno := unix.RawSyscall(unix.SYS_MPROTECT, uintptr(at), size, unix.PROT_WRITE)
	return errno == unix.EACCES
}
