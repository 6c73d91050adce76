// Package procdesc makes process descriptors of what Linux has.
//
// A process descriptor is one end of a pair of sockets that the child made itself,
// before it executed its program. That gives, without anybody who watches copies:
//
//   - The kernel knows whose end it is (SO_PEERCRED), for every holder, and nobody can
//     make one that stands for a process that is not his child.
//   - The last close kills: the other end has the child as its owner and SIGKILL as
//     its signal (F_SETOWN, F_SETSIG, O_ASYNC), and the kernel sends it when no copy is
//     left anywhere, be it in a message or in a process that was killed.
//   - The other end is closed when the child has exited: poll reports POLLHUP.
//   - What the child's end was is a message in the socket, which is taken once.
//
// The other end is held by a helper, one for each child, which is the child's parent:
// so no signal tells of its end, no wait for any child returns it, and its status
// comes to whoever holds a descriptor. See docs/process-descriptors.md.
package procdesc

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// Exit is how a process ended.
type Exit struct {
	PID    int
	Status unix.WaitStatus
	Rusage unix.Rusage
}

// record is what a helper sends when its child has exited. The kernel fills it in;
// the C library has the same.
type record struct {
	magic  uint64
	info   siginfo
	rusage unix.Rusage
}

// siginfo is what waitid(2) says of a child.
type siginfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
	_                     [100]byte
}

const (
	// magic begins a record.
	magic = 0x7469786564637064 // "dpcdexit"
	// RecordSize is the size of what [Take] takes.
	RecordSize = int(unsafe.Sizeof(record{}))
)

// What waitid says in code.
const (
	cldExited = 1
	cldDumped = 3
)

func (r *record) exit() Exit {
	status := unix.WaitStatus(r.info.status & 0x7f)
	switch r.info.code {
	case cldExited:
		status = unix.WaitStatus(r.info.status&0xff) << 8
	case cldDumped:
		status |= 0x80
	}
	return Exit{int(r.info.pid), status, r.rusage}
}

// Parse reads a record.
func Parse(data []byte) (Exit, error) {
	var r record
	if len(data) != RecordSize || binary.NativeEndian.Uint64(data) != magic {
		return Exit{}, fmt.Errorf("read exit status: %w", unix.EBADF)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), RecordSize), data)
	return r.exit(), nil
}

// What tells a process descriptor from other sockets, in a place that has no use for
// it: SO_RCVLOWAT. What is done to a descriptor is done to the process that made it. So
// in capability mode only [Mark] sets it: a marked end of any other socket would be the
// power to kill its maker.
const (
	mark       = 0x7064
	markDaemon = 0x7065
)

// Is reports whether fd is a process descriptor.
func Is(fd int) bool { return marked(fd) != 0 }

// marked returns fd's mark, 0 if it has none.
func marked(fd int) int {
	for _, want := range [][2]int{{unix.SO_DOMAIN, unix.AF_UNIX}, {unix.SO_TYPE, unix.SOCK_STREAM}} {
		if n, err := sys.SockoptInt(fd, unix.SOL_SOCKET, want[0]); err != nil || n != want[1] {
			return 0
		}
	}
	n, err := sys.SockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	if err != nil || n != mark && n != markDaemon {
		return 0
	}
	return n
}

// Mark makes a process descriptor of pid, of a socket that pid made.
func Mark(fd, pid int, daemon bool) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return unix.EBADF
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(cred.Pid) != pid {
		return unix.EPERM
	}
	kind := mark
	if daemon {
		kind = markDaemon
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, kind)
}

// Useful returns what of s a process descriptor has a use for. The socket that it is on
// Linux has more, which would get around the rights that are left: to read the exit
// status, to open the process.
func Useful(s rights.Set) rights.Set {
	return s.Minus(rights.Of(rights.Read, rights.Write, rights.Getsockopt, rights.Setsockopt, rights.Shutdown, rights.Connect))
}

// Pid returns the process that fd stands for, EBADF if it is no process descriptor. It
// is known after the process's end too.
func Pid(fd int) (int, error) {
	if !Is(fd) {
		return 0, unix.EBADF
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	switch {
	case err != nil:
		return 0, err
	case cred.Pid <= 0: // of another namespace
		return 0, unix.ESRCH
	}
	return int(cred.Pid), nil
}

// state is what a holder sees of a process.
type state int

const (
	running state = iota
	exited        // and nobody has waited for it
	waited
)

// look finds out whether the process has exited.
func look(fd int) (state, []byte, error) {
	buf := make([]byte, RecordSize)
	var n int
	err := sys.Retry(func() (err error) { n, _, err = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT|unix.MSG_PEEK); return })
	switch {
	case err == unix.EAGAIN:
		return running, nil, nil
	case err != nil:
		return 0, nil, err
	case n == 0:
		return waited, nil, nil
	}
	return exited, buf[:n], nil
}

// Peek returns the record of how the process ended, and leaves it for others: EAGAIN
// while it runs, ECHILD if somebody has waited for it.
func Peek(fd int) ([]byte, error) {
	if !Is(fd) {
		return nil, unix.EBADF
	}
	switch s, data, err := look(fd); {
	case err != nil:
		return nil, err
	case s == running:
		return nil, unix.EAGAIN
	case s == waited:
		return nil, unix.ECHILD
	default:
		return data, nil
	}
}

// Alive reports whether the process has not exited.
func Alive(fd int) (bool, error) {
	_, err := Peek(fd)
	switch err {
	case unix.EAGAIN:
		return true, nil
	case unix.ECHILD:
		return false, nil
	}
	return false, err
}

// Take is [Peek] for one: who comes later is told ECHILD.
func Take(fd int) ([]byte, error) {
	if _, err := Peek(fd); err != nil {
		return nil, err
	}
	buf := make([]byte, RecordSize)
	var n int
	err := sys.Retry(func() (err error) { n, _, err = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT); return })
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, unix.ECHILD
	}
	return buf[:n], nil
}

// Kill sends a signal to the process, and to no other: ESRCH if it has been waited
// for. One that has only exited is sent any signal with success.
func Kill(fd int, sig unix.Signal) error {
	if sig < 0 || sig > 64 {
		return unix.EINVAL
	}
	kind := marked(fd)
	if kind == 0 {
		return unix.EBADF
	}
	s, _, err := look(fd)
	if err != nil || s == exited {
		return err
	}
	if s == running {
		if err = send(fd, sig, kind); err != unix.ESRCH {
			return err
		}
		if s, _, err = look(fd); err != nil || s == exited {
			return err
		}
	}
	return unix.ESRCH
}

// send sends a signal to a process that ran a moment ago.
func send(fd int, sig unix.Signal, kind int) error {
	pidfd, err := open(fd)
	if err == filecaps.ECAPMODE && sig == unix.SIGKILL && kind == mark {
		// Without a supervisor nothing is opened in capability mode. Shutting down what is
		// shut down already wakes the other end, which sends this one signal.
		return unix.Shutdown(fd, unix.SHUT_WR)
	}
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return unix.PidfdSendSignal(pidfd.Int(), sig, nil, 0)
}

// open returns a pidfd of the process, ESRCH if there is none any more. Before Linux
// 6.5 it goes by the number: that is free only after our other end is closed, so that
// if it is open afterwards no other process has the number.
func open(fd int) (*sys.FD, error) {
	pid, err := Pid(fd)
	if err != nil {
		return nil, err
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch err {
	case nil:
		return sys.NewFD(n), nil
	case unix.EINVAL, unix.ENODATA:
		return nil, unix.ESRCH
	case unix.ENOPROTOOPT:
	default:
		return nil, err
	}
	if n, err = unix.PidfdOpen(pid, 0); err != nil {
		return nil, err
	}
	pidfd := sys.NewFD(n)
	if s, _, err := look(fd); err != nil || s != running {
		pidfd.Close()
		if err == nil {
			err = unix.ESRCH
		}
		return nil, err
	}
	return pidfd, nil
}

// Wait sleeps until the process has exited.
func Wait(fd int) error {
	list := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(list, -1)
	if err == nil && list[0].Revents&unix.POLLNVAL != 0 {
		return unix.EBADF
	}
	return err
}
