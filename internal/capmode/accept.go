package capmode

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// accept takes a connection, which has its listener's rights.
func (c *call) accept(flags int) supervisor.Result {
	if flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		return supervisor.Errno(unix.EINVAL)
	}
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.limited(t, c.Fd(0))
	switch {
	case err != nil:
		return fail(err)
	case f == nil:
		return c.goOn(only(c.Fd(0)), "an unlimited listener gives unlimited connections, and its number keeps its meaning")
	}
	defer f.Close()
	if !caps.Rights.IsSet(rights.Accept) {
		return supervisor.Errno(eNotCapable)
	}
	// As in the kernel: without a number for it the connection stays in the queue, and
	// the listener ready.
	n, err := c.reserve(t, caps)
	if err != nil {
		return fail(err)
	}
	defer c.p.pins.drop(c.TID())
	t.Unlock()
	conn, err := c.nextConnection(f, flags)
	t.Lock()
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	if n, err = c.giveReserved(t, conn, caps, n, flags&unix.SOCK_CLOEXEC != 0); err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(n))
}

// nextConnection waits for a connection, and stores its address.
func (c *call) nextConnection(f *sys.FD, flags int) (*sys.FD, error) {
	c.Yield()
	var n int
	var peer []byte
	err := c.Blocking(func() (err error) {
		n, peer, err = sys.RawAccept(f.Int(), flags|unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	conn := sys.NewFD(n)
	if err := c.writeAddress(c.Arg(1), c.Arg(2), peer); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// reserve finds a number that suits caps, and keeps others from being given it until
// the pin of this thread is dropped. Only the kernel may still give it away, when it has
// no lower one left.
func (c *call) reserve(t *fdtable.Table, caps filecaps.Caps) (int, error) {
	n, err := c.anyNumber(t, caps)
	if err == nil {
		c.p.pins.set(c.TID(), &continued{pin: only(int32(n)), call: c.Name})
	}
	return n, err
}

// giveReserved puts f, which permits caps, under number n, or under another where the
// kernel has given that away. If there is none left it waits for one, as long as somebody
// does, whatever signals come: what was accepted can't be put back into the queue, and the
// kernel would have kept a number for it.
func (c *call) giveReserved(t *fdtable.Table, f *sys.FD, caps filecaps.Caps, n int, cloexec bool) (int, error) {
	c.p.pins.drop(c.TID())
	if !c.IsOpen(int32(n)) {
		if err := c.put(t, f, caps, n, cloexec); !errors.Is(err, unix.EBADF) { // it is: the limit has been lowered
			return n, err
		}
	}
	for {
		n, err := c.place(t, f, caps, 0, cloexec)
		if !errors.Is(err, unix.EMFILE) {
			return n, err
		}
		t.Unlock()
		time.Sleep(10 * time.Millisecond)
		t.Lock()
		if err := c.Check(); err != nil {
			return 0, err
		}
	}
}
