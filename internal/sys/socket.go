package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SockaddrMax is the size of struct sockaddr_storage, the longest address.
const SockaddrMax = 128

// RawConnect connects to an address as its bytes stand. EINTR is the caller's
// to handle: the connection may go on.
func RawConnect(fd int, addr []byte) error {
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(addr))), uintptr(len(addr)))
	return errnoErr(e)
}

// RawBind binds to an address as its bytes stand.
func RawBind(fd int, addr []byte) error {
	_, _, e := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(addr))), uintptr(len(addr)))
	return errnoErr(e)
}

// RawSendmsg sends a message whose name, data and control bytes are taken as
// they stand. Where the kernel would send data later from where it lies, it is ENOBUFS,
// after which programs copy: by then there is something else, which is nobody's business.
func RawSendmsg(fd int, name, data, control []byte, flags int) (int, error) {
	if flags&unix.MSG_ZEROCOPY != 0 {
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY); err == nil && on != 0 {
			return 0, unix.ENOBUFS
		}
		flags &^= unix.MSG_ZEROCOPY // it means nothing, and never will for this message
	}
	iov := unix.Iovec{}
	if len(data) > 0 {
		iov.Base = &data[0]
		iov.SetLen(len(data))
	}
	msg := unix.Msghdr{Iov: &iov}
	msg.SetIovlen(1)
	if len(name) > 0 {
		msg.Name = &name[0]
		msg.Namelen = uint32(len(name))
	}
	if len(control) > 0 {
		msg.Control = &control[0]
		msg.SetControllen(len(control))
	}
	n, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags))
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// RawGetsockname returns the bytes of a socket's own address.
func RawGetsockname(fd int) ([]byte, error) {
	buf := make([]byte, SockaddrMax)
	n := uint32(len(buf))
	_, _, e := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return nil, e
	}
	return buf[:min(int(n), len(buf))], nil
}

// RawAccept accepts a connection and returns it with its peer's address, as its
// bytes stand. EINTR is the caller's to handle.
func RawAccept(fd, flags int) (int, []byte, error) {
	buf := make([]byte, SockaddrMax)
	n := uint32(len(buf))
	conn, _, e := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))),
		uintptr(unsafe.Pointer(&n)), uintptr(flags), 0, 0)
	if e != 0 {
		return -1, nil, e
	}
	return int(conn), buf[:min(int(n), len(buf))], nil
}

// Received is what came with a message.
type Received struct {
	Length  int // of the message, by MSG_TRUNC more than came
	Data    int // bytes that came
	Control int // bytes of control messages
	Name    []byte
	Flags   int
}

// RawRecvmsg receives a message into data and control. EINTR is the caller's to
// handle.
func RawRecvmsg(fd int, data, control []byte, flags int) (Received, error) {
	name := make([]byte, SockaddrMax)
	iov := unix.Iovec{}
	if len(data) > 0 {
		iov.Base = &data[0]
		iov.SetLen(len(data))
	}
	msg := unix.Msghdr{Name: &name[0], Namelen: uint32(len(name)), Iov: &iov}
	msg.SetIovlen(1)
	if len(control) > 0 {
		msg.Control = &control[0]
		msg.SetControllen(len(control))
	}
	n, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags))
	if e != 0 {
		return Received{}, e
	}
	return Received{
		Length: int(n), Data: min(int(n), len(data)), Control: int(msg.Controllen),
		Name: name[:min(int(msg.Namelen), len(name))], Flags: int(msg.Flags),
	}, nil
}
