package procdesc

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"
)

// The system calls of procdesc(4), which package syscall has no names for.
const (
	sysPdkill   = 519 // pdkill(int fd, int signum)
	sysPdgetpid = 520 // pdgetpid(int fd, pid_t *pidp)
)

func self(path string) string { return path }

func closed() {}

func getpid(fd int) (int, error) {
	var pid int32
	if _, _, errno := syscall.Syscall(sysPdgetpid, uintptr(fd), uintptr(unsafe.Pointer(&pid)), 0); errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

func kill(fd int, sig syscall.Signal) error {
	if _, _, errno := syscall.Syscall(sysPdkill, uintptr(fd), uintptr(sig), 0); errno != 0 {
		return errno
	}
	return nil
}

// living looks at the owner's permissions, which say so of what has no place in any
// file system.
func living(fd int) (bool, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return false, err
	}
	if st.Ino != 0 || st.Nlink != 0 {
		return false, syscall.EBADF
	}
	return st.Mode&0o700 != 0, nil
}

// The status of a process descriptor is told by kevent(2) only, and rusage by pdwait(2),
// which released systems have not.
func tryWait(int) (*Exit, error) { return nil, ErrNotSupported }

func (p *Process) wait() (*Exit, error) { return nil, ErrNotSupported }

// The Go runtime forks by itself, and not with pdfork(2).
func fork(*exec.Cmd, *os.File, Flags) (*os.File, error) { return nil, ErrNotSupported }
