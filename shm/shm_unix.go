//go:build linux || freebsd

package shm

import "golang.org/x/sys/unix"

func protection(p Prot) int {
	n := unix.PROT_NONE
	for _, bit := range []struct {
		prot Prot
		n    int
	}{{Read, unix.PROT_READ}, {Write, unix.PROT_WRITE}, {Exec, unix.PROT_EXEC}} {
		if p&bit.prot != 0 {
			n |= bit.n
		}
	}
	return n
}
