//go:build linux

package selfconfined

import (
	"fmt"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// deviceAttacks have a device keep a limited descriptor, which they name in memory, and
// use it through another of their own.
var deviceAttacks = []attack{
	{name: "a session of a file system on another device", root: true, do: clonedSession},
	{name: "an event that a virtual machine signals", do: signalledByMachine},
}

// device opens a device; errAbsent if the machine has none, or none for this user.
func device(name string) (int, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.EACCES || err == unix.ENODEV || err == unix.ENXIO {
		return -1, fmt.Errorf("%w: %s: %w", errAbsent, name, err)
	}
	return must(fd, err), nil
}

// clonedSession reads what a limited descriptor of a FUSE is asked.
func clonedSession(a *attacker) error {
	const clone = 0x8004e500 // FUSE_DEV_IOC_CLONE
	session, err := device(fuse)
	if err != nil {
		return err
	}
	check(unix.Unshare(unix.CLONE_NEWNS))
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(unix.Mount("none", a.dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", session)))
	a.limit(session, rights.Fstat)
	other := must(device(fuse))
	if err := unix.IoctlSetPointerInt(other, clone, session); err != nil {
		return err
	}
	_, err = unix.Read(other, make([]byte, 1<<17))
	return err
}

// signalledByMachine has writes of a guest written to an event that may only be read.
func signalledByMachine(a *attacker) error {
	const createMachine, signal = 0xae01, 0x4040ae79 // KVM_CREATE_VM, KVM_IOEVENTFD
	kvm, err := device("/dev/kvm")
	if err != nil {
		return err
	}
	event := must(unix.Eventfd(0, unix.EFD_CLOEXEC))
	a.limit(event, rights.Read, rights.Event, rights.Fstat)
	machine := must(unix.IoctlRetInt(kvm, createMachine))
	at := struct { // struct kvm_ioeventfd
		match, addr uint64
		length, fd  int32
		flags       uint32
		_           [36]byte
	}{addr: 0x1000, length: 4, fd: int32(event)}
	if _, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(machine), signal, uintptr(unsafe.Pointer(&at))); err != 0 {
		return err
	}
	return nil
}
