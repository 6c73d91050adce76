package capmode

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/procdesc"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// processDescriptor returns a copy of the process descriptor that argument 1 is, if it
// has a right.
func (c *call) processDescriptor(right rights.Right) (*sys.FD, error) {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, c.Fd(1))
	switch {
	case err != nil:
		return nil, err
	case !caps.Rights.IsSet(right):
		err = eNotCapable
	case !procdesc.Is(f.Int()):
		err = unix.EBADF
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}

// pdgetpid answers with the number of a held process.
func pdgetpid(c *call) supervisor.Result {
	f, err := c.processDescriptor(rights.Pdgetpid)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	pid, err := procdesc.Pid(f.Int())
	if err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(pid))
}

// pdkill signals a held process, as the caller. No thread may signal out of a Landlock
// domain of its own; under a run's rules a pid namespace has nobody else in it, or the
// run's supervisor knows who is in the sandbox. A descriptor can come from outside.
func pdkill(c *call) supervisor.Result {
	f, err := c.processDescriptor(rights.Pdkill)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if c.WalksPlan() {
		pid, err := procdesc.Pid(f.Int())
		if err == nil {
			err = c.InSandbox(pid)
		}
		if errors.Is(err, unix.ESRCH) && uint32(c.Int(2)) <= 64 {
			// One that has only exited is sent any signal with success.
			if _, err := procdesc.Peek(f.Int()); err == nil {
				return supervisor.Value(0)
			}
		}
		if err != nil {
			return fail(err)
		}
	}
	return fail(c.Call.As(func() error { return procdesc.Kill(f.Int(), unix.Signal(c.Int(2))) }))
}

// pdmark makes a process descriptor of a socket. In capability mode nobody marks one by
// himself: a socket stands for the process that made it, so what the caller was given
// would be the power to kill who gave it.
func pdmark(c *call) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, c.Fd(1))
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if !caps.IsFull() {
		return supervisor.Errno(eNotCapable)
	}
	return fail(procdesc.Mark(f.Int(), c.p.pid, c.Arg(2) != 0))
}

// pdwait stores how a held process ended, and sleeps until it has if it is to.
func pdwait(c *call) supervisor.Result {
	f, err := c.processDescriptor(rights.Pdwait)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	options := c.Arg(3)
	const name = request.WaitNot | request.WaitName
	for {
		data, err := procdesc.Peek(f.Int())
		if err == unix.EAGAIN && options&request.WaitNot == 0 {
			c.Yield()
			if err := c.Blocking(func() error { return procdesc.Wait(f.Int()) }); err != nil {
				return fail(err)
			}
			continue
		}
		if err == unix.EAGAIN && options&name == name {
			// Whoever started the process knows by it which of those that it holds this is.
			var st unix.Stat_t
			if err := unix.Fstat(f.Int(), &st); err != nil {
				return fail(err)
			}
			return supervisor.Value(int64(st.Ino))
		}
		if err == nil {
			// First, so that a status that can't be stored is not lost.
			err = c.Write(c.Arg(2), data)
		}
		if err == nil && options&request.WaitLeave == 0 {
			_, err = procdesc.Take(f.Int())
		}
		return fail(err)
	}
}

// pdalive answers whether a held process runs, which fstat is to tell.
func pdalive(c *call) supervisor.Result {
	f, err := c.processDescriptor(rights.Fstat)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	alive, err := procdesc.Alive(f.Int())
	if err != nil || !alive {
		return fail(err)
	}
	return supervisor.Value(1)
}

// withoutSocket takes from what a process descriptor is to permit that for which only
// the socket has a use that it is on Linux.
func withoutSocket(f *sys.FD, caps filecaps.Caps) filecaps.Caps {
	if !caps.IsFull() && procdesc.Is(f.Int()) {
		caps.Rights = procdesc.Useful(caps.Rights)
	}
	return caps
}
