package slot

import (
	"slices"

	"github.com/capsicum-go/capsicum/internal/filecaps"
)

// Need is what a call asks of one of the descriptors in its registers.
type Need struct {
	FD    int32
	needs []need
	args  [6]uint64
}

// Calls returns the names of the calls that take descriptors in registers and ask
// for rights on them.
func Calls() []string {
	out := make([]string, 0, len(table()))
	for _, r := range table() {
		out = append(out, r.name)
	}
	return out
}

// Needs returns what a call asks of its descriptors, one need for each register
// that is one: what [Descriptor] compiles into a filter, for somebody who decides
// call by call.
func Needs(name string, args [6]uint64) []Need {
	i := slices.IndexFunc(table(), func(r row) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	var out []Need
	for _, n := range table()[i].needs {
		if slices.ContainsFunc(n.tests, func(t test) bool { return !t.holds(args) }) {
			continue
		}
		same := func(o Need) bool { return o.needs[0].arg == n.arg }
		at := slices.IndexFunc(out, same)
		if at < 0 {
			at = len(out)
			out = append(out, Need{FD: int32(uint32(args[n.arg])), args: args})
		}
		out[at].needs = append(out[at].needs, n)
	}
	return out
}

// Met reports whether a descriptor with c may be used as the call does. Of the
// options only those that speak of the open file and of mprotect count.
func (n Need) Met(c filecaps.Caps, o Options) bool {
	for _, each := range n.needs {
		further := each.lacks(c, o)
		if further != nil && !slices.ContainsFunc(further, func(t test) bool { return !t.holds(n.args) }) {
			return false
		}
	}
	return true
}
