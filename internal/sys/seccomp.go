package sys

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls x/sys does not name. ID_VALID has been an "in" ioctl since 5.9;
// the older, mislabelled number is below the supported floor.
const (
	ioctlNotifIDValid  = 0x40082102
	ioctlNotifAddFD    = 0x40182103
	ioctlNotifSetFlags = 0x40082104
)

// SeccompData is struct seccomp_data: the call as its registers show it.
type SeccompData struct {
	NR   int32
	Arch uint32
	IP   uint64
	Args [6]uint64
}

// SeccompNotif is struct seccomp_notif. PID is a thread id, in the pid
// namespace of the receiver.
type SeccompNotif struct {
	ID    uint64
	PID   uint32
	Flags uint32
	Data  SeccompData
}

// SeccompNotifResp is struct seccomp_notif_resp.
type SeccompNotifResp struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

// SeccompNotifAddFD is struct seccomp_notif_addfd.
type SeccompNotifAddFD struct {
	ID         uint64
	Flags      uint32
	SrcFD      uint32
	NewFD      uint32
	NewFDFlags uint32
}

// ErrNotifyLayout says that the kernel's notification structures are not the
// ones this program was written for.
var ErrNotifyLayout = errors.New("seccomp notification structures have an unknown size")

// ProbeNotify asks the kernel for the sizes of its notification structures and
// compares them with ours. It changes nothing.
func ProbeNotify() error {
	var sizes struct{ notif, resp, data uint16 }
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes)))
	if e != 0 {
		return fmt.Errorf("ask for seccomp notification sizes: %w", e)
	}
	if uintptr(sizes.notif) != unsafe.Sizeof(SeccompNotif{}) ||
		uintptr(sizes.resp) != unsafe.Sizeof(SeccompNotifResp{}) ||
		uintptr(sizes.data) != unsafe.Sizeof(SeccompData{}) {
		return fmt.Errorf("%w: %+v", ErrNotifyLayout, sizes)
	}
	return nil
}

// ListenerFlags returns the flags to install a filter with that has a listener,
// for installing it between fork and exec: with the flag that lets only fatal
// signals interrupt a received call where the kernel knows it. A filter that is
// not there tells: EFAULT comes after the flags were understood.
func ListenerFlags() (int, error) {
	if err := ProbeNotify(); err != nil {
		return 0, err
	}
	flags := unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	if _, err := setFilter(nil, uintptr(flags)); errors.Is(err, unix.EINVAL) {
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	return flags, nil
}

// Installed tells what InstallFilter got from the kernel.
type Installed struct {
	Listener *FD // nil when no listener was asked for
	// WaitKillable is false before Linux 5.19: a signal then takes a caller out
	// of its wait after the call was received, and the call is asked again.
	WaitKillable bool
}

// InstallFilter puts prog on the calling thread, which must be locked to its
// goroutine and must not be able to gain privileges by exec. With listener it
// asks for a notification descriptor, and for the flag that lets only fatal
// signals interrupt a received call where the kernel knows it.
func InstallFilter(prog []unix.SockFilter, listener bool) (Installed, error) {
	if len(prog) == 0 || len(prog) > unix.BPF_MAXINSNS {
		return Installed{}, fmt.Errorf("install seccomp filter of %d instructions: %w", len(prog), unix.EINVAL)
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	defer runtime.KeepAlive(prog)
	if !listener {
		_, err := setFilter(&fprog, 0)
		return Installed{}, err
	}
	if err := ProbeNotify(); err != nil {
		return Installed{}, err
	}
	const base = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	n, err := setFilter(&fprog, base|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if err == nil {
		return Installed{Listener: NewFD(n), WaitKillable: true}, nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return Installed{}, err
	}
	n, err = setFilter(&fprog, base)
	if err != nil {
		return Installed{}, err
	}
	return Installed{Listener: NewFD(n)}, nil
}

// HasWaitKillable reports whether the kernel can keep signals that are not
// fatal away from a caller whose notification was received (Linux 5.19). A flag
// it does not know is refused before the missing program is.
func HasWaitKillable() bool {
	_, err := setFilter(nil, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	return errors.Is(err, unix.EFAULT)
}

func setFilter(prog *unix.SockFprog, flags uintptr) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(prog)))
	if e != 0 {
		return -1, fmt.Errorf("install seccomp filter: %w", e)
	}
	return int(n), nil
}

// NotifRecv waits for the next notification. EINTR and ENOENT (the caller died
// while its notification was on the way) are the caller's to handle. The
// kernel insists on n being zero.
func NotifRecv(fd int, n *SeccompNotif) error {
	*n = SeccompNotif{}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	return errnoErr(e)
}

// NotifSend answers a notification. It does not block.
func NotifSend(fd int, r *SeccompNotifResp) error {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
	return errnoErr(e)
}

// NotifIDValid reports whether the caller of notification id still waits.
func NotifIDValid(fd int, id uint64) error {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifIDValid, uintptr(unsafe.Pointer(&id)))
	return errnoErr(e)
}

// NotifAddFD puts a descriptor into the caller's table and returns its number
// there. It blocks until the caller has run.
func NotifAddFD(fd int, a *SeccompNotifAddFD) (int, error) {
	n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifAddFD, uintptr(unsafe.Pointer(a)))
	return int(n), errnoErr(e)
}

// NotifSyncWakeUp asks the kernel (6.6) to run the other side of a
// notification at once on the same processor.
func NotifSyncWakeUp(fd int) error {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return errnoErr(e)
}

// errnoErr turns a raw error number into an error, nil for 0.
func errnoErr(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// InstallListener is [InstallAll] for a filter that asks; it returns the number of
// the notification descriptor.
func InstallListener(prog []unix.SockFilter) (int, error) {
	if len(prog) == 0 || len(prog) > unix.BPF_MAXINSNS {
		return -1, fmt.Errorf("install seccomp filter of %d instructions: %w", len(prog), unix.EINVAL)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("give up new privileges: %w", err)
	}
	flags, err := ListenerFlags()
	if err != nil {
		return -1, err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	defer runtime.KeepAlive(prog)
	// A thread with a filter of its own is ESRCH: the result is a descriptor.
	return setFilter(&fprog, uintptr(flags)|unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

// CloseCookie in the second argument of close(2), which the kernel does not look
// at, tells a filter that the call need not be asked about. Closing gives nobody
// anything.
const CloseCookie = 0x6361_7073

// CloseUnasked closes fd without asking a supervisor, of which there may be none.
func CloseUnasked(fd int) error {
	_, _, e := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), CloseCookie, 0)
	return errnoErr(e)
}
