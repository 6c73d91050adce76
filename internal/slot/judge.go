package slot

import (
	"slices"

	"github.com/capsicum-go/capsicum/internal/filecaps"
)

// Calls returns the names of the calls that take descriptors in registers.
func Calls() []string {
	var out []string
	for _, r := range table() {
		out = append(out, r.name)
	}
	return out
}

// rowOf returns the row of a call; one without needs for what has no row.
func rowOf(call string) row {
	if i := slices.IndexFunc(table(), func(r row) bool { return r.name == call }); i >= 0 {
		return table()[i]
	}
	return row{name: call}
}

// Registers returns the descriptors in a call's registers that something is asked
// of.
func Registers(call string, args [6]uint64) []int32 {
	var out []int32
	for _, n := range rowOf(call).needs {
		fd := int32(uint32(args[n.arg]))
		holds := !slices.ContainsFunc(n.tests, func(t test) bool { return !t.holds(args) })
		if holds && fd >= 0 && !slices.Contains(out, fd) {
			out = append(out, fd)
		}
	}
	return out
}

// Refused reports whether a filter for fd with c refuses a call.
func Refused(call string, args [6]uint64, fd int32, c filecaps.Caps, o Options) bool {
	return decide(rowOf(call).clauses(int(fd), c, o), args) != 0
}
