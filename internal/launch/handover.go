package launch

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// link is the socket over which the program's process hands the filter's
// listener to the sandbox's init, just before it executes the program: its ends'
// numbers in the children.
type link struct{ program, init int }

func (c *children) openLink() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("create link socket: %w", err)
	}
	c.link = link{fds[0], fds[1]}
	c.hold = append(c.hold, sys.NewFD(fds[0]), sys.NewFD(fds[1]))
	return nil
}

// message is a packet with descriptors attached, which a step sends or receives.
// Other steps leave the descriptors in it, or take them from it.
type message struct {
	header  unix.Msghdr
	iov     unix.Iovec
	control struct {
		header unix.Cmsghdr
		fds    [2]uint32
	}
}

// newMessage makes a message of body with up to fds descriptors.
func newMessage(body []byte, fds int) *message {
	m := new(message)
	m.iov.Base = &body[0]
	m.iov.SetLen(len(body))
	m.header.Iov, m.header.Iovlen = &m.iov, 1
	m.control.header.Level, m.control.header.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	m.control.header.SetLen(unix.CmsgLen(4 * fds))
	m.control.fds = [2]uint32{noDescriptor, noDescriptor}
	m.header.Control = (*byte)(unsafe.Pointer(&m.control))
	m.header.SetControllen(unix.CmsgSpace(4 * fds))
	return m
}

// noDescriptor is -1 as the kernel has it in 32 bits.
const noDescriptor = ^uint32(0)

// fd is the message's descriptor i.
func (m *message) fd(i int) script.Value { return script.ValueAt(&m.control.fds[i]) }

// handOver adds, for the program's process, the handing over of what m holds.
// It goes on when the sandbox's init has taken it and cannot be looked into any
// more: until then that is an open book to a program of the same user. The
// answer is one byte; an end of file is none.
func handOver(seq *script.Sequence, link int, m *message) {
	const what = "hand the filter to the supervisor"
	seq.Do(what, unix.SYS_SENDMSG, link, script.Struct(m), unix.MSG_NOSIGNAL)
	awaitByte(seq, what, link)
	seq.Do(what, unix.SYS_CLOSE, m.fd(0))
}

// handOverNumbers is handOver for a program that may confine itself, whose filter asks
// about every message: init copies the descriptors itself, by their numbers, which it
// reads where m has them.
func handOverNumbers(seq *script.Sequence, link int, m *message) {
	const what = "hand the filter to the supervisor"
	seq.Do(what, unix.SYS_SENDTO, link, script.String("+"), 1, unix.MSG_NOSIGNAL, nil, 0)
	awaitByte(seq, what, link)
	seq.Do(what, unix.SYS_CLOSE, m.fd(0), sys.CloseCookie)
}

// takeOver adds, for the sandbox's init, the other side of it. The descriptors
// become those that are the supervisor's by its orders.
func (c *children) takeOver(o orders) {
	const what = "take over the filter"
	seq, engine := &c.init, c.engine
	m, n := newMessage(make([]byte, 1), 2), new(uint64)
	seq.Do(what, unix.SYS_RECVMSG, o.listener, script.Struct(m), unix.MSG_CMSG_CLOEXEC).Into(low(n)) // the link, so far
	seq.Equal(what, n, 1, unix.EPIPE)
	number := 1 // of descriptors: with the procfs there are two
	if engine == policy.EngineNamespaces {
		number = 2
	}
	program := script.NewValue()
	seq.SkipUnless(c.numbers, 1, 2+number)
	seq.Do(what, unix.SYS_PIDFD_OPEN, c.pid, 0).Into(program)
	for i := range number {
		seq.Do(what, unix.SYS_PIDFD_GETFD, program, c.handed.fd(i), 0).Into(m.fd(i))
	}
	seq.Do(what, unix.SYS_CLOSE, program)
	if engine == policy.EngineNamespaces {
		// We run in the front's memory, which from here on nobody of the same user
		// traces or reads, even where there is no Landlock to keep the program from
		// trying. Under the landlock engine there is, and the supervisor has to read
		// the name of the working directory there.
		seq.Do(what, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	seq.Do(what, unix.SYS_SENDTO, o.listener, script.String("+"), 1, unix.MSG_NOSIGNAL, nil, 0)
	seq.Do(what, unix.SYS_DUP3, m.fd(0), o.listener, 0)
	if engine == policy.EngineNamespaces {
		seq.Do(what, unix.SYS_DUP3, m.fd(1), o.procfs, 0)
	}
}

// awaitByte adds a wait for a packet; the sequence fails if the other side is
// gone instead.
func awaitByte(seq *script.Sequence, what string, socket int) {
	n := new(uint64)
	seq.Do(what, unix.SYS_RECVFROM, socket, script.Struct(new(uint64)), 1, 0, nil, nil).Into(low(n))
	seq.Equal(what, n, 1, unix.EPIPE)
}

// low is the lower half of a word; every architecture with a table is little
// endian.
func low(word *uint64) script.Value { return script.ValueAt((*uint32)(unsafe.Pointer(word))) }
