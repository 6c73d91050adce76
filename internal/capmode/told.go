package capmode

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// maxTold is of how many processes, and of how many descriptors of each, a report is.
const maxTold = 4096

// Report tells which processes there are, and what each has limited. It stops nobody:
// tables are locked one after the other, for as long as copying one takes.
func (w *Warden) Report() (a roster.Answer) {
	w.reap()
	w.mu.Lock()
	var all []*process
	for _, p := range w.procs {
		if a.Cut = len(all) == maxTold; a.Cut {
			break
		}
		all = append(all, p)
	}
	w.mu.Unlock()
	for _, p := range all {
		s := roster.Served{PID: p.pid, Mode: p.table.Mode()}
		slots, cut := p.copySlots()
		// Opened again: the process may be forgotten meanwhile.
		n, err := unix.PidfdOpen(p.pid, 0)
		life := sys.NewFD(-1)
		if err == nil {
			life = sys.NewFD(n)
		}
		for _, l := range slots {
			if d := l.told(); !d.Caps.IsFull() && !l.stale(life) {
				s.Limited = append(s.Limited, d)
			}
		}
		life.Close()
		a.Served, a.Cut = append(a.Served, s), a.Cut || cut
	}
	return a
}

// numbered is a slot with its number.
type numbered struct {
	fd int
	fdtable.Slot
}

func (p *process) copySlots() (list []numbered, cut bool) {
	p.table.Lock()
	defer p.table.Unlock()
	for fd, s := range p.table.Limited(0, math.MaxInt) {
		if len(list) == maxTold {
			return list, true
		}
		if !s.Parked {
			list = append(list, numbered{fd, s})
		}
	}
	return list, false
}

// stale reports whether the number holds nothing, or another file, by now. What can't
// be looked at is told as it was noted.
func (n numbered) stale(life *sys.FD) bool {
	copied, err := unix.PidfdGetfd(life.Int(), n.fd, 0)
	if err != nil {
		return err == unix.EBADF && life.Valid()
	}
	f := sys.NewFD(copied)
	defer f.Close()
	id, err := identify(f)
	return err == nil && !n.Holds(id) && lasting(f)
}

// told is what the slot permits. A limit whose filter is not stacked yet has not
// happened.
func (n numbered) told() roster.Descriptor {
	if n.Pending {
		return roster.Descriptor{FD: n.fd, Caps: n.Before}
	}
	return roster.Descriptor{FD: n.fd, Caps: n.Caps}
}
