package rights

import (
	"slices"
	"strings"
	"sync"
)

// Need says what one argument of an operation must carry.
type Need struct {
	Arg    string // which argument: "fd", "dir", "olddir", "newdir", "socket", "in", "out", "target"
	Rights Set
	When   string // the condition, in words; "" means always
}

// operation is a row of the table in operations.go: calls with the same needs.
type operation struct {
	calls string // names separated by blanks
	needs []Need
}

// byCall is the table by name, made when it is first asked for: a start asks for
// none of it.
var byCall = sync.OnceValue(func() map[string][]Need {
	m := make(map[string][]Need)
	for _, op := range operations() {
		for call := range strings.FieldsSeq(op.calls) {
			m[call] = op.needs
		}
	}
	return m
})

// For returns what an operation, named after its system call, asks of the
// descriptors it is given; conditional needs add to the unconditional ones. The
// list is empty for a call that needs no right. The result is false for a call
// that the table does not have: that is no permission. Whether capability mode
// permits the call at all is another matter; so are the mask that narrows
// [Fcntl] and the list that narrows [Ioctl].
func For(op string) ([]Need, bool) {
	needs, ok := byCall()[op]
	return slices.Clone(needs), ok
}

// Ops returns the names that [For] knows, sorted.
func Ops() []string {
	names := make([]string, 0, len(byCall()))
	for name := range byCall() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
