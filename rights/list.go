package rights

import (
	"math/bits"
	"slices"
	"sync"
)

// tableSets returns the set of each row of the table, made when they are first
// asked for. The functions below speak of rights by their row, so that ascending
// is the order of the table.
var tableSets = sync.OnceValue(func() []Set {
	sets := make([]Set, 0, len(table))
	for _, r := range table {
		sets = append(sets, r.value.set())
	}
	return sets
})

// Rights returns the shortest list of rights whose union is s, composites
// standing for their parts, in the order of [Table]. Bits that no right within
// s accounts for follow, one value each: [Mkdirat] without [Lookup] is such a
// bit. Of(s.Rights()...) is always s.
func (s Set) Rights() []Right {
	named := s.named(s)
	return values(named, s.Minus(union(named)))
}

// Missing returns the rights that s would need so as to contain need, as one
// names them to a person: s.Missing(Of(Mkdirat)) is [Mkdirat] even when s has
// [Lookup], where Minus leaves a bit that has no name. Each lies within need,
// and none could be replaced by a smaller one. It is empty when s contains need.
func (s Set) Missing(need Set) []Right { return values(need.Minus(s).cover(need)) }

// values returns the rights of some rows, then bits one by one.
func values(rows []int, bare Set) []Right {
	var list []Right
	for _, i := range rows {
		list = append(list, table[i].value)
	}
	for bit := range bare.each {
		list = append(list, bit.right())
	}
	return list
}

// right returns a set of one bit as the value of that bit.
func (s Set) right() Right {
	if s.words[0] != 0 {
		return word0 | Right(s.words[0])
	}
	return word1 | Right(s.words[1])
}

// each yields the bits of s one by one.
func (s Set) each(yield func(Set) bool) {
	for i := range s.words {
		for w := s.words[i]; w != 0; w &= w - 1 {
			var bit Set
			bit.words[i] = w & -w
			if !yield(bit) {
				return
			}
		}
	}
}

func (s Set) size() int { return bits.OnesCount64(s.words[0]) + bits.OnesCount64(s.words[1]) }

func union(rows []int) Set {
	sets := tableSets()
	var s Set
	for _, i := range rows {
		s.Merge(sets[i])
	}
	return s
}

// named returns the fewest rights that lie within s and cover all of part, a
// subset of s, that such rights can cover.
func (s Set) named(part Set) []int {
	sets := tableSets()
	within := s.maximal()
	var once, twice Set // what one of them covers, and what several do
	for _, i := range within {
		again := once
		twice.Merge(*again.Intersect(sets[i]))
		once.Merge(sets[i])
	}
	only := part.Minus(twice)
	var rows []int
	for _, i := range within {
		if only.overlaps(sets[i]) {
			rows = append(rows, i)
		}
	}
	// What is left is shared by several rights none of which is indispensable:
	// seek, in pread and pwrite, once sock_client covers read and write.
	left := part.Minus(union(rows))
	for _, i := range within {
		if left.overlaps(sets[i]) {
			rows = append(rows, i)
			left = left.Minus(sets[i])
		}
	}
	slices.Sort(rows)
	return rows
}

func (s Set) overlaps(other Set) bool {
	return s.words[0]&other.words[0] != 0 || s.words[1]&other.words[1] != 0
}

// maximal returns the rights within s that no other right within s includes.
func (s Set) maximal() []int {
	sets := tableSets()
	rows := make([]int, 0, len(sets))
	for i := range sets {
		if s.Contains(sets[i]) {
			rows = append(rows, i)
		}
	}
	within := slices.Clone(rows)
	return slices.DeleteFunc(rows, func(i int) bool {
		for _, o := range within {
			if o != i && sets[o].Contains(sets[i]) && (o < i || sets[o] != sets[i]) {
				return true
			}
		}
		return false
	})
}

// cover returns, for each bit of s, the smallest right that has it and lies
// within a set, but for those that others of them include; and the bits for
// which there is none.
func (s Set) cover(within Set) (rows []int, bare Set) {
	sets := tableSets()
	for bit := range s.each {
		i, ok := smallest(bit, within)
		if !ok {
			bare.Merge(bit)
			continue
		}
		if slices.ContainsFunc(rows, func(o int) bool { return sets[o].Contains(sets[i]) }) {
			continue
		}
		rows = slices.DeleteFunc(rows, func(o int) bool { return sets[i].Contains(sets[o]) })
		rows = append(rows, i)
	}
	slices.Sort(rows)
	return rows, bare
}

// smallest returns the right with the fewest bits that has bit and lies within
// a set.
func smallest(bit, within Set) (row int, ok bool) {
	sets := tableSets()
	for i, r := range sets {
		if r.Contains(bit) && within.Contains(r) && (!ok || r.size() < sets[row].size()) {
			row, ok = i, true
		}
	}
	return row, ok
}
