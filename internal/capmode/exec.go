package capmode

import (
	"errors"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// exec is an execve that was let go on, and whose outcome is not known: an answer
// does not tell. What it does to descriptors happens to the slots when it has
// surely happened.
type exec struct {
	tid    int
	old    *image
	closed []int // limited numbers that close
	parked []parked
}

// parked is a number that would close, but must not come to be given out. Its
// descriptor is kept until the outcome is known.
type parked struct {
	fd      int
	file    *sys.FD
	slot    fdtable.Slot
	cloexec bool
}

// execute lets an exec go on, of what descriptor program leads to, -1 for a name.
// That one must still be there, with the rights that were judged.
func (c *call) execute(program int32, judged filecaps.Caps) supervisor.Result {
	if r, ok := c.asksRun(); !ok { // before anything is taken away for it
		return r
	}
	old, err := c.image()
	if err != nil {
		return fail(err)
	}
	e := &exec{tid: c.TID(), old: old}
	t := c.soleTable()
	defer t.Unlock()
	if caps, _ := t.Get(int(program)); program >= 0 && !caps.Equal(judged) {
		e.letGo()
		return supervisor.Errno(unix.EBUSY)
	}
	return c.leave(t, program, e)
}

// leave is execute under the lock of t. What e holds already is put back if the exec
// does not begin.
func (c *call) leave(t *fdtable.Table, program int32, e *exec) supervisor.Result {
	if t.Shared() {
		// It would have a copy of the table from a moment that nobody knows, and what the
		// others close from then on is not closed in it.
		e.undo(c.Call, t)
		return supervisor.Errno(unix.EBUSY)
	}
	for fd, s := range t.Limited(0, math.MaxInt32) {
		closes, known := c.closesOnExec(fd)
		if s.Parked || known && !closes {
			continue
		}
		if t.Stacked(fd).IsFull() || fd == int(program) || !known {
			e.closed = append(e.closed, fd)
			continue
		}
		f, err := c.copyOf(int32(fd))
		if errors.Is(err, unix.EACCES) {
			// Nobody may look into the process, so there is no way back if the exec fails:
			// the descriptor is closed then, too.
			err = c.park(t, fd)
		} else if err == nil {
			e.parked = append(e.parked, parked{fd, f, s, true})
			err = c.park(t, fd)
		}
		if err != nil {
			e.undo(c.Call, t)
			return fail(err)
		}
	}
	c.p.mu.Lock()
	c.p.leaving = e
	c.p.mu.Unlock()
	if len(e.parked) > 0 {
		go c.p.watch(e)
	}
	// The kernel looks the program's number up now: another, without the right to be
	// executed, must not come there.
	return c.goOn(only(program), "whatever is executed instead runs under the same filters with the same descriptors")
}

// arrived looks, when a process calls that was let into an exec, how that ended.
func (p *process) arrived(c *supervisor.Call) {
	e, replaced, err := p.leavingNow()
	switch {
	case e == nil, err != nil:
	case replaced:
		p.left(e)
	case c.TID() == e.tid && p.take(e): // it failed
		p.table.Lock()
		e.undo(c, p.table)
		p.table.Unlock()
	}
}

// leavingNow returns the exec whose outcome is not known, nil for none, and whether it has
// happened. Whoever takes it closes what that look needs, so both are under the lock.
func (p *process) leavingNow() (e *exec, replaced bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e = p.leaving; e != nil {
		replaced, err = e.old.replaced()
	}
	return e, replaced, err
}

// executes reports whether an exec was let go on whose outcome is not known.
func (p *process) executes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaving != nil
}

// take makes e the caller's to finish, for one of those who try.
func (p *process) take(e *exec) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving != e {
		return false
	}
	p.leaving = nil
	return true
}

// left notes that e has happened.
func (p *process) left(e *exec) {
	if !p.take(e) {
		return
	}
	// What was marked at the look need not have been at the exec: a slot goes when its
	// number is seen to be closed.
	for _, fd := range e.closed {
		p.closes(fd)
	}
	e.letGo()
}

// letGo closes what was kept.
func (e *exec) letGo() {
	e.old.close()
	for _, k := range e.parked {
		k.file.Close()
	}
}

// undo puts back what was taken away for an exec that did not happen. The lock of t
// is held.
func (e *exec) undo(c *supervisor.Call, t *fdtable.Table) {
	for _, k := range e.parked {
		t.Put(k.fd, k.slot)
		if _, err := c.Put(k.file, k.fd, k.cloexec); err != nil {
			t.Put(k.fd, fdtable.Slot{Caps: filecaps.Caps{Listed: true}, Parked: true}) // it stays closed
		}
	}
	e.letGo()
}

// watch lets go of what was kept for e as soon as that has happened, in case the new
// program asks nothing: somebody may wait for the last copy of a pipe to be closed.
func (p *process) watch(e *exec) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		time.Sleep(pause)
		now, replaced, err := p.leavingNow()
		if now != e {
			return
		}
		if err != nil || replaced {
			p.left(e)
			return
		}
	}
}

// closesOnExec reports whether the caller's number fd is marked so, if that is known.
func (c *call) closesOnExec(fd int) (closes, known bool) {
	flags, err := c.SlotFlags(fd)
	return flags&unix.O_CLOEXEC != 0, err == nil
}
