package capmode

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
)

// closeAnswers answers the calls that close descriptors. A limited one is replaced
// by a dead one first, so that it is surely gone when its slot is dropped; the
// kernel then closes that. It is left there, and nobody is told, under a number
// that a filter was stacked for: the next descriptor to get it would be refused
// what this one was.
func (w *Warden) closeAnswers() []answer {
	return []answer{
		{[]string{"close"}, closed},
		{[]string{"close_range"}, closedRange},
	}
}

const closing = "closing gives nobody anything; a limited descriptor is gone already"

func closed(c *call) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	fd := int(c.Fd(0))
	s, limited := t.Slot(fd)
	if !limited && (fd < 0 || t.Stacked(fd).IsFull()) {
		return supervisor.Continue(closing)
	}
	if s.Parked || !c.isOpen(fd) {
		return supervisor.Errno(unix.EBADF)
	}
	parked, err := c.bury(t, fd)
	switch {
	case err != nil:
		return fail(err)
	case parked:
		return supervisor.Value(0)
	}
	return supervisor.Continue(closing)
}

// bury puts a dead descriptor in the place of fd, and reports whether it must stay
// there.
func (c *call) bury(t *fdtable.Table, fd int) (parked bool, err error) {
	if _, err := c.Put(c.w.dead, fd, false); err != nil {
		return false, err
	}
	t.Drop(fd)
	if t.Stacked(fd).IsFull() {
		return false, nil
	}
	id, err := identify(c.w.dead)
	if err != nil {
		return true, err
	}
	t.Put(fd, fdtable.Slot{Caps: filecaps.Caps{Listed: true}, ID: id, Parked: true})
	return true, nil
}

// closedRange is close_range. Where numbers must stay taken the kernel can't do it,
// and callers that are told so close one by one.
func closedRange(c *call) supervisor.Result {
	first, last := uint32(c.Int(0)), uint32(c.Int(1))
	if first > last {
		return supervisor.Errno(unix.EINVAL)
	}
	t := c.table()
	defer t.Unlock()
	lo, hi := int(first), int(min(last, math.MaxInt32))
	for fd := range t.StackedIn(lo, hi) {
		if c.isOpen(fd) {
			return supervisor.Errno(unix.ENOSYS)
		}
	}
	for fd := range t.Limited(lo, hi) {
		if !c.isOpen(fd) {
			t.Drop(fd)
			continue
		}
		if _, err := c.bury(t, fd); err != nil {
			return fail(err)
		}
	}
	return supervisor.Continue(closing)
}
