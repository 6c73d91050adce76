package shm

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mode is that of a new object. It matters: whoever sees this process in /proc can
// open its descriptors again as far as their mode lets them.
const mode = 0o600

// name is what /proc shows. Nothing is found by it.
const name = "anon"

// create makes an empty object. It is never a program that could be executed, on
// FreeBSD neither: where the kernel knows of that (6.3) it is kept from becoming one.
// Mapping it for execution is a right, and another matter.
func create(sealable bool) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "shm:"+name)
	if err := unix.Fchmod(fd, mode); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !sealable {
		if err := addSeals(fd, SealSeal); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

func mapFile(fd int, offset int64, length int, prot Prot) ([]byte, error) {
	return unix.Mmap(fd, offset, length, protection(prot), unix.MAP_SHARED)
}

func unmap(mem []byte) error { return unix.Munmap(mem) }

func addSeals(fd int, s Seals) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, int(s))
	return err
}

func getSeals(fd int) (Seals, error) {
	s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return Seals(s), err
}
