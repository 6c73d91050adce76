package sys

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Identity is what the kernel judges a thread by, as far as one thread can
// take it on for another. Saved ids are left alone: they are what makes the way
// back possible.
type Identity struct {
	RUID, RGID   uint32 // what a message is signed with
	EUID, EGID   uint32 // what a connection is signed with
	FSUID, FSGID uint32 // what files are judged by
	Groups       []uint32
	Effective    uint64 // capabilities
}

// Equal reports whether i and j are judged alike.
func (i *Identity) Equal(j *Identity) bool {
	return i.RUID == j.RUID && i.RGID == j.RGID && i.EUID == j.EUID && i.EGID == j.EGID && i.FSUID == j.FSUID && i.FSGID == j.FSGID &&
		i.Effective == j.Effective && slices.Equal(i.Groups, j.Groups)
}

// ErrIdentity says that a thread has not the identity it should have. Such a
// thread must end.
var ErrIdentity = errors.New("thread identity is not what was asked for")

// ThreadIdentity returns the calling thread's identity.
func ThreadIdentity() (*Identity, error) {
	var i Identity
	i.RUID, i.EUID, _ = resID(unix.SYS_GETRESUID)
	i.RGID, i.EGID, _ = resID(unix.SYS_GETRESGID)
	i.FSUID = setFSID(unix.SYS_SETFSUID, noID)
	i.FSGID = setFSID(unix.SYS_SETFSGID, noID)
	groups, err := threadGroups()
	if err != nil {
		return nil, err
	}
	i.Groups = groups
	_, i.Effective, err = threadCaps()
	return &i, err
}

// Fixed reports whether no thread of this process, and no process it starts
// under no_new_privs, can ever have another identity than it has now: all user
// ids are one, all group ids are one, and there is no capability to change
// that with.
func Fixed() (bool, error) {
	r, e, s := resID(unix.SYS_GETRESUID)
	gr, ge, gs := resID(unix.SYS_GETRESGID)
	data, _, err := threadCaps()
	if err != nil {
		return false, err
	}
	none := data[0].Permitted|data[1].Permitted == 0
	return none && r == e && e == s && gr == ge && ge == gs &&
		setFSID(unix.SYS_SETFSUID, noID) == e && setFSID(unix.SYS_SETFSGID, noID) == ge, nil
}

// Assume gives the calling thread the identity want, in place of base, which
// it has. Capabilities that base has not are not gained. The thread must be
// locked to its goroutine; Resume brings base back. After an error of either
// the thread must end.
func Assume(base, want *Identity) error {
	if !slices.Equal(base.Groups, want.Groups) {
		if err := setThreadGroups(want.Groups); err != nil {
			return fmt.Errorf("set groups of thread: %w", err)
		}
	}
	if err := setIDs(groupCalls, base.group(), want.group()); err != nil {
		return fmt.Errorf("set group of thread: %w", err)
	}
	if err := setIDs(userCalls, base.user(), want.user()); err != nil {
		return fmt.Errorf("set user of thread: %w", err)
	}
	// Last, because the steps above need the capabilities; and always, because
	// the kernel moves effective capabilities along with user ids.
	effective := want.Effective & base.Effective
	if err := setEffective(effective); err != nil {
		return fmt.Errorf("set capabilities of thread: %w", err)
	}
	got, err := ThreadIdentity()
	if err != nil {
		return err
	}
	expect := *want
	expect.Effective = effective
	if !got.Equal(&expect) {
		return fmt.Errorf("%w: %+v, not %+v", ErrIdentity, *got, expect)
	}
	return nil
}

// Resume gives the calling thread base back after Assume(base, was).
func Resume(base, was *Identity) error {
	if err := raise(); err != nil {
		return fmt.Errorf("raise capabilities of thread: %w", err)
	}
	if err := setIDs(userCalls, was.user(), base.user()); err != nil {
		return fmt.Errorf("restore user of thread: %w", err)
	}
	if err := setIDs(groupCalls, was.group(), base.group()); err != nil {
		return fmt.Errorf("restore group of thread: %w", err)
	}
	if !slices.Equal(base.Groups, was.Groups) {
		if err := setThreadGroups(base.Groups); err != nil {
			return fmt.Errorf("restore groups of thread: %w", err)
		}
	}
	if err := setEffective(base.Effective); err != nil {
		return fmt.Errorf("restore capabilities of thread: %w", err)
	}
	got, err := ThreadIdentity()
	if err != nil {
		return err
	}
	if !got.Equal(base) {
		return fmt.Errorf("%w: %+v, not %+v", ErrIdentity, *got, *base)
	}
	return nil
}

// noID leaves an id as it is.
const noID = ^uint32(0)

// ids are the user or the group part of an identity.
type ids struct{ real, effective, fs uint32 }

func (i *Identity) user() ids  { return ids{i.RUID, i.EUID, i.FSUID} }
func (i *Identity) group() ids { return ids{i.RGID, i.EGID, i.FSGID} }

// idCalls are the calls that change ids.
type idCalls struct{ setres, setfs uintptr }

var (
	userCalls  = idCalls{unix.SYS_SETRESUID, unix.SYS_SETFSUID}
	groupCalls = idCalls{unix.SYS_SETRESGID, unix.SYS_SETFSGID}
)

// setIDs changes the calling thread's ids from have to want. Changing the
// effective id moves the file system id along.
func setIDs(c idCalls, have, want ids) error {
	if have == want {
		return nil
	}
	if have.real != want.real || have.effective != want.effective {
		if _, _, e := unix.RawSyscall(c.setres, uintptr(want.real), uintptr(want.effective), uintptr(noID)); e != 0 {
			return e
		}
		// Leaving user 0 took the effective capabilities, and with them the way
		// to a third id.
		if err := raise(); err != nil {
			return err
		}
	}
	setFSID(c.setfs, want.fs)
	if setFSID(c.setfs, noID) != want.fs {
		return unix.EPERM // setfsuid has no way to say so
	}
	return nil
}

func setFSID(call uintptr, id uint32) uint32 {
	old, _, _ := unix.RawSyscall(call, uintptr(id), 0, 0)
	return uint32(old)
}

func resID(call uintptr) (r, e, s uint32) {
	_, _, _ = unix.RawSyscall(call, uintptr(unsafe.Pointer(&r)), uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&s)))
	return r, e, s
}

func threadGroups() ([]uint32, error) {
	n, _, e := unix.RawSyscall(unix.SYS_GETGROUPS, 0, 0, 0)
	if e != 0 {
		return nil, fmt.Errorf("read groups: %w", e)
	}
	if n == 0 {
		return nil, nil
	}
	groups := make([]uint32, n)
	n, _, e = unix.RawSyscall(unix.SYS_GETGROUPS, n, uintptr(unsafe.Pointer(&groups[0])), 0)
	if e != 0 {
		return nil, fmt.Errorf("read groups: %w", e)
	}
	return groups[:n], nil
}

// setThreadGroups is the raw call: x/sys would change every thread.
func setThreadGroups(groups []uint32) error {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0)
	return errnoErr(e)
}

func threadCaps() (data [2]unix.CapUserData, effective uint64, err error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return data, 0, fmt.Errorf("read capabilities: %w", err)
	}
	return data, uint64(data[0].Effective) | uint64(data[1].Effective)<<32, nil
}

// raise makes every permitted capability effective.
func raise() error {
	data, _, err := threadCaps()
	if err != nil {
		return err
	}
	return setEffective(uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32)
}

func setEffective(caps uint64) error {
	data, have, err := threadCaps()
	if err != nil || have == caps {
		return err
	}
	data[0].Effective = uint32(caps)
	data[1].Effective = uint32(caps >> 32)
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capset(&hdr, &data[0])
}

// OwnFS gives the calling thread a working directory and umask of its own. A
// seccomp profile around us may refuse it.
func OwnFS() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare working directory and umask: %w", err)
	}
	return nil
}
