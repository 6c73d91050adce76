package fdtable

// Unborn is a child that was let be forked, and has not been seen.
type Unborn struct {
	Label uint64
	// Free is how many filters it has at most if it is not in capability mode, because
	// its parent was not; -1 if that is not either.
	Free  int
	Slots []Numbered // what it is limited to, in order
}

// Numbered is a slot with its number.
type Numbered struct {
	FD int
	Slot
}

// Unborn returns such children, the newest first, at most so many, and at most so
// many slots of each. It changes nothing: which of them there are only the kernel
// knows.
func (ts *Tables) Unborn(most, slots int) (list []Unborn) {
	var forks []*fork
	ts.mu.RLock()
	for e := ts.unborn.Back(); e != nil && len(forks) < most; e = e.Prev() {
		forks = append(forks, e.Value.(*fork))
	}
	ts.mu.RUnlock()
	for _, fk := range forks {
		if u, ok := fk.unborn(slots); ok {
			list = append(list, u)
		}
	}
	return list
}

func (fk *fork) unborn(most int) (Unborn, bool) {
	u := Unborn{Label: fk.label, Free: -1}
	if fk.parent.Mode() {
		u.Free = int(fk.parent.before.Load())
	}
	fk.parent.files.mu.Lock()
	defer fk.parent.files.mu.Unlock()
	if fk.gone {
		return u, false
	}
	now := fk.parent.files.slots
	if !fk.share {
		now = fk.copied()
	}
	for fd := now.next(0); fd >= 0 && len(u.Slots) < most; fd = now.next(fd + 1) {
		u.Slots = append(u.Slots, Numbered{fd, *now.get(fd)})
	}
	return u, true
}
