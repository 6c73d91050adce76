package fdtable

import (
	"container/list"
	"errors"
	"fmt"
	"sync"
)

// maxUnborn bounds the forks whose children have not been seen. Forks that fail in
// the kernel stay among them.
const maxUnborn = 1 << 16

// LabelBits is where labels end that share the word in which the kernel hands them on
// with something of the supervisor's.
const LabelBits = 36

// ErrUnknownLabel is that of a process which nobody knows to have been forked.
// Everything must be refused to it.
var ErrUnknownLabel = errors.New("no fork has this label")

// The errors of [Tables.Join].
var (
	ErrSeen   = errors.New("all children with the last label have been seen")
	ErrUnlike = errors.New("the last label is not good for this child")
)

// Tables knows the table of every process. Its methods are safe for concurrent
// use. All but Of take locks of tables: call them with none held.
type Tables struct {
	mu     sync.RWMutex // taken after the locks of tables
	procs  map[int]*Table
	forks  map[uint64]*fork
	unborn list.List                // of *fork, the oldest first
	places map[uint64]*list.Element // in unborn
	last   uint64                   // label
}

// NewTables returns the tables of no processes. Labels come after last.
func NewTables(last uint64) *Tables {
	return &Tables{last: last, procs: map[int]*Table{}, forks: map[uint64]*fork{}, places: map[uint64]*list.Element{}}
}

// Attach adds a process that is nobody's child here, with everything unlimited.
func (ts *Tables) Attach(pid int) *Table {
	t := &Table{filters: &filters{}}
	f := newFiles(cow[Slot]{})
	f.sharers[t.filters] = struct{}{}
	t.files = f
	ts.bind(pid, t)
	return t
}

// Of returns the table of a process, nil if it is not known. It may be called
// with a table's lock held.
func (ts *Tables) Of(pid int) *Table {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return ts.procs[pid]
}

// Len returns the number of processes.
func (ts *Tables) Len() int {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return len(ts.procs)
}

// Fork says that the process of parent is about to fork, sharing its descriptors
// or copying them. The child is born with the label. What is put into the parent's
// table until then is in the child's too. Of more than 65536 children that were
// not seen the oldest is forgotten.
//
// The kernel copies the table first and the label later. As long as another fork of
// the process may be between the two the label must stay, or that one's child would
// have a label that tells less than its table has limits; [Tables.Join] then.
func (ts *Tables) Fork(parent *Table, share bool) (label uint64) {
	parent.Lock()
	fk := parent.begin(share)
	ts.mu.Lock()
	ts.last++
	label = ts.last
	fk.label, fk.awaited = label, 1
	parent.newest = fk
	ts.forks[label] = fk
	ts.places[label] = ts.unborn.PushBack(fk)
	var oldest *fork
	if ts.unborn.Len() > maxUnborn {
		oldest = ts.unborn.Front().Value.(*fork)
		ts.remove(oldest)
	}
	ts.mu.Unlock()
	parent.Unlock()
	if oldest != nil {
		oldest.forget()
	}
	return label
}

// Join says that the process of parent is about to fork, and that the child is born
// with the label of its last fork. That is good for every later child: what was put
// meanwhile is noted for it, so that it has too few rights rather than too many. It
// fails with [ErrSeen] if every child with that label is there, so that there may be
// another label; and with [ErrUnlike] if the label is of a fork of the other kind, or is
// forgotten.
func (ts *Tables) Join(parent *Table, share bool) error {
	parent.Lock()
	defer parent.Unlock()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	fk := parent.newest
	switch {
	case fk == nil:
		return ErrSeen
	case fk.share != share || ts.forks[fk.label] != fk:
		return ErrUnlike
	}
	fk.awaited++
	return nil
}

// Awaits reports whether a child with the label of parent's last fork has not been
// seen.
func (ts *Tables) Awaits(parent *Table) bool {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return parent.newest != nil
}

// remove makes fk's label unknown. The caller holds ts.mu, and calls fk.forget
// when it holds no lock.
func (ts *Tables) remove(fk *fork) {
	delete(ts.forks, fk.label)
	if place := ts.places[fk.label]; place != nil {
		ts.unborn.Remove(place)
		delete(ts.places, fk.label)
	}
}

// Born binds a new process to the fork that made it. The same label for the same
// process gives the same table again; until [Tables.Exit] its number must not come
// to mean another. A label is known until as many children were seen as forks have it.
//
// The child has stacked so many filters. It is in capability mode if the parent is,
// by now, unless it has no more than that had when it entered: then it was forked
// before, and the kernel does not confine it to the mode either.
func (ts *Tables) Born(label uint64, pid, filters int) (*Table, error) {
	ts.mu.RLock()
	fk := ts.forks[label]
	ts.mu.RUnlock()
	if t := ts.Of(pid); t != nil && t.label == label {
		return t, nil
	}
	unknown := fmt.Errorf("bind process %d: label %d: %w", pid, label, ErrUnknownLabel)
	if fk == nil {
		return nil, unknown
	}
	fk.parent.files.mu.Lock()
	if fk.gone {
		fk.parent.files.mu.Unlock()
		if t := ts.Of(pid); t != nil && t.label == label {
			return t, nil // another caller was faster, and other births after it
		}
		return nil, unknown
	}
	t := fk.child()
	fk.parent.files.mu.Unlock()
	t.label = label
	if fk.bound {
		t.Bind()
	}
	if fk.parent.Mode() { // and then the number is there
		if before := int(fk.parent.before.Load()); filters > before {
			t.Enter(before)
		}
	}
	bound := ts.bind(pid, t)
	if bound == t {
		ts.seen(fk)
	}
	return bound, nil
}

// bind makes t the table of pid, in place of one of a process that is gone, and
// returns it; or the table that another caller has bound for the same birth.
func (ts *Tables) bind(pid int, t *Table) *Table {
	ts.mu.Lock()
	old := ts.procs[pid]
	if old != nil && old.label == t.label && t.label != 0 {
		t, old = old, t
	} else {
		ts.procs[pid] = t
	}
	ts.mu.Unlock()
	if old != nil {
		ts.end(old)
	}
	return t
}

// seen counts a child of fk.
func (ts *Tables) seen(fk *fork) {
	ts.mu.Lock()
	fk.awaited--
	last := fk.awaited == 0
	if last {
		ts.remove(fk)
		if fk.parent.newest == fk {
			fk.parent.newest = nil
		}
	}
	ts.mu.Unlock()
	if last {
		fk.forget()
	}
}

// end lets go of what t holds in what it shares. Its children that were not seen
// can still be born.
func (ts *Tables) end(t *Table) {
	t.Lock()
	delete(t.files.sharers, t.filters)
	t.Unlock()
}

// Exit forgets a process. What it returns is to be called, too, with no lock held: it
// waits for the table's, to let go of what that shares.
func (ts *Tables) Exit(pid int) (end func()) {
	ts.mu.Lock()
	t := ts.procs[pid]
	delete(ts.procs, pid)
	ts.mu.Unlock()
	return func() {
		if t != nil {
			ts.end(t)
		}
	}
}
