package capmode

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
)

// closeAnswers answers the calls that close descriptors. The kernel does it; the
// slot of a limited one is dropped when that is seen to have happened. Under a number
// that a filter was stacked for, nothing is closed but the file: a dead descriptor
// takes its place, and nobody is told, because the next to get the number would be
// refused what this one was.
func (w *Warden) closeAnswers() []answer {
	return []answer{
		{[]string{"close"}, closed},
		{[]string{"close_range"}, closedRange},
	}
}

const closing = "closing gives nobody anything"

func closed(c *call) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	fd := int(c.Fd(0))
	s, limited := t.Slot(fd)
	switch {
	case s.Parked:
		return supervisor.Errno(unix.EBADF)
	case fd < 0 || t.Stacked(fd).IsFull():
		if limited {
			c.vacate(t, fd, s)
		}
		return supervisor.Continue(closing)
	case !c.IsOpen(int32(fd)):
		return supervisor.Errno(unix.EBADF)
	}
	return fail(c.park(t, fd))
}

// park puts a dead descriptor in the place of fd, for good.
func (c *call) park(t *fdtable.Table, fd int) error {
	if _, err := c.Put(c.w.dead, fd, false); err != nil {
		return err
	}
	t.Put(fd, fdtable.Slot{Caps: filecaps.Caps{Listed: true}, ID: c.w.deadID, Parked: true})
	return nil
}

// vacate notes that limited number fd, which s is about, is being closed. Whoever gets the
// number next may have the same file there before anybody asks about it, and must not have
// these limits. So a dead descriptor, which nobody else has, is what the kernel closes.
func (c *call) vacate(t *fdtable.Table, fd int, s fdtable.Slot) {
	c.p.closes(fd)
	if !c.comesBack(s.ID) || !c.IsOpen(int32(fd)) {
		return
	}
	// There can't be one beyond a limit that was lowered, where nothing can come either.
	if _, err := c.Put(c.w.dead, fd, false); err == nil {
		t.Put(fd, fdtable.Slot{Caps: s.Caps, ID: c.w.deadID})
	}
}

// comesBack reports whether what a file is known by may come under a number again, by a
// call that does not ask.
func (c *call) comesBack(id fdtable.ID) bool {
	switch id.Type {
	case unix.S_IFSOCK: // each has an inode of its own
		return false
	case 0: // eventfd, epoll and the like have one in common
		return true
	}
	return !c.p.table.Mode() // where every open asks
}

// closes notes that limited number fd is being closed.
func (p *process) closes(fd int) {
	p.mu.Lock()
	p.closing = append(p.closing, fd)
	p.mu.Unlock()
}

// dropClosed drops the slots of numbers that are closed by now. The supervisor alone
// opens limited descriptors, so where nothing is open nothing is limited.
func (p *process) dropClosed(c *supervisor.Call) {
	const most = 4 // at a time
	p.table.Lock()
	defer p.table.Unlock()
	p.mu.Lock()
	list := p.closing[:min(len(p.closing), most)]
	p.closing = append([]int(nil), p.closing[len(list):]...)
	p.mu.Unlock()
	for _, fd := range list {
		// A thread that another's exec ends has no descriptors any more, its process has.
		if !c.IsOpen(int32(fd)) && c.Check() == nil {
			p.table.Drop(fd)
		} else if _, limited := p.table.Slot(fd); limited {
			p.closes(fd)
		}
	}
}

// closedRange is close_range. Where numbers must stay taken the kernel can't do it: if
// nothing else is open in the range, these are closed here, and callers that are told
// ENOSYS close one by one.
func closedRange(c *call) supervisor.Result {
	first, last := uint32(c.Int(0)), uint32(c.Int(1))
	if first > last {
		return supervisor.Errno(unix.EINVAL)
	}
	t := c.table()
	defer t.Unlock()
	lo, hi := int(first), int(min(last, math.MaxInt32))
	var taken []int
	for fd := range t.StackedIn(lo, hi) {
		if c.IsOpen(int32(fd)) {
			taken = append(taken, fd)
		}
	}
	if len(taken) > 0 {
		return c.parkRange(t, lo, hi, taken)
	}
	for fd, s := range t.Limited(lo, hi) {
		c.vacate(t, fd, s)
	}
	return supervisor.Continue(closing)
}

// parkRange closes a range in which the numbers in taken must stay so.
func (c *call) parkRange(t *fdtable.Table, lo, hi int, taken []int) supervisor.Result {
	const most = 256 // numbers that are looked at
	if hi-lo >= most {
		return supervisor.Errno(unix.ENOSYS)
	}
	if c.Int(2) != 0 {
		return supervisor.Errno(unix.EINVAL) // both flags are answered by the filter
	}
	for fd := lo; fd <= hi; fd++ {
		if !slices.Contains(taken, fd) && c.IsOpen(int32(fd)) {
			return supervisor.Errno(unix.ENOSYS)
		}
	}
	for _, fd := range taken {
		if s, _ := t.Slot(fd); s.Parked {
			continue
		}
		if err := c.park(t, fd); err != nil {
			return fail(err)
		}
	}
	return supervisor.Value(0)
}
