package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LandlockABI returns the kernel's Landlock version, or an errno: ENOSYS when
// it is not built in, EOPNOTSUPP when it is not enabled at boot.
func LandlockABI() (int, error) {
	v, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0, e
	}
	return int(v), nil
}

// LandlockErrata returns which corrections the running ABI has, a bit for each; none
// where the kernel can't tell.
func LandlockErrata() (uint32, error) {
	const errata = 2 // LANDLOCK_CREATE_RULESET_ERRATA
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, errata)
	switch e {
	case 0:
		return uint32(v), nil
	case unix.EINVAL:
		return 0, nil
	}
	return 0, e
}

// LandlockCreate makes a ruleset that handles what attr says. size is how much
// of attr the running ABI knows.
func LandlockCreate(attr *unix.LandlockRulesetAttr, size uintptr) (int, error) {
	fd, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(attr)), size, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// LandlockAllow adds a rule for the tree or file behind fd.
func LandlockAllow(ruleset, fd int, access uint64) error {
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset),
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// ExecuteNoNames keeps every thread of this process from executing a file that has a
// name, for good; one in a memfd, which no name leads to, can be. It needs
// no_new_privs on all of them. In a program with cgo the threads are not all the
// runtime's, and it fails.
func ExecuteNoNames() error {
	if _, err := LandlockABI(); err != nil {
		return err
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_EXECUTE}
	fd, err := LandlockCreate(&attr, unsafe.Sizeof(attr.Handled_access_fs))
	if err != nil {
		return err
	}
	defer NewFD(fd).CloseSoon()
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); e != 0 {
		return e
	}
	return nil
}

// LandlockRestrict confines the calling thread, which must have no_new_privs
// or CAP_SYS_ADMIN.
func LandlockRestrict(ruleset int) error {
	_, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
