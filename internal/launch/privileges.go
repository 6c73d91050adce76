package launch

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kept are the capabilities that a program started by root keeps, and only over
// the sandbox's own user namespace where there is one: owning, changing and
// reading files whoever they belong to, and changing to another user. A program
// started by an ordinary user has none.
var kept = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETUID, unix.CAP_SETGID,
}

// dropPrivileges takes from the calling thread, and from all it will start,
// every capability that is not kept, and the way to gain any by executing.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	root := unix.Geteuid() == 0
	var mask [2]uint32
	for _, c := range kept {
		if root {
			mask[c/32] |= 1 << (c % 32)
		}
	}
	if err := dropBounding(data[0].Effective, mask); err != nil {
		return err
	}
	for i := range data {
		data[i].Permitted &= mask[i]
		data[i].Effective &= mask[i]
		data[i].Inheritable = 0
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// dropBounding keeps executing from bringing back what is dropped. It takes
// CAP_SETPCAP; a thread without it has no capability that an exec under
// no_new_privs could bring back.
func dropBounding(effective uint32, keep [2]uint32) error {
	if effective&(1<<unix.CAP_SETPCAP) == 0 {
		return nil
	}
	for c := 0; ; c++ {
		set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err == unix.EINVAL {
			return nil // past the last one
		}
		if err != nil {
			return fmt.Errorf("read capability bounding set: %w", err)
		}
		if set == 0 || keep[c/32]&(1<<(c%32)) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
}
