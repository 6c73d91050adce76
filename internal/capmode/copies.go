package capmode

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// copyAnswers answers calls that make a descriptor of another: it gets the other's
// rights, and is noted before it appears.
func (w *Warden) copyAnswers() []answer {
	return []answer{
		{[]string{"dup"}, func(c *call) supervisor.Result { return c.duplicate(0, false) }},
		{[]string{"fcntl"}, func(c *call) supervisor.Result {
			switch uint32(c.Int(1)) {
			case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
				return c.duplicate(c.Int(2), c.Int(1) == unix.F_DUPFD_CLOEXEC)
			case unix.F_SETOWN:
				if to := c.Int(2); c.p.table.Mode() && to != 0 && !c.isSelf(to) {
					return supervisor.Errno(eCapMode)
				}
			case fSetOwnEx: // whom, is in memory
				if c.p.table.Mode() {
					return supervisor.Errno(eCapMode)
				}
			}
			return judged(c)
		}},
		{[]string{"ioctl"}, func(c *call) supervisor.Result {
			switch command := uint32(c.Int(1)); {
			case command == fioSetOwn || command == siocSetPgrp: // whom, is in memory
				if c.p.table.Mode() {
					return supervisor.Errno(eCapMode)
				}
			case slot.HandsOn(command):
				return c.handOn()
			}
			return judged(c)
		}},
		{[]string{"dup2"}, func(c *call) supervisor.Result {
			if c.Fd(0) == c.Fd(1) {
				return c.ifOpen(c.Fd(0))
			}
			return c.replace(c.Fd(0), c.Fd(1), false)
		}},
		{[]string{"dup3"}, func(c *call) supervisor.Result {
			flags := uint32(c.Int(2))
			if flags&^unix.O_CLOEXEC != 0 || c.Fd(0) == c.Fd(1) {
				return supervisor.Errno(unix.EINVAL)
			}
			return c.replace(c.Fd(0), c.Fd(1), flags != 0)
		}},
		{[]string{"accept"}, func(c *call) supervisor.Result { return c.accept(0) }},
		{[]string{"accept4"}, func(c *call) supervisor.Result { return c.accept(int(c.Int(3))) }},
	}
}

const (
	fSetOwnEx   = 15     // F_SETOWN_EX
	fioSetOwn   = 0x8901 // FIOSETOWN
	siocSetPgrp = 0x8902 // SIOCSPGRP
)

// handOn is an ioctl command that names descriptors in memory: those are not judged,
// so there must be nothing limited, and nothing limited comes before it is over. Who
// clones a range copies it instead.
func (c *call) handOn() supervisor.Result {
	t := c.table()
	defer t.Unlock()
	if t.Len() > 0 {
		return supervisor.Errno(unix.EOPNOTSUPP)
	}
	return c.goOn(sending(c.Fd(0)), "there is no limited descriptor")
}

// ifOpen is dup2 of a number to itself.
func (c *call) ifOpen(fd int32) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	f, _, err := c.held(t, fd)
	if err != nil {
		return fail(err)
	}
	f.Close()
	return supervisor.Value(int64(fd))
}

// duplicate is dup and F_DUPFD: a copy under a free number from low on.
func (c *call) duplicate(low int32, cloexec bool) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.limited(t, c.Fd(0))
	switch {
	case err != nil:
		return fail(err)
	case f == nil:
		return c.goOn(only(c.Fd(0)), "an unlimited descriptor is copied, and its number keeps its meaning")
	}
	defer f.Close()
	limit, err := c.openLimit()
	if err != nil {
		return fail(err)
	}
	if low < 0 || int64(low) >= int64(limit) {
		return supervisor.Errno(unix.EINVAL)
	}
	return c.give(t, f, caps, int(low), cloexec)
}

// give puts f under a number that suits its rights and answers that number. The
// lock of t is held.
func (c *call) give(t *fdtable.Table, f *sys.FD, caps filecaps.Caps, low int, cloexec bool) supervisor.Result {
	n, err := c.place(t, f, caps, low, cloexec)
	if err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(n))
}

// place puts f, which permits caps, under a free number: the lowest where it is
// unlimited.
func (c *call) place(t *fdtable.Table, f *sys.FD, caps filecaps.Caps, low int, cloexec bool) (int, error) {
	if caps.IsFull() && low == 0 {
		return c.Put(f, -1, cloexec)
	}
	// The kernel looks at the limit too, so one that has changed unseen is found out.
	n, err := c.placeBelow(int(c.p.openLimit.Load()), t, f, caps, low, cloexec)
	if err != unix.EMFILE && !errors.Is(err, unix.EBADF) {
		return n, err
	}
	limit, err := c.openLimit()
	if err != nil {
		return 0, err
	}
	c.p.openLimit.Store(int64(limit))
	return c.placeBelow(limit, t, f, caps, low, cloexec)
}

// placeBelow is place under a number below limit.
func (c *call) placeBelow(limit int, t *fdtable.Table, f *sys.FD, caps filecaps.Caps, low int, cloexec bool) (int, error) {
	n, err := c.number(limit, t, caps, low)
	if err != nil {
		return 0, err
	}
	return n, c.put(t, f, caps, n, cloexec)
}

// openLimit is the caller's RLIMIT_NOFILE.
func (c *call) openLimit() (int, error) {
	n, err := c.OpenFiles(c.p.pid)
	return int(min(n, math.MaxInt32)), err
}

// anyNumber returns a free number that suits caps; EMFILE if there is none.
func (c *call) anyNumber(t *fdtable.Table, caps filecaps.Caps) (int, error) {
	limit, err := c.openLimit()
	if err != nil {
		return 0, err
	}
	return c.number(limit, t, caps, 0)
}

// hasNumber fails with EMFILE if there is no free number that suits caps.
func (c *call) hasNumber(caps filecaps.Caps) error {
	if caps.IsFull() {
		return c.HasNumber() // the kernel chooses
	}
	t := c.table()
	defer t.Unlock()
	_, err := c.anyNumber(t, caps)
	return err
}

// number returns a free number from low on and below limit that suits caps.
func (c *call) number(limit int, t *fdtable.Table, caps filecaps.Caps, low int) (int, error) {
	taken := func(n int) bool { return n < low || c.p.pinned(n, 0) || c.IsOpen(int32(n)) }
	n, ok := t.Choose(caps, taken, limit)
	if !ok {
		return 0, unix.EMFILE
	}
	return n, nil
}

// put puts f under number n, noting its rights first.
func (c *call) put(t *fdtable.Table, f *sys.FD, caps filecaps.Caps, n int, cloexec bool) error {
	id, err := identify(f)
	if err != nil {
		return err
	}
	old, had := t.Slot(n)
	t.Put(n, fdtable.Slot{Caps: caps, ID: id})
	if _, err := c.Put(f, n, cloexec); err != nil {
		if t.Drop(n); had {
			t.Put(n, old)
		}
		return err
	}
	return nil
}

// replace is dup2: a copy under a number that the caller names. Where filters let
// more pass than the copy has rights for, it can't be there; where they let less
// pass, it has no more.
func (c *call) replace(from, to int32, cloexec bool) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	_, limited := t.Slot(int(from))
	if _, before := t.Slot(int(to)); !limited && !before && t.Stacked(int(to)).IsFull() {
		return c.goOn(only(from), "an unlimited descriptor takes another's place, and its number keeps its meaning")
	}
	limit, err := c.openLimit()
	if err != nil {
		return fail(err)
	}
	if to < 0 || int(to) >= limit {
		return supervisor.Errno(unix.EBADF)
	}
	f, caps, err := c.held(t, from)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	n := int(to)
	suits := caps
	refused, err := refuses(f)
	if err != nil {
		return fail(err)
	}
	suits.Rights.Merge(refused)
	if caps.Rights.IsSet(rights.MmapR) {
		suits.Rights.Merge(rights.Of(rights.MmapX)) // what may be read and mapped may be copied, and that executed
	}
	caps = caps.Intersect(t.Stacked(n))
	switch {
	case !fdtable.Suits(n, suits):
		return supervisor.Errno(eNotCapable)
	case c.p.pinned(n, c.TID()) && !c.settled(n):
		return supervisor.Errno(unix.EBUSY)
	}
	if err := c.put(t, f, caps, n, cloexec); err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(n))
}

// refuses returns the rights that a file has no use for, because the kernel refuses
// it their calls anyway. Where calls pass on a number, such a file may be there without
// these rights: nothing is done to it that it lacks the right for, only the errno may be
// another.
func refuses(f *sys.FD) (rights.Set, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		return rights.Set{}, err
	}
	flags, err := unix.FcntlInt(uintptr(f.Int()), unix.F_GETFL, 0)
	if err != nil {
		return rights.Set{}, err
	}
	var s rights.Set
	kind := st.Mode & unix.S_IFMT
	switch access := flags & unix.O_ACCMODE; {
	case kind == unix.S_IFSOCK:
		return rights.Of(rights.Seek, rights.MmapRWX, rights.KqueueEvent).Minus(rights.Of(rights.Read, rights.Write)), nil
	case access == unix.O_RDONLY:
		s = rights.Of(rights.Write)
	case access == unix.O_WRONLY:
		s = rights.Of(rights.Read)
	}
	switch kind {
	case unix.S_IFIFO:
		s.Merge(rights.Of(rights.Seek, rights.Connect, rights.KqueueEvent, rights.Mmap, rights.MmapX))
	case unix.S_IFDIR:
		s.Merge(rights.Of(rights.Connect, rights.KqueueEvent))
		s.Merge(rights.Of(rights.MmapX).Minus(rights.Of(rights.Seek)))
	case unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK:
		s.Merge(rights.Of(rights.Connect, rights.KqueueEvent))
	}
	return s, nil
}
