package plan

import (
	"path"
	"slices"
	"strings"

	"github.com/capsicum-go/capsicum/rights"
)

// Outer returns the union of the rights of all entries around the name dest.
//
// Landlock goes up from a file through mount points, so a rule for a tree also
// counts for another tree that is shown inside it: Landlock withholds nothing
// beneath an entry that Outer of its Dest includes. Mount attributes do.
func (p *Plan) Outer(dest string) rights.Set {
	var set rights.Set
	for dest != "/" {
		dest = path.Dir(dest)
		i, ok := slices.BinarySearchFunc(p.Entries, dest, func(e Entry, name string) int { return strings.Compare(e.Dest, name) })
		if ok {
			set = set.Union(p.Entries[i].Rights)
		}
	}
	return set
}
