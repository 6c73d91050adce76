package rights

import (
	"fmt"
	"strings"
)

// Words that [Parse] reads and [Set.String] prints for whole sets.
const (
	allName  = "all"
	noneName = "none"
)

// NameError is the error of a name that no right has.
type NameError struct {
	Name    string // as it was written
	Nearest string // the right whose name is most like it
}

// Error names the unknown right, shortened if it is long, and suggests one.
func (e *NameError) Error() string {
	return fmt.Sprintf("unknown right %q (did you mean %q?)", clip(e.Name), e.Nearest)
}

// clip keeps hostile input from filling a terminal.
func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	return s[:maxName] + "..."
}

// ParseRight returns the right with the given name: the word of rights(4) in
// lower case without its prefix ("mmap_r"), or in full ("CAP_MMAP_R"). Aliases
// are names too ("recv"). The error is a [*NameError].
func ParseRight(name string) (Right, error) {
	if r, ok := byName[canonical(name)]; ok {
		return r, nil
	}
	return 0, &NameError{Name: name, Nearest: nearest(name)}
}

// canonical turns the full upper-case spelling into the short one and leaves
// everything else as it is.
func canonical(name string) string {
	if short, ok := strings.CutPrefix(name, "CAP_"); ok && strings.ToUpper(short) == short {
		return strings.ToLower(short)
	}
	return name
}

// byName has the canonical names and the aliases.
var byName = func() map[string]Right {
	m := make(map[string]Right, len(table)+3)
	for _, r := range table {
		m[r.name] = r.value
		if r.alias != "" {
			m[r.alias] = r.value
		}
	}
	return m
}()

// Parse reads a comma list of names as [ParseRight] knows them. "all" stands
// for [All] and "none" for nothing; a name after a minus sign takes that right
// away from what came before it, with all its parts, as [Set.Clear] does:
// "all,-ioctl". An empty string is the empty set; an empty element is an error.
// Blanks around elements are skipped.
func Parse(list string) (Set, error) {
	var s Set
	if strings.TrimSpace(list) == "" {
		return s, nil
	}
	for element := range strings.SplitSeq(list, ",") {
		if err := s.apply(strings.TrimSpace(element)); err != nil {
			return Set{}, fmt.Errorf("parse rights: %w", err)
		}
	}
	return s, nil
}

// apply adds or takes away what one element of a list says.
func (s *Set) apply(element string) error {
	name, minus := strings.CutPrefix(element, "-")
	if name == "" {
		return fmt.Errorf("empty name in list")
	}
	if !minus && canonical(name) == allName {
		s.Merge(All())
		return nil
	}
	if !minus && canonical(name) == noneName {
		return nil
	}
	r, err := ParseRight(name)
	if err != nil {
		return err
	}
	if minus {
		s.Clear(r)
	} else {
		s.Set(r)
	}
	return nil
}

// String returns the shortest comma list that [Parse] reads back as s, in the
// order of [Table]; "all" for [All] and "none" for the empty set. A right whose
// parts are not all in s is written with the missing ones taken away:
// "mkdirat,-lookup". Bits that have no name, which [Set.IsValid] refuses, print
// as numbers and do not parse.
func (s Set) String() string {
	switch s {
	case Set{}:
		return noneName
	case known:
		return allName
	}
	list := s.named()
	rest := s.Minus(Of(list...))
	unknown := rest.Minus(known)
	elements := rest.Minus(unknown).partial()
	for _, r := range list {
		elements = append(elements, table[position(r)].name)
	}
	for _, bit := range unknown.each() {
		elements = append(elements, fmt.Sprintf("%#x", uint64(bit)))
	}
	return strings.Join(elements, ",")
}

// partial returns the elements for known bits that no right within the set has:
// the rights that have them, then their excess parts taken away. They come first
// in a list, since what follows may give one of the parts back.
func (s Set) partial() []string {
	var elements []string
	var excess Set
	for _, r := range s.cover(known) {
		elements = append(elements, table[position(r)].name)
		excess.Set(r)
	}
	for _, r := range excess.Minus(s).cover(known) {
		elements = append(elements, "-"+table[position(r)].name)
	}
	return elements
}

// MarshalText returns [Set.String], and an error for a set that would not parse
// back.
func (s Set) MarshalText() ([]byte, error) {
	if !s.IsValid() {
		return nil, fmt.Errorf("write rights: %s has rights without a name", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what [Parse] reads.
func (s *Set) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
