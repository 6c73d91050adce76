package policy

import (
	"fmt"
	"strings"

	"github.com/capsicum-go/capsicum/rights"
)

// NamedSet is a word that stands for several rights on a tree.
type NamedSet struct {
	Name   string // the flag without its dashes: "ro"
	Doc    string
	Rights rights.Set
}

// What each set adds to the ones it is made of.
//
// Reading includes shared advisory locks, as on Linux, where flock(LOCK_SH)
// needs no more than an open file and a record lock follows the open mode.
// Exclusive locks on a tree that is only read would let the sandbox hold up
// its owner, so they need flock, which comes with rw.
//
// connectat is in none: a socket beneath a granted directory may belong to a
// service outside, and talking to it is more than reading or writing a tree.
// mknodat is in none: a device node is authority of another kind.
var (
	reading = rights.Of(rights.Lookup, rights.Read, rights.Seek, rights.Fstat, rights.Fstatfs,
		rights.Fpathconf, rights.MmapR, rights.Fcntl, rights.Event, rights.Ioctl,
		rights.ExtattrGet, rights.ExtattrList, rights.InotifyAdd, rights.InotifyRm)
	executing = rights.Of(rights.Fexecve, rights.MmapX)
	writing   = rights.Of(rights.Write, rights.MmapW, rights.Create, rights.Unlinkat, rights.Mkdirat,
		rights.Mkfifoat, rights.Symlinkat, rights.RenameatSource, rights.RenameatTarget,
		rights.LinkatSource, rights.LinkatTarget, rights.Ftruncate, rights.Fsync, rights.Flock,
		rights.Fchmod, rights.Fchown, rights.Futimes, rights.Fchflags,
		rights.ExtattrSet, rights.ExtattrDelete, rights.Bindat)
)

// The sets behind the flags of the same name.
var (
	RO  = reading
	ROX = reading.Union(executing)
	RW  = reading.Union(writing)
	RWX = reading.Union(writing).Union(executing)
)

// Sets returns the named sets in the order they are shown. The caller owns the
// slice.
func Sets() []NamedSet {
	return []NamedSet{
		{"ro", "look up, list, read and map; shared locks", RO},
		{"rox", "ro, and execute", ROX},
		{"rw", "ro, and write, create, remove, rename, truncate, change attributes, lock, and put sockets of its own there", RW},
		{"rwx", "rw, and execute", RWX},
	}
}

// parseRights reads a list of rights(4) names in which the named sets are words
// too: "ro,fchmod".
func parseRights(list string) (rights.Set, error) {
	elements := strings.Split(list, ",")
	for i, element := range elements {
		for _, named := range Sets() {
			if strings.TrimSpace(element) == named.Name {
				elements[i] = named.Rights.String()
			}
		}
	}
	set, err := rights.Parse(strings.Join(elements, ","))
	if err != nil {
		return rights.Set{}, err
	}
	if set.IsEmpty() {
		return rights.Set{}, fmt.Errorf("no right is named")
	}
	return set, nil
}

// Weaker is a loss that --allow-weaker accepts by name.
type Weaker struct {
	Name string
	Doc  string // what is lost
}

// weaker lists the losses that are not the loss of a single right.
var weaker = []Weaker{
	{"landlock", "no Landlock domain beneath the supervisor: one layer instead of two"},
	{"hostname", "a host name of the sandbox's own, where there is no namespace for it"},
	{"pty", "pseudo terminals of the sandbox's own, where they can not be mounted"},
}

// WeakerNames returns every name that --allow-weaker knows: the losses that
// have a name of their own, then the rights, each standing for "this right can
// not be withheld natively where a grant lacks it". The caller owns the slice.
func WeakerNames() []Weaker {
	names := append([]Weaker(nil), weaker...)
	for _, info := range rights.Table() {
		names = append(names, Weaker{info.Name, "a grant without the right " + info.Name + " does not withhold " + info.Doc})
	}
	return names
}

// ParseWeaker checks one value of --allow-weaker and returns its names.
func ParseWeaker(flag, value string) ([]string, error) {
	known := make(map[string]bool)
	for _, w := range WeakerNames() {
		known[w.Name] = true
	}
	names := strings.Split(value, ",")
	for _, name := range names {
		if !known[name] {
			return nil, fail(flag, value, "unknown loss %q", name)
		}
	}
	return names, nil
}
