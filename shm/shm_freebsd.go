package shm

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What package syscall has no names for.
const (
	shmAnon         = 1   // SHM_ANON, a pointer
	sysShmOpen2     = 571 // shm_open2(const char *path, int flags, mode_t mode, int shmflags, const char *name)
	shmAllowSealing = 1
	fAddSeals       = 19
	fGetSeals       = 20
)

const mode = 0o600

func create(sealable bool) (*os.File, error) {
	var fd uintptr
	var errno syscall.Errno
	if sealable {
		fd, _, errno = syscall.Syscall6(sysShmOpen2, shmAnon, syscall.O_RDWR|syscall.O_CLOEXEC, mode, shmAllowSealing, 0, 0)
	} else {
		fd, _, errno = syscall.Syscall(syscall.SYS_SHM_OPEN, shmAnon, syscall.O_RDWR|syscall.O_CLOEXEC, mode)
	}
	if errno != 0 {
		return nil, errno
	}
	return os.NewFile(fd, "shm:anon"), nil
}

func mapFile(fd int, offset int64, length int, prot Prot) ([]byte, error) {
	return unix.Mmap(fd, offset, length, protection(prot), unix.MAP_SHARED)
}

func unmap(mem []byte) error { return unix.Munmap(mem) }

func addSeals(fd int, s Seals) error {
	_, err := unix.FcntlInt(uintptr(fd), fAddSeals, int(s))
	return err
}

func getSeals(fd int) (Seals, error) {
	s, err := unix.FcntlInt(uintptr(fd), fGetSeals, 0)
	return Seals(s), err
}
