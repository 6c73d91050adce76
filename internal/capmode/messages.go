package capmode

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/msghdr"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// messageAnswers answers the calls that may pass descriptors between processes.
func (w *Warden) messageAnswers() []answer {
	return []answer{
		{[]string{"sendmsg"}, sendMessage},
		{[]string{"sendmmsg"}, sendMessages},
		{[]string{"recvmsg"}, receiveMessage},
		{[]string{"recvmmsg"}, receiveMessages},
	}
}

// plainly lets a process send by itself that holds nothing limited, and to which
// addresses are open. Until the message is out nothing limited comes to it.
func (c *call) plainly() (supervisor.Result, bool) {
	t := c.table()
	defer t.Unlock()
	if t.Len() != 0 || c.p.table.Mode() {
		return supervisor.Result{}, false
	}
	return c.goOn(sending(c.Fd(0)), "there is no limited descriptor that could be passed on"), true
}

// socket is the caller's socket and what it permits.
func (c *call) socket(need rights.Right) (*sys.FD, filecaps.Caps, error) {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, c.Fd(0))
	if err != nil {
		return nil, caps, err
	}
	if !caps.Rights.IsSet(need) {
		f.Close()
		return nil, caps, eNotCapable
	}
	return f, caps, nil
}

// sendMessage sends a copy of a message, in which what stands for a limited
// descriptor takes its place. A process that holds none, and has none to pass on,
// sends by itself.
func sendMessage(c *call) supervisor.Result {
	if r, ok := c.plainly(); ok {
		return r
	}
	f, caps, err := c.socket(rights.Write)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	n, err := c.sendOne(f, caps, c.Arg(1), int(c.Int(2)))
	if err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(n))
}

// sendMessages is a loop of sends, of which each looks up anew what the socket permits
// and what the process holds. In the kernel it is one call, which would go on with what
// it was let go with; so that is done only for a single message.
func sendMessages(c *call) supervisor.Result {
	if uint32(c.Arg(2)) <= 1 {
		if r, ok := c.plainly(); ok {
			return r
		}
	}
	sent := uint32(0)
	for count := min(uint32(c.Arg(2)), msghdr.MaxEntries); sent < count; sent++ {
		err := c.sendNext(c.Arg(1) + uint64(sent)*msghdr.EntrySize)
		if err != nil && sent == 0 {
			return fail(err)
		}
		if err != nil {
			break
		}
	}
	return supervisor.Value(int64(sent))
}

// sendNext sends the message of a struct mmsghdr, and stores how much of it was sent.
func (c *call) sendNext(addr uint64) error {
	f, caps, err := c.socket(rights.Write)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := c.sendOne(f, caps, addr, int(c.Int(3)))
	if err != nil {
		return err
	}
	return c.Write(addr+msghdr.Size, binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

func (c *call) sendOne(f *sys.FD, caps filecaps.Caps, addr uint64, flags int) (int, error) {
	if err := c.Granted(f); err != nil {
		return 0, err
	}
	h, err := msghdr.Read(c, addr)
	if err != nil {
		return 0, err
	}
	name, err := c.receiver(h, caps)
	if err != nil {
		return 0, err
	}
	data, err := c.gather(f, h)
	if err != nil {
		return 0, err
	}
	control, err := h.Controls(c)
	if err != nil {
		return 0, err
	}
	passed, err := supervisor.PassOn(control, c.passable)
	defer func() {
		for _, f := range passed {
			f.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	c.Yield()
	n := 0
	// The kernel signs a message with who sends it, and asks him what a named receiver
	// wants of a sender.
	err = c.As(func() error {
		return c.Blocking(func() (err error) {
			n, err = sys.RawSendmsg(f.Int(), name, data, control, flags|unix.MSG_NOSIGNAL)
			return err
		})
	})
	if err == unix.EPIPE && flags&unix.MSG_NOSIGNAL == 0 {
		c.RaisePipe()
	}
	return n, err
}

// receiver copies the address that a message names, if it may name one.
func (c *call) receiver(h msghdr.Header, caps filecaps.Caps) ([]byte, error) {
	switch {
	case h.Name == 0 || h.NameLen == 0:
		return nil, nil
	case c.p.table.Mode():
		return nil, eCapMode
	case !caps.Rights.IsSet(rights.Connect):
		return nil, eNotCapable
	}
	return c.Bytes(h.Name, int(h.NameLen))
}

// gather copies what a message says: of a stream as much as there is room for.
func (c *call) gather(f *sys.FD, h msghdr.Header) ([]byte, error) {
	list, err := h.Pieces(c)
	if err != nil {
		return nil, err
	}
	typ, err := unix.GetsockoptInt(f.Int(), unix.SOL_SOCKET, unix.SO_TYPE)
	return msghdr.Gather(c, list, err == nil && typ == unix.SOCK_STREAM)
}

// passable is our copy of the caller's descriptor, or what stands for a limited one.
func (c *call) passable(fd int32) (*sys.FD, error) {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, fd)
	if err != nil || caps.IsFull() {
		return f, err
	}
	return c.w.tokens.wrap(f, caps, c.p)
}

const noRoom = "a message without room for descriptors, or on a socket that brings none, brings nothing that could be used"

// receiveMessage receives for the caller where descriptors may come.
func receiveMessage(c *call) supervisor.Result { return c.receive(int(c.Int(2)), 1) }

// receiveMessages is recvmmsg, which may always return fewer messages than there
// is room for.
func receiveMessages(c *call) supervisor.Result {
	return c.receive(int(c.Int(3))&^unix.MSG_WAITFORONE, min(int(uint32(c.Arg(2))), 1))
}

// receive takes up to one message into the structure that argument 1 points to.
// Where the message's memory can't be looked at, because nobody may look into the
// process, a limited descriptor does not come either: what stands for it does.
func (c *call) receive(flags, count int) supervisor.Result {
	if count == 0 {
		return supervisor.Value(0)
	}
	t := c.table()
	s, limited := t.Slot(int(c.Fd(0)))
	t.Unlock()
	h, err := msghdr.Read(c, c.Arg(1))
	if !limited && (err != nil && !errors.Is(err, notify.ErrGone) || h.ControlLen == 0 || h.Control == 0) {
		return c.bringsNothing()
	}
	if err != nil {
		return fail(err)
	}
	if limited && !s.Caps.Rights.IsSet(rights.Read) {
		return supervisor.Errno(eNotCapable)
	}
	f, _, err := c.socket(rights.Read)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	domain, err := unix.GetsockoptInt(f.Int(), unix.SOL_SOCKET, unix.SO_DOMAIN)
	if h.ControlLen == 0 || h.Control == 0 || err != nil || domain != unix.AF_UNIX {
		return c.bringsNothing()
	}
	n, err := c.receiveOne(f, h, flags)
	if err == nil && c.Name == "recvmmsg" {
		err = c.Write(c.Arg(1)+msghdr.Size, binary.NativeEndian.AppendUint32(nil, uint32(n)))
		n = 1
	}
	if err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(n))
}

// bringsNothing lets a receive go on, if the socket permits it that its number means by
// now: from here on that is pinned.
func (c *call) bringsNothing() supervisor.Result {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, c.Fd(0))
	if err != nil {
		return fail(err)
	}
	f.Close()
	if !caps.Rights.IsSet(rights.Read) {
		return supervisor.Errno(eNotCapable)
	}
	return c.goOn(only(c.Fd(0)), noRoom)
}

func (c *call) receiveOne(f *sys.FD, h msghdr.Header, flags int) (int, error) {
	list, err := h.Pieces(c)
	if err != nil {
		return 0, err
	}
	data := make([]byte, msghdr.Room(list))
	control := make([]byte, h.ControlRoom())
	var m sys.Received
	c.Yield()
	err = c.Blocking(func() (err error) {
		m, err = sys.RawRecvmsg(f.Int(), data, control, flags|unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return 0, err
	}
	control = control[:m.Control]
	control, cut, err := c.takeOver(control, flags&unix.MSG_CMSG_CLOEXEC != 0)
	if err != nil {
		return 0, err
	}
	if cut {
		m.Flags |= unix.MSG_CTRUNC
	}
	return m.Length, c.deliver(c.Arg(1), h, list, data[:m.Data], control, m)
}

// deliver writes what was received to where the caller wants it.
func (c *call) deliver(addr uint64, h msghdr.Header, list []msghdr.Piece, data, control []byte, m sys.Received) error {
	for _, p := range list {
		n := min(p.Len, uint64(len(data)))
		if n == 0 {
			continue
		}
		if err := c.Write(p.Base, data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	if h.Name != 0 {
		if err := c.Write(h.Name, m.Name[:min(len(m.Name), int(h.NameLen))]); err != nil {
			return err
		}
		if err := c.Write(addr+8, binary.NativeEndian.AppendUint32(nil, uint32(len(m.Name)))); err != nil {
			return err
		}
	}
	if err := c.Write(h.Control, control); err != nil {
		return err
	}
	tail := binary.NativeEndian.AppendUint64(nil, uint64(len(control)))
	tail = binary.NativeEndian.AppendUint32(tail, uint32(m.Flags&^unix.MSG_CMSG_CLOEXEC))
	return c.Write(addr+40, tail)
}

const scmPidfd = 4 // SCM_PIDFD

// takeOver gives the caller the descriptors that came, and returns control with their
// numbers. What stands for a limited descriptor is exchanged for it. When there is no
// number left, the rest is cut, as in the kernel.
func (c *call) takeOver(control []byte, cloexec bool) (out []byte, cut bool, err error) {
	t, err := c.unsent(c.w.tokens.among(control))
	if err != nil {
		closeAll(control)
		return nil, false, err
	}
	defer t.Unlock()
	err = msghdr.EachControl(control, func(level, typ uint32, body []byte) error {
		if level == unix.SOL_SOCKET && (typ == unix.SCM_RIGHTS || typ == scmPidfd) {
			had := len(body)
			n, err := c.takeNumbers(t, body, cloexec)
			if err != nil {
				return err
			}
			if body = body[:n]; n < had {
				cut = true
			}
			if n == 0 {
				return nil
			}
		}
		out = binary.NativeEndian.AppendUint64(out, uint64(msghdr.ControlSize+len(body)))
		out = binary.NativeEndian.AppendUint32(out, level)
		out = binary.NativeEndian.AppendUint32(out, typ)
		out = append(out, body...)
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
		return nil
	})
	return out[:min(len(out), len(control))], cut, err
}

// unsent locks the table, for a limited descriptor once no call is under way that hands
// on what its memory names and could pass it on with all rights. However long that
// takes: the message has left the socket's queue.
func (c *call) unsent(limited bool) (*fdtable.Table, error) {
	for {
		t := c.table() // nothing is let go now
		if !limited || c.sent(0) {
			return t, nil
		}
		t.Unlock()
		if err := c.Check(); err != nil {
			return nil, err
		}
		c.sent(lastHope)
	}
}

// eachDescriptor calls f for our descriptors in a control buffer that we received.
func eachDescriptor(control []byte, f func(fd int)) {
	_ = msghdr.EachControl(control, func(level, typ uint32, body []byte) error {
		for at := 0; level == unix.SOL_SOCKET && (typ == unix.SCM_RIGHTS || typ == scmPidfd) && at+4 <= len(body); at += 4 {
			if fd := int(int32(binary.NativeEndian.Uint32(body[at:]))); fd >= 0 {
				f(fd)
			}
		}
		return nil
	})
}

func closeAll(control []byte) {
	eachDescriptor(control, func(fd int) { sys.NewFD(fd).Close() })
}

// takeNumbers puts our descriptors in body into the caller, and its numbers in their
// place; it returns how much of body that is. All of ours are closed.
func (c *call) takeNumbers(t *fdtable.Table, body []byte, cloexec bool) (done int, err error) {
	var failed error
	for at := 0; at+4 <= len(body); at += 4 {
		num := int32(binary.NativeEndian.Uint32(body[at:]))
		if num < 0 { // an errno, where there should be a process
			done = at + 4
			continue
		}
		f := sys.NewFD(int(num))
		if failed == nil {
			real, caps := c.w.tokens.unwrap(f)
			var n int
			if n, failed = c.place(t, real, caps, 0, cloexec); failed == nil {
				binary.NativeEndian.PutUint32(body[at:], uint32(int32(n)))
				done = at + 4
			}
			if real != f {
				real.Close()
			}
		}
		f.Close()
	}
	if errors.Is(failed, notify.ErrGone) {
		return 0, failed
	}
	return done, nil
}

// writeAddress stores a socket address as accept and getpeername do.
func (c *call) writeAddress(addr, length uint64, name []byte) error {
	if addr == 0 {
		return nil
	}
	raw, err := c.Bytes(length, 4)
	if err != nil {
		return err
	}
	room := int(int32(binary.NativeEndian.Uint32(raw)))
	if room < 0 {
		return unix.EINVAL
	}
	if err := c.Write(addr, name[:min(room, len(name))]); err != nil {
		return err
	}
	return c.Write(length, binary.NativeEndian.AppendUint32(nil, uint32(len(name))))
}
