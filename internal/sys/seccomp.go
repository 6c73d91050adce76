package sys

import (
	"errors"
	"fmt"
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

// CloseCookie in the second argument of close(2), which the kernel does not look
// at, tells a filter that the call need not be asked about. Closing gives nobody
// anything.
const CloseCookie = 0x6361_7073

// CloseUnasked closes fd without asking a supervisor, of which there may be none.
func CloseUnasked(fd int) error {
	_, _, e := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), CloseCookie, 0)
	return errnoErr(e)
}
