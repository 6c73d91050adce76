package sys

import (
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls in this file are those of a program that confines itself: over soon, and made
// without telling the runtime. Who tells it loses the processor to other goroutines when
// the call takes longer than some microseconds, and for these the runtime may start a
// thread, which ends a program that can have none (RLIMIT_NPROC).

// Question makes a request that is answered at once, by filters or by a supervisor.
func Question(nr, op, a, b uintptr) (uintptr, error) {
	n, _, e := unix.RawSyscall6(nr, op, a, b, 0, 0, 0)
	return n, errnoErr(e)
}

// Fcntl is fcntl(2) with a number, for commands that don't wait.
func Fcntl(fd, cmd, arg int) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(arg))
	return int(n), errnoErr(e)
}

// Dup3 is dup3(2).
func Dup3(from, to, flags int) error {
	return Retry(func() error {
		_, _, e := unix.RawSyscall(unix.SYS_DUP3, uintptr(from), uintptr(to), uintptr(flags))
		return errnoErr(e)
	})
}

// SockoptInt returns an option of a socket.
func SockoptInt(fd, level, name int) (int, error) {
	var value int32
	size := uint32(unsafe.Sizeof(value))
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	return int(value), errnoErr(e)
}

// Prctl is prctl(2) with a number.
func Prctl(option int, arg uintptr) error {
	_, _, e := unix.RawSyscall6(unix.SYS_PRCTL, uintptr(option), arg, 0, 0, 0, 0)
	return errnoErr(e)
}

// Collect is wait4(2) for a process that ends soon, or with WNOHANG.
func Collect(pid, options int) (int, error) {
	var got int
	err := Retry(func() error {
		n, _, e := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(pid), 0, uintptr(options), 0, 0, 0)
		got = int(n)
		return errnoErr(e)
	})
	return got, err
}

// AwaitWord is [WaitWord] for what happens soon. The runtime may interrupt it.
func AwaitWord(addr *uint32, old uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait, uintptr(old), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// NewMemory returns an anonymous file in memory, of a size.
func NewMemory(name string, size int) (*FD, error) {
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	n, _, e := unix.RawSyscall(unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(text)), unix.MFD_CLOEXEC, 0)
	if e != 0 {
		return nil, fmt.Errorf("create memory: %w", e)
	}
	fd := NewFD(int(n))
	if _, _, e := unix.RawSyscall(unix.SYS_FTRUNCATE, n, uintptr(size), 0); e != 0 {
		fd.CloseSoon()
		return nil, fmt.Errorf("size memory: %w", e)
	}
	return fd, nil
}

// MapShared maps the beginning of a file in memory, for reading and writing.
func MapShared(fd, size int) (unsafe.Pointer, error) {
	return mapShared(fd, size, unix.PROT_READ|unix.PROT_WRITE, 0)
}

func mapShared(fd, size int, prot, flags uintptr) (unsafe.Pointer, error) {
	at, _, e := unix.RawSyscall6(unix.SYS_MMAP, 0, uintptr(size), prot, unix.MAP_SHARED|flags, uintptr(fd), 0)
	if e != 0 {
		return nil, e
	}
	return *(*unsafe.Pointer)(unsafe.Pointer(&at)), nil // not the collector's
}

// Unmap undoes [MapShared].
func Unmap(p unsafe.Pointer, size int) {
	_, _, _ = unix.RawSyscall(unix.SYS_MUNMAP, uintptr(p), uintptr(size), 0) // it is a mapping
}

// CloseSoon closes what nobody waits for: not a connection, and no file of a file system
// that writes it back.
func (f *FD) CloseSoon() {
	if n := f.Release(); n >= 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(n), 0, 0) // the number is free in any case
	}
}

// Lives reports whether a process has not ended; nobody may have collected it.
func Lives(pid int) bool {
	local := unix.Iovec{Base: new(byte), Len: 1}
	remote := unix.RemoteIovec{Base: 1, Len: 1}
	_, _, e := unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1,
		uintptr(unsafe.Pointer(&remote)), 1, 0)
	// Whether that may be looked at or not, a process without memory has ended.
	if e == unix.ESRCH {
		return false
	}
	// The call may be refused to everybody here.
	fd, err := openProc("/proc/"+strconv.Itoa(pid), unix.O_PATH)
	if err != nil {
		return err != unix.ENOENT
	}
	_ = CloseUnasked(fd.Release())
	return true
}

// openProc opens a file of procfs.
func openProc(name string, flags int) (*FD, error) {
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	var fd *FD
	err = Retry(func() error {
		dir := unix.AT_FDCWD
		n, _, e := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(text)), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		if e == 0 {
			fd = NewFD(int(n))
		}
		return errnoErr(e)
	})
	return fd, err
}

// takeFrom makes a call of read(2)'s kind.
func takeFrom(nr uintptr, fd *FD, buf []byte) (int, error) {
	var got int
	err := Retry(func() error {
		n, _, e := unix.RawSyscall(nr, uintptr(fd.Int()), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		got = int(n)
		return errnoErr(e)
	})
	return got, err
}

func fstat(fd int, st *unix.Stat_t) error {
	_, _, e := unix.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(st)), 0)
	return errnoErr(e)
}

func seek(fd int, offset uintptr, whence int) (uintptr, error) {
	at, _, e := unix.RawSyscall(unix.SYS_LSEEK, uintptr(fd), offset, uintptr(whence))
	return at, errnoErr(e)
}
