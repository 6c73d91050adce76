package capmode

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// How much a report has at most: what it costs is the supervisor's time and memory.
const (
	maxTold  = 4096    // processes
	maxSlots = 1 << 14 // descriptors of all of them
	maxForks = 256     // whose children are unknown
	maxEach  = 256     // descriptors of such a child
)

// Report tells which processes there are, and what each has limited. It stops nobody:
// tables are locked one after the other, for as long as copying one takes.
func (w *Warden) Report() (a roster.Answer) {
	w.reap(nil)
	w.mu.Lock()
	var all []*process
	for _, p := range w.procs {
		if a.Cut = len(all) == maxTold; a.Cut {
			break
		}
		all = append(all, p)
	}
	w.mu.Unlock()
	left := maxSlots
	for _, p := range all {
		s := roster.Served{PID: p.pid, Mode: p.table.Mode()}
		slots, cut := p.copySlots(left)
		left -= len(slots)
		w.mu.Lock() // it may be forgotten meanwhile
		life, err := p.life.Dup()
		w.mu.Unlock()
		if err != nil {
			life = sys.NewFD(-1)
		}
		for _, l := range slots {
			if d := told(l); !d.Caps.IsFull() && !w.stale(l, life) {
				s.Limited = append(s.Limited, d)
			}
		}
		life.Close()
		a.Served, a.Cut = append(a.Served, s), a.Cut || cut
	}
	for _, u := range w.tables.Unborn(maxForks, maxEach) {
		a.Unborn = append(a.Unborn, roster.Unborn{Label: u.Label, Free: u.Free, Limited: unborn(u.Slots)})
	}
	return a
}

func unborn(slots []fdtable.Numbered) (list []roster.Descriptor) {
	for _, s := range slots {
		if d := told(s); !s.Parked && !d.Caps.IsFull() {
			list = append(list, d)
		}
	}
	return list
}

func (p *process) copySlots(most int) (list []fdtable.Numbered, cut bool) {
	p.table.Lock()
	defer p.table.Unlock()
	for fd, s := range p.table.Limited(0, math.MaxInt) {
		if len(list) == most {
			return list, true
		}
		if !s.Parked {
			list = append(list, fdtable.Numbered{FD: fd, Slot: s})
		}
	}
	return list, false
}

// stale reports whether the number holds nothing, or another file, by now. What can't
// be looked at is told as it was noted.
func (w *Warden) stale(n fdtable.Numbered, life *sys.FD) bool {
	copied, err := unix.PidfdGetfd(life.Int(), n.FD, 0)
	if err != nil {
		return err == unix.EBADF && life.Valid()
	}
	f := sys.NewFD(copied)
	defer f.Close()
	id, err := identify(f)
	return err == nil && w.left(n.Slot, id, f)
}

// told is what the slot permits. A limit whose filter is not stacked yet has not
// happened.
func told(n fdtable.Numbered) roster.Descriptor {
	if n.Pending {
		return roster.Descriptor{FD: n.FD, Caps: n.Before}
	}
	return roster.Descriptor{FD: n.FD, Caps: n.Caps}
}
