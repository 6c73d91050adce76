package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadProcess copies up to len(buf) bytes from another process's memory. A
// short count means that the rest is not mapped.
func ReadProcess(tid int, addr uint64, buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	local := unix.Iovec{Base: &buf[0]}
	local.SetLen(len(buf))
	remote := unix.RemoteIovec{Base: uintptr(addr), Len: len(buf)}
	n, _, e := unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid),
		uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// SiginfoFrom returns the siginfo_t whose bytes are raw.
func SiginfoFrom(raw [128]byte) *unix.Siginfo {
	return (*unix.Siginfo)(unsafe.Pointer(&raw))
}
