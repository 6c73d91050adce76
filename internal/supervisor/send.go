package supervisor

import (
	"encoding/binary"
	"slices"

	"github.com/capsicum-go/capsicum/internal/msghdr"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

const maxRights = 253 // SCM_MAX_FD

// message is one message, copied from the caller once.
type message struct {
	addr    *sockaddr // nil without one
	data    []byte
	control []byte
	fds     []*sys.FD // what control passes on
}

func (m *message) Close() {
	for _, fd := range m.fds {
		fd.Close()
	}
}

func sendtoCall(c *Call) Result {
	s, err := c.socket(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer s.Close()
	var m message
	if c.Arg(4) != 0 {
		a, err := c.sockaddr(c.Arg(4), c.Int(5))
		if err != nil {
			return Fail(err)
		}
		m.addr = &a
	}
	if m.data, err = msghdr.Gather(c, []msghdr.Piece{{Base: c.Arg(1), Len: c.Arg(2)}}, s.typ == unix.SOCK_STREAM); err != nil {
		return Fail(err)
	}
	n, err := c.send(s, &m, int(c.Int(3)))
	if err != nil {
		return Fail(err)
	}
	return Value(int64(n))
}

// send judges the message's address, if it has one, and sends it as the caller.
func (c *Call) send(s *socket, m *message, flags int) (int, error) {
	r := new(route)
	if m.addr != nil && !s.ignoresAddress() {
		var err error
		if r, err = c.reach(s, *m.addr); err != nil {
			return 0, err
		}
		defer r.Close()
	}
	n := 0
	err := c.with(r, func(raw []byte) (err error) {
		n, err = sys.RawSendmsg(s.Int(), raw, m.data, m.control, flags|unix.MSG_NOSIGNAL)
		return err
	})
	if m.addr != nil {
		c.noteAutobind(s)
	}
	if err == unix.EPIPE && flags&unix.MSG_NOSIGNAL == 0 && s.typ == unix.SOCK_STREAM {
		c.RaisePipe()
	}
	return n, err
}

// ignoresAddress reports whether the kernel takes no address with a message on
// this socket: it answers EISCONN or EOPNOTSUPP, or looks at none.
func (s *socket) ignoresAddress() bool {
	return s.domain == unix.AF_UNIX && s.typ == unix.SOCK_SEQPACKET
}

// RaisePipe raises SIGPIPE in the caller, which is what the kernel does when
// the caller itself writes.
func (c *Call) RaisePipe() {
	p, err := c.pidfd()
	if err != nil {
		return
	}
	defer p.Close()
	if c.Check() == nil {
		_ = unix.PidfdSendSignal(p.Int(), unix.SIGPIPE, nil, 0) // a caller that just died needs none
	}
}

func sendmsgCall(c *Call) Result {
	s, err := c.socket(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer s.Close()
	n, err := c.sendmsgAt(s, c.Arg(1), int(c.Int(2)))
	if err != nil {
		return Fail(err)
	}
	return Value(int64(n))
}

// sendmmsgCall sends messages until one fails; like the kernel it then tells
// how many went, and the failure only if none did.
func sendmmsgCall(c *Call) Result {
	s, err := c.socket(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer s.Close()
	count := min(uint32(c.Arg(2)), msghdr.MaxEntries)
	sent := uint32(0)
	for ; sent < count; sent++ {
		at := c.Arg(1) + uint64(sent)*msghdr.EntrySize
		n, err := c.sendmsgAt(s, at, int(c.Int(3)))
		if err == nil {
			err = c.Write(at+msghdr.Size, binary.NativeEndian.AppendUint32(nil, uint32(n)))
		}
		if err != nil && sent == 0 {
			return Fail(err)
		}
		if err != nil {
			break
		}
	}
	return Value(int64(sent))
}

// sendmsgAt copies the struct msghdr at addr and all it points to, and sends
// the copy.
func (c *Call) sendmsgAt(s *socket, addr uint64, flags int) (int, error) {
	h, err := msghdr.Read(c, addr)
	if err != nil {
		return 0, err
	}
	m, err := c.readMessage(s, h)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return c.send(s, m, flags)
}

func (c *Call) readMessage(s *socket, h msghdr.Header) (*message, error) {
	m := new(message)
	if h.Name != 0 && h.NameLen != 0 {
		a, err := c.sockaddr(h.Name, h.NameLen)
		if err != nil {
			return nil, err
		}
		m.addr = &a
	}
	list, err := h.Pieces(c)
	if err != nil {
		return nil, err
	}
	if m.data, err = msghdr.Gather(c, list, s.typ == unix.SOCK_STREAM); err != nil {
		return nil, err
	}
	if m.control, err = h.Controls(c); err != nil {
		return nil, err
	}
	if m.fds, err = PassOn(m.control, c.DupFull); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// passable are the levels of control messages, beside a socket's own, in which nothing
// but the socket is meant. Elsewhere an address may be (RDS), which would be in this
// process's memory.
var passable = []uint32{unix.SOL_IP, unix.SOL_IPV6, unix.SOL_UDP, solSCTP, unix.SOL_ALG, unix.SOL_TLS}

const solSCTP = 132

// PassOn puts our copies of the caller's descriptors, which dup makes, in the place of
// their numbers in control. The caller closes them, also after an error. Credentials are
// refused: the kernel ties them to the process that sends, which would be this one.
func PassOn(control []byte, dup func(int32) (*sys.FD, error)) (fds []*sys.FD, err error) {
	err = msghdr.EachControl(control, func(level, typ uint32, body []byte) error {
		switch {
		case level != unix.SOL_SOCKET && slices.Contains(passable, level):
			return nil
		case level != unix.SOL_SOCKET || typ != unix.SCM_RIGHTS:
			return unix.EPERM
		case len(body)/4+len(fds) > maxRights:
			return unix.EINVAL
		}
		for at := 0; at+4 <= len(body); at += 4 {
			fd, err := dup(int32(binary.NativeEndian.Uint32(body[at:])))
			if err != nil {
				return err
			}
			fds = append(fds, fd)
			binary.NativeEndian.PutUint32(body[at:], uint32(fd.Int()))
		}
		return nil
	})
	return fds, err
}
