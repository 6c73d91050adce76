package fdtable

import (
	"math/bits"
	"slices"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

// FirstAsking is the lowest number of those on which calls ask, but for what their
// [Class] says.
const FirstAsking = 256

const classes = 16

// Range is numbers from First to Last that [Table.Choose] gives, and whose low four
// bits are their class. The kernel gives them to nobody before it has given the
// lower ones. On the other numbers from [FirstAsking] on every call asks.
type Range struct{ First, Last int }

// Chosen are the ranges, in the order in which they are used. The first is for
// programs with the usual limit of 1024 descriptors.
var Chosen = [...]Range{{512, 1023}, {65536, 131071}}

// Class is what the filter lets pass on a number of the ranges in [Chosen]. The
// filter cannot look anything up, so a number says by itself what may be done with
// it.
type Class uint8

// The bits of a class.
const (
	ClassRead  Class = 1 << iota // read, readv, recv; with ClassSeek pread, preadv
	ClassWrite                   // write, writev, send; with ClassSeek pwrite, pwritev
	ClassSeek                    // lseek
	ClassMap                     // mmap: readable with ClassRead, shared and writable with ClassWrite, never executable
)

// ClassOf returns the class of a number from [FirstAsking] on.
func ClassOf(fd int) Class {
	if rangeOf(fd) < 0 {
		return 0
	}
	return Class(fd % classes)
}

// unchosen are the numbers between.
var unchosen = [...]Range{{FirstAsking, Chosen[0].First - 1}, {Chosen[0].Last + 1, Chosen[1].First - 1}}

// rangeOf returns which range fd is in, -1 for none.
func rangeOf(fd int) int {
	return slices.IndexFunc(Chosen[:], func(r Range) bool { return r.First <= fd && fd <= r.Last })
}

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

// Unasked are the rights whose calls pass on numbers from 3 to 255 as long as no
// filter is stacked there: those of the calls that programs make most.
var Unasked = rights.Of(rights.Read, rights.Write, rights.Seek, rights.MmapRWX, rights.Connect, rights.KqueueEvent)

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
		return only(Unasked)
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

// search finds the lowest free number of those from first on, step apart, and
// below limit.
// Numbers used for what is no slot come free without notice, so when nothing else
// is left they are looked at again, but only as often as that keeps the cost of a
// search constant; eager ignores the cost.
func (h *hint) search(first, step, limit int, eager bool, free func(int) (ok, foreign bool)) (int, bool) {
	h.next = max(h.next, first)
	scan := func() (int, bool) {
		for ; h.next < limit; h.next += step {
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
	h.rest = (limit - first) / step
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
	free := func(fd int) (ok, foreign bool) {
		if t.files.slots.get(fd) != nil {
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
			for i, r := range Chosen {
				if fd, ok := t.files.hints[i][c].search(r.First+int(c), classes, min(limit, r.Last+1), eager, free); ok {
					return fd, true
				}
			}
		}
		// On all others every call asks.
		for i, r := range unchosen {
			if fd, ok := t.files.plain[i].search(r.First, 1, min(limit, r.Last+1), eager, free); ok {
				return fd, true
			}
		}
	}
	return 0, false
}

// cameFree tells the hints that number fd has no slot any more.
func (f *files) cameFree(fd int) {
	if i := rangeOf(fd); i >= 0 {
		h := &f.hints[i][ClassOf(fd)]
		h.next = min(h.next, fd)
	}
	for i, r := range unchosen {
		if r.First <= fd && fd <= r.Last {
			f.plain[i].next = min(f.plain[i].next, fd)
		}
	}
}
