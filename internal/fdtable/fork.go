package fdtable

// fork is a child to be: the parent was let into its fork, and the child has not
// been seen. The kernel copies the table at some moment between the two, so what
// the child has on a number is what the parent had at the start, or anything it
// put there since.
type fork struct {
	label   uint64
	awaited int // children with the label that have not been seen; guarded by Tables.mu
	parent  *Table

	share   bool
	bound   bool      // the parent was, at the fork
	slots   cow[Slot] // at the fork; none if shared
	filters *filters  // at the fork: the child has these at least

	// later is what was put on numbers from this fork to the next one of the same
	// table. Older forks need it also.
	later        map[int]Slot
	older, newer *fork // in the journal of files
	gone         bool  // not in the journal; guarded by files.mu
}

// note records a change of the parent's table for fk and the older ones.
func (fk *fork) note(fd int, s Slot) {
	if fk == nil {
		return
	}
	s, limited := s.forChild()
	if !limited {
		return
	}
	if fk.later == nil {
		fk.later = map[int]Slot{}
	}
	if old, ok := fk.later[fd]; ok {
		s = merge(old, s)
	}
	fk.later[fd] = s
}

// begin makes a fork of t, whose lock is held, and enters it into the journal.
func (t *Table) begin(share bool) *fork {
	f := t.files
	fk := &fork{parent: t, share: share, bound: t.Bound(), filters: &filters{stacked: t.filters.stacked.snapshot()}}
	if share {
		f.sharers[fk.filters] = struct{}{}
	} else {
		fk.slots = f.forChild()
	}
	if fk.older = f.journal; fk.older != nil {
		fk.older.newer = fk
	}
	f.journal = fk
	return fk
}

// forChild returns what a child gets of f that is forked now.
func (f *files) forChild() cow[Slot] {
	slots := f.slots.snapshot()
	for fd := range f.pending {
		if s, limited := slots.get(fd).forChild(); limited {
			slots.put(fd, s)
		} else {
			slots.drop(fd)
		}
	}
	return slots
}

// child makes a process of fk. The lock of fk.parent.files is held.
func (fk *fork) child() *Table {
	t := &Table{filters: &filters{stacked: fk.filters.stacked.snapshot()}}
	f := fk.parent.files
	if !fk.share {
		f = newFiles(fk.copied())
	}
	f.sharers[t.filters] = struct{}{}
	t.files = f
	return t
}

// copied is what the child has in a table of its own. The lock of fk.parent.files is held.
func (fk *fork) copied() cow[Slot] {
	slots := fk.slots.snapshot()
	for ; fk != nil; fk = fk.newer {
		for fd, s := range fk.later {
			if old := slots.get(fd); old != nil {
				s = merge(*old, s)
			}
			slots.put(fd, s)
		}
	}
	return slots
}

// forget takes fk out of the journal: no child of it will be seen. Its own period
// becomes part of the older fork's.
func (fk *fork) forget() {
	f := fk.parent.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if fk.gone {
		return
	}
	fk.gone = true
	delete(f.sharers, fk.filters)
	if fk.newer != nil {
		fk.newer.older = fk.older
	} else {
		f.journal = fk.older
	}
	if fk.older != nil {
		fk.older.newer = fk.newer
		fk.older.join(fk.later)
	}
}

// join adds the period after its own, moving the fewer entries.
func (fk *fork) join(after map[int]Slot) {
	if len(after) > len(fk.later) {
		for fd, s := range fk.later {
			if newer, ok := after[fd]; ok {
				s = merge(s, newer)
			}
			after[fd] = s
		}
		fk.later = after
		return
	}
	for fd, s := range after {
		if older, ok := fk.later[fd]; ok {
			s = merge(older, s)
		}
		fk.later[fd] = s
	}
}
