package rights

import "fmt"

// Set is a set of rights, the cap_rights_t of cap_rights_init(3). It is a
// value: assignment copies it, and == compares it. The zero Set is the empty
// set.
type Set struct {
	// words holds bits 0 to 56 only. The markers are added by Words, so that
	// the zero value needs no normalising and == is equality of sets.
	words [2]uint64
}

// Of returns the set of the given rights. It panics on an invalid one.
func Of(r ...Right) Set {
	var s Set
	s.Set(r...)
	return s
}

// Init makes s the set of the given rights, whatever it was before, and returns
// s. It panics on an invalid right.
func (s *Set) Init(r ...Right) *Set {
	*s = Of(r...)
	return s
}

// Set adds rights to s and returns s. It panics on an invalid right.
func (s *Set) Set(r ...Right) *Set {
	for _, right := range r {
		s.Merge(right.set())
	}
	return s
}

// Clear removes rights from s and returns s. A composite takes all its parts
// with it: clearing [Pread] clears [Read] and [Seek]. It panics on an invalid
// right.
func (s *Set) Clear(r ...Right) *Set {
	for _, right := range r {
		s.Remove(right.set())
	}
	return s
}

// Merge adds the rights of other to s and returns s.
func (s *Set) Merge(other Set) *Set {
	*s = s.Union(other)
	return s
}

// Remove takes the rights of other out of s and returns s.
func (s *Set) Remove(other Set) *Set {
	*s = s.Minus(other)
	return s
}

// Intersect keeps in s only the rights that other has also, and returns s.
func (s *Set) Intersect(other Set) *Set {
	for i := range s.words {
		s.words[i] &= other.words[i]
	}
	return s
}

// Union returns the rights that are in s or in other.
func (s Set) Union(other Set) Set {
	for i := range s.words {
		s.words[i] |= other.words[i]
	}
	return s
}

// Minus returns the rights that are in s and not in other. When other lacks
// some parts of a composite, those parts are left; see [Set.Missing] for the
// list to show to a person.
func (s Set) Minus(other Set) Set {
	for i := range s.words {
		s.words[i] &^= other.words[i]
	}
	return s
}

// Contains reports whether every right of little is in s.
func (s Set) Contains(little Set) bool {
	return little.words[0]&^s.words[0] == 0 && little.words[1]&^s.words[1] == 0
}

// Equal reports whether s and other are the same set. It is == with a name,
// for packages that compare by method.
func (s Set) Equal(other Set) bool { return s == other }

// IsSet reports whether every given right is in s, all parts of composites
// included. It is true of an empty list, and panics on an invalid right.
func (s Set) IsSet(r ...Right) bool {
	missing := uint64(0)
	for _, right := range r {
		word, bits, err := right.split()
		if err != nil {
			right.set() // panics
		}
		missing |= bits &^ s.words[word]
	}
	return missing == 0
}

// IsEmpty reports whether s has no right at all.
func (s Set) IsEmpty() bool { return s == Set{} }

// IsValid reports whether s has only rights of the newest vocabulary, [All]. A
// set from [FromWords] may have others.
func (s Set) IsValid() bool { return known.Contains(s) }

// Words returns the set as FreeBSD's cap_rights_t of version 0.
func (s Set) Words() [2]uint64 {
	return [2]uint64{s.words[0] | uint64(word0), s.words[1] | uint64(word1)}
}

// FromWords returns the set that a FreeBSD cap_rights_t of version 0 stands
// for. It refuses another version, another number of words, and words without
// their marker. Rights that this package has no name for are kept, so that what
// a newer kernel reports can be given back to it; [Set.IsValid] tells.
func FromWords(words []uint64) (Set, error) {
	var s Set
	if len(words) != len(s.words) {
		return Set{}, fmt.Errorf("read rights: %d words, want %d", len(words), len(s.words))
	}
	if version := words[0] >> 62; version != 0 {
		return Set{}, fmt.Errorf("read rights: version %d, want 0", version)
	}
	for i, marker := range [...]uint64{uint64(word0), uint64(word1)} {
		if words[i]&markers != marker {
			return Set{}, fmt.Errorf("read rights: word %d is %#x, want its marker %#x and no other", i, words[i], marker)
		}
		s.words[i] = words[i] & payload
	}
	return s, nil
}
