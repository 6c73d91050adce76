package fdtable

import (
	"math/bits"
	"slices"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

const (
	// FirstAsking is the lowest number of those on which calls ask, but for what
	// their [Class] says.
	FirstAsking = 256
	// firstChosen is the lowest number that [Table.Choose] gives where the process
	// has room: programs count on low numbers for their own.
	firstChosen = 512
	classes     = 16
)

// Class is what the filter lets pass on a number from [FirstAsking] on: the low
// four bits of the number. The filter cannot look anything up, so a number says by
// itself what may be done with it.
type Class uint8

// The bits of a class.
const (
	ClassRead  Class = 1 << iota // read, readv, recv; with ClassSeek pread, preadv
	ClassWrite                   // write, writev, send; with ClassSeek pwrite, pwritev
	ClassSeek                    // lseek
	ClassMap                     // mmap: readable with ClassRead, shared and writable with ClassWrite, never executable
)

// ClassOf returns the class of a number from [FirstAsking] on.
func ClassOf(fd int) Class { return Class(fd % classes) }

// Rights returns the rights that what passes needs.
func (c Class) Rights() rights.Set {
	var s rights.Set
	if c&ClassRead != 0 {
		s.Set(rights.Read)
	}
	if c&ClassWrite != 0 {
		s.Set(rights.Write)
	}
	if c&ClassSeek != 0 {
		s.Set(rights.Seek)
	}
	if c&ClassMap != 0 {
		s.Merge(rights.ForMmap(c&ClassRead != 0, c&ClassWrite != 0, false, true))
	}
	return s
}

// needs has the rights of every class; bySize the classes, the largest first, and
// of equal ones those with the calls that are made most.
var (
	needs = func() (n [classes]rights.Set) {
		for c := range n {
			n[c] = Class(c).Rights()
		}
		return n
	}()
	bySize = func() []Class {
		var all []Class
		for c := range Class(classes) {
			all = append(all, c)
		}
		slices.SortStableFunc(all, func(a, b Class) int {
			return bits.OnesCount8(uint8(b)) - bits.OnesCount8(uint8(a))
		})
		return all
	}()
)

// Within reports whether caps permit everything that the class lets pass.
func (c Class) Within(caps filecaps.Caps) bool { return caps.Rights.Contains(needs[c%classes]) }

// unstacked returns what passes on number fd before a filter is stacked for it.
func unstacked(fd int) filecaps.Caps {
	only := func(s rights.Set) filecaps.Caps { return filecaps.Caps{Rights: s, Listed: true} }
	switch {
	case fd < 0:
		return only(rights.Set{})
	case fd == 0:
		return only(rights.Of(rights.Read))
	case fd <= 2:
		return only(rights.Of(rights.Write))
	case fd < FirstAsking:
		return filecaps.Full()
	default:
		return only(needs[ClassOf(fd)])
	}
}

// hint remembers, for one class and one range of numbers, where to look for the
// next free number.
type hint struct {
	next    int  // below are only numbers that were in use when looked at
	foreign bool // of which some were in use for something that is no slot
	rest    int  // searches to go before those are looked at again
}

// search finds the lowest free number of class c from base on and below limit.
// Numbers used for what is no slot come free without notice, so when nothing else
// is left they are looked at again, but only as often as that keeps the cost of a
// search constant; eager ignores the cost.
func (h *hint) search(c Class, base, limit int, eager bool, free func(int) (ok, foreign bool)) (int, bool) {
	first := base + int(c)
	h.next = max(h.next, first)
	scan := func() (int, bool) {
		for ; h.next < limit; h.next += classes {
			ok, foreign := free(h.next)
			if ok {
				return h.next, true
			}
			h.foreign = h.foreign || foreign
		}
		return 0, false
	}
	if fd, ok := scan(); ok {
		return fd, true
	}
	if !h.foreign {
		return 0, false
	}
	if h.rest--; h.rest > 0 && !eager {
		return 0, false
	}
	h.rest = (limit - first) / classes
	h.next, h.foreign = first, false
	return scan()
}

// Choose returns a number for a descriptor with these caps: the lowest free one of
// the largest class within caps, or of a smaller class where none of that is free.
// It is below limit, which is the process's RLIMIT_NOFILE, and taken says what the
// process has open; numbers with a slot are not asked about. It reserves nothing.
// Numbers that taken has said to be in use may be passed over for a while
// after they came free.
func (t *Table) Choose(caps filecaps.Caps, taken func(int) bool, limit int) (fd int, ok bool) {
	base, hints := firstChosen, &t.shared().high
	if limit <= firstChosen {
		base, hints = FirstAsking, &t.shared().low
	}
	free := func(fd int) (ok, foreign bool) {
		if t.shared().slots.get(fd) != nil {
			return false, false
		}
		// What does not fit these caps may fit others, so it counts as foreign too.
		return t.Exact(fd, caps) && !taken(fd), true
	}
	for _, eager := range []bool{false, true} {
		for _, c := range bySize {
			if !c.Within(caps) {
				continue
			}
			if fd, ok := hints[c].search(c, base, limit, eager, free); ok {
				return fd, true
			}
		}
	}
	return 0, false
}

// cameFree tells the hints that number fd has no slot any more.
func (f *files) cameFree(fd int) {
	if fd < FirstAsking {
		return
	}
	h := &f.high[ClassOf(fd)]
	if fd < firstChosen {
		h = &f.low[ClassOf(fd)]
	}
	h.next = min(h.next, fd)
}
