package supervisor

import (
	"encoding/binary"
	"errors"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	maxData    = 1 << 20 // of one message; a longer one is cut or refused as its type allows
	maxControl = 20 << 10
	maxRights  = 253  // SCM_MAX_FD
	maxIov     = 1024 // UIO_MAXIOV
	msghdrSize = 56
	mmsghdr    = 64
	cmsgHeader = 16
)

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
	if m.data, err = c.gather([]iovec{{c.Arg(1), c.Arg(2)}}, s); err != nil {
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

// iovec is a piece of the caller's memory.
type iovec struct{ base, len uint64 }

// gather copies the pieces in order. A datagram that is too long is EMSGSIZE; a
// stream takes what fits and says so.
func (c *Call) gather(list []iovec, s *socket) ([]byte, error) {
	var data []byte
	for _, v := range list {
		room := uint64(maxData - len(data))
		if v.len > room {
			if s.typ != unix.SOCK_STREAM {
				return nil, unix.EMSGSIZE
			}
			v.len = room
		}
		piece, err := c.Bytes(v.base, int(v.len))
		if err != nil {
			return nil, err
		}
		data = append(data, piece...)
	}
	return data, nil
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
	count := min(uint32(c.Arg(2)), maxIov)
	sent := uint32(0)
	for ; sent < count; sent++ {
		at := c.Arg(1) + uint64(sent)*mmsghdr
		n, err := c.sendmsgAt(s, at, int(c.Int(3)))
		if err == nil {
			err = c.Write(at+msghdrSize, binary.NativeEndian.AppendUint32(nil, uint32(n)))
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
	h, err := c.Bytes(addr, msghdrSize)
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

func (c *Call) readMessage(s *socket, h []byte) (*message, error) {
	word := func(at int) uint64 { return binary.NativeEndian.Uint64(h[at:]) }
	m := new(message)
	if nameLen := int32(binary.NativeEndian.Uint32(h[8:])); word(0) != 0 && nameLen != 0 {
		// The kernel cuts an over-long length here, other than for sendto.
		a, err := c.sockaddr(word(0), min(nameLen, sys.SockaddrMax))
		if err != nil {
			return nil, err
		}
		m.addr = &a
	}
	list, err := c.iovecs(word(16), word(24))
	if err != nil {
		return nil, err
	}
	if m.data, err = c.gather(list, s); err != nil {
		return nil, err
	}
	controlLen := word(40)
	if controlLen > maxControl {
		return nil, unix.ENOBUFS
	}
	if m.control, err = c.Bytes(word(32), int(controlLen)); err != nil {
		return nil, err
	}
	if err := c.translate(m); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (c *Call) iovecs(base, count uint64) ([]iovec, error) {
	if count > maxIov {
		return nil, unix.EMSGSIZE
	}
	raw, err := c.Bytes(base, int(count)*16)
	if err != nil {
		return nil, err
	}
	list := make([]iovec, count)
	for i := range list {
		list[i] = iovec{binary.NativeEndian.Uint64(raw[i*16:]), binary.NativeEndian.Uint64(raw[i*16+8:])}
	}
	return list, nil
}

// translate puts copies of the caller's descriptors in place of its numbers.
// Credentials are refused: the kernel ties them to the process that sends, and
// that would be this one.
func (c *Call) translate(m *message) error {
	return eachControl(m.control, func(level, typ uint32, body []byte) error {
		switch {
		case level != unix.SOL_SOCKET:
			return nil
		case typ != unix.SCM_RIGHTS:
			return unix.EPERM
		case len(body)/4+len(m.fds) > maxRights:
			return unix.EINVAL
		}
		for at := 0; at+4 <= len(body); at += 4 {
			fd, err := c.DupFull(int32(binary.NativeEndian.Uint32(body[at:])))
			if err != nil {
				return err
			}
			m.fds = append(m.fds, fd)
			binary.NativeEndian.PutUint32(body[at:], uint32(fd.Int()))
		}
		return nil
	})
}

var errControl = errors.New("malformed control message")

// eachControl calls f for each message in a control buffer, by the kernel's
// rules: a header that reaches beyond the buffer is EINVAL, too little for a
// header ends it.
func eachControl(buf []byte, f func(level, typ uint32, body []byte) error) error {
	for len(buf) >= cmsgHeader {
		n := binary.NativeEndian.Uint64(buf)
		if n < cmsgHeader || n > uint64(len(buf)) {
			return errors.Join(unix.EINVAL, errControl)
		}
		err := f(binary.NativeEndian.Uint32(buf[8:]), binary.NativeEndian.Uint32(buf[12:]), buf[cmsgHeader:n])
		if err != nil {
			return err
		}
		buf = buf[min((n+7)&^7, uint64(len(buf))):]
	}
	return nil
}
