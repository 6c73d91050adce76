// Package fdtable is the supervisor's memory: which limited descriptors each
// process holds, what the filters let pass on a number, and how both come to
// children. It is pure data and makes no system calls.
//
// A descriptor that has no slot is unlimited. Races between a fork and changes of
// the parent's table end with too few rights in the child rather than too many.
package fdtable

import (
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/capsicum-go/capsicum/internal/filecaps"
)

// ID is the identity of an open file as far as it can be looked at: fstat's
// device and inode, and type, and the access mode. The zero ID is that of a file nobody
// could look at.
type ID struct {
	Dev, Ino uint64
	Flags    uint32
	Type     uint32
}

// Slot is one limited descriptor.
type Slot struct {
	Caps filecaps.Caps
	// ID is what was put there. Numbers are closed and taken again without the
	// supervisor seeing it: what holds another file is no longer this slot.
	ID ID
	// Also is what else may be there, in a child that was forked while the parent
	// put several files on the number. Dropping the slot for holding
	// one of them would make that one unlimited.
	Also []ID
	// Pending is a limit whose filter is not stacked yet. A child forked meanwhile
	// gets Before.
	Pending bool
	Before  filecaps.Caps
	// Parked says that the descriptor was closed, and that what took its place only
	// keeps the number from being given out again: a filter stacked for it would
	// refuse things to whatever came there.
	Parked bool
}

// maxAlso bounds the list of a slot; a longer one says "anything".
const maxAlso = 4

// Holds reports whether the slot may be about the open file id; if not, it is
// stale. A zero ID on either side may be any file.
func (s Slot) Holds(id ID) bool {
	return id == ID{} || s.ID == ID{} || s.ID == id || slices.Contains(s.Also, id) || slices.Contains(s.Also, ID{})
}

// merge returns what both permit, for whatever either is about.
func merge(older, newer Slot) Slot {
	s := Slot{Caps: older.Caps.Intersect(newer.Caps), ID: newer.ID, Parked: older.Parked && newer.Parked}
	for _, ids := range [][]ID{older.Also, {older.ID}, newer.Also} {
		for _, id := range ids {
			if id != s.ID && !slices.Contains(s.Also, id) {
				s.Also = append(s.Also, id)
			}
		}
	}
	if len(s.Also) > maxAlso {
		s.Also = []ID{{}}
	}
	return s
}

// forChild returns what a child gets of s, false if it is unlimited there.
func (s Slot) forChild() (Slot, bool) {
	if s.Pending {
		s.Caps, s.Before, s.Pending = s.Before, filecaps.Caps{}, false
	}
	return s, !s.Caps.IsFull()
}

// files is a descriptor table of the kernel, its limited part.
type files struct {
	mu      sync.Mutex
	slots   cow[Slot]
	pending map[int]struct{} // numbers of pending slots
	// sharers are the stacked filters of the processes that use this table, and
	// of children to be that will.
	sharers map[*filters]struct{}
	hints   [len(Chosen)][classes]hint // where to look for free numbers
	plain   [len(unchosen)]hint
	// journal is the newest of the forks that later changes matter to.
	journal *fork
}

func newFiles(slots cow[Slot]) *files {
	return &files{slots: slots, pending: map[int]struct{}{}, sharers: map[*filters]struct{}{}}
}

// filters are the limits that a process has stacked on numbers, for good.
type filters struct {
	stacked cow[filecaps.Caps]
}

// passes returns what the kernel lets pass on number fd.
func (f *filters) passes(fd int) filecaps.Caps {
	caps := unstacked(fd)
	if s := f.stacked.get(fd); s != nil {
		caps = caps.Intersect(*s)
	}
	return caps
}

// Table is one process's view of its descriptors: the descriptor table, which
// other processes may share, and the process's filters and mode, which they do not.
//
// Hold [Table.Lock] around every use, and from looking at something to acting on it;
// methods assume it unless they say otherwise. Put before the descriptor appears
// in the process and Drop after it is gone, under one lock, so that no fork sees
// the descriptor without its limit.
type Table struct {
	files   *files
	filters *filters
	mode    atomic.Bool
	before  atomic.Int64 // how many filters the process had before it entered, and its children then
	bound   atomic.Bool
	label   uint64 // as whose child it was born; guarded by Tables.mu
	newest  *fork  // its last fork, until all children with its label were seen; guarded by Tables.mu
}

// Lock locks the table for all who share it.
func (t *Table) Lock() { t.files.mu.Lock() }

// Unlock undoes [Table.Lock].
func (t *Table) Unlock() { t.files.mu.Unlock() }

// Get returns what descriptor fd permits; false if it is unlimited.
func (t *Table) Get(fd int) (filecaps.Caps, bool) {
	if s := t.files.slots.get(fd); s != nil {
		return s.Caps, true
	}
	return filecaps.Full(), false
}

// Slot returns the slot of fd; false if it is unlimited.
func (t *Table) Slot(fd int) (Slot, bool) {
	if s := t.files.slots.get(fd); s != nil {
		return *s, true
	}
	return Slot{}, false
}

// Put makes fd limited, replacing what was there. A slot that limits nothing is
// dropped. The number is not negative.
func (t *Table) Put(fd int, s Slot) {
	f := t.files
	if !s.Pending {
		s.Before = filecaps.Caps{}
		if s.Caps.IsFull() {
			t.Drop(fd)
			return
		}
	}
	f.slots.put(fd, s)
	if s.Pending {
		f.pending[fd] = struct{}{}
	} else {
		delete(f.pending, fd)
	}
	f.journal.note(fd, s)
}

// Pending reports whether the filter of any limit is not stacked yet.
func (t *Table) Pending() bool { return len(t.files.pending) > 0 }

// Drop makes fd unlimited: it was closed, or is another file.
func (t *Table) Drop(fd int) {
	f := t.files
	if f.slots.get(fd) == nil {
		return
	}
	f.slots.drop(fd)
	delete(f.pending, fd)
	f.cameFree(fd)
}

// Limited iterates over the slots of the numbers from lo to hi, both included, in
// order. The table may be changed meanwhile.
func (t *Table) Limited(lo, hi int) iter.Seq2[int, Slot] {
	return func(yield func(int, Slot) bool) {
		for fd := t.files.slots.next(lo); fd >= 0 && fd <= hi; fd = t.files.slots.next(fd + 1) {
			if !yield(fd, *t.files.slots.get(fd)) || fd == math.MaxInt {
				return
			}
		}
	}
}

// Len returns the number of slots.
func (t *Table) Len() int { return t.files.slots.n }

// Passes returns what the kernel lets pass on number fd in this process without
// asking. It may say more than is so, never less: where several calls need one
// right, all of them count as passing.
func (t *Table) Passes(fd int) filecaps.Caps { return t.filters.passes(fd) }

// Stack records that this process has stacked a filter which refuses on number fd
// those of the calls that pass there which caps does not permit. Filters are for
// good; what they do not refuse is asked about and can be told otherwise later.
func (t *Table) Stack(fd int, caps filecaps.Caps) {
	left := filecaps.Full()
	left.Rights.Remove(Unasked.Minus(caps.Rights))
	if s := t.filters.stacked.get(fd); s != nil {
		left = left.Intersect(*s)
	}
	t.filters.stacked.put(fd, left)
}

// Fits reports whether a descriptor that is on number fd needs no filter to be
// limited to caps: nothing passes there that caps does not permit, in any process
// that shares the table, if what these say of their filters is true. For another
// descriptor that is not enough; see [Suits].
func (t *Table) Fits(fd int, caps filecaps.Caps) bool {
	for f := range t.files.sharers {
		if !caps.Contains(f.passes(fd)) {
			return false
		}
	}
	return true
}

// Suits reports whether a descriptor with caps may be put on number fd. Stacked
// filters do not count: that they are there is only what the process says, who
// gains nothing by lying about the descriptor it limits itself, and would by having
// another put where in truth everything passes.
func Suits(fd int, caps filecaps.Caps) bool { return caps.Contains(unstacked(fd)) }

// Stacked returns what filters stacked on number fd let pass, in every process that
// shares the table.
func (t *Table) Stacked(fd int) filecaps.Caps {
	caps := filecaps.Full()
	for f := range t.files.sharers {
		if s := f.stacked.get(fd); s != nil {
			caps = caps.Intersect(*s)
		}
	}
	return caps
}

// StackedIn iterates over the numbers from lo to hi, both included, that filters
// are stacked on in any process that shares the table.
func (t *Table) StackedIn(lo, hi int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for f := range t.files.sharers {
			for fd := f.stacked.next(lo); fd >= 0 && fd <= hi; fd = f.stacked.next(fd + 1) {
				if !yield(fd) || fd == math.MaxInt {
					return
				}
			}
		}
	}
}

// Exact reports whether caps suits number fd and no stacked filter refuses there
// what caps permits.
func (t *Table) Exact(fd int, caps filecaps.Caps) bool {
	for f := range t.files.sharers {
		if s := f.stacked.get(fd); s != nil && !s.Contains(caps) {
			return false
		}
	}
	return Suits(fd, caps)
}

// Shared reports whether other processes use this descriptor table, or children
// to be will. Their filters differ.
func (t *Table) Shared() bool { return len(t.files.sharers) > 1 }

// SharesWith reports whether o is about the same descriptor table. It needs no lock.
func (t *Table) SharesWith(o *Table) bool { return t.files == o.files }

// Mode reports whether the process is in capability mode. It needs no lock.
func (t *Table) Mode() bool { return t.mode.Load() }

// Enter puts the process into capability mode, which has stacked so many filters
// before: children that are not born yet and have more are in it too. Only the first
// number counts: the filter of capability mode is among any later one. It needs no
// lock.
func (t *Table) Enter(filters int) {
	t.before.CompareAndSwap(0, int64(filters))
	t.mode.Store(true)
}

// Bound reports whether the kernel executes for the process nothing that has a name.
// It needs no lock.
func (t *Table) Bound() bool { return t.bound.Load() }

// Bind notes that it does not, for children that are not born yet also. It needs no
// lock.
func (t *Table) Bind() { t.bound.Store(true) }
