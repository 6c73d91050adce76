package rights

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	if r, ok := byName()[canonical(name)]; ok {
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

// byName has the canonical names and the aliases. It is made when a name is
// first read: many a process that holds rights reads none.
var byName = sync.OnceValue(func() map[string]Right {
	m := make(map[string]Right, len(table)+3)
	for _, r := range table {
		m[r.name] = r.value
		if r.alias != "" {
			m[r.alias] = r.value
		}
	}
	return m
})

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
		return errors.New("empty name in list")
	}
	named, err := parseName(name)
	if err != nil {
		return err
	}
	if minus {
		s.Remove(named)
	} else {
		s.Merge(named)
	}
	return nil
}

// parseName returns the set that a name stands for.
func parseName(name string) (Set, error) {
	switch canonical(name) {
	case allName:
		return All(), nil
	case noneName:
		return Set{}, nil
	}
	r, err := ParseRight(name)
	if err != nil {
		return Set{}, err
	}
	return r.set(), nil
}

// String returns the shortest comma list that [Parse] reads back as s: names in
// the order of [Table], or, if s has most rights, "all" and what is taken from
// it, or "none". A right whose parts are not all in s is written with the missing
// ones taken away: "mkdirat,-lookup". Bits that have no name, which
// [Set.IsValid] refuses, print as numbers and do not parse.
//
// "all" grows with this package; what has to mean the same to a later version
// is better kept as [Set.Words].
func (s Set) String() string {
	if s.IsEmpty() {
		return noneName
	}
	unknown := s.Minus(known)
	s.Remove(unknown)
	text := s.spell(nil)
	if 2*s.size() > known.size() {
		whole := s.spell([]term{{name: allName, set: known}})
		if whole != "" && len(whole) < len(text) {
			text = whole
		}
	}
	for bit := range unknown.each {
		text += fmt.Sprintf(",%#x", uint64(bit.right()))
	}
	return strings.TrimPrefix(text, ",")
}

// term is an element of a list: a set to add or to take away.
type term struct {
	minus bool
	name  string
	set   Set
}

func terms(rows []int, minus bool) []term {
	sets := tableSets()
	var list []term
	for _, i := range rows {
		list = append(list, term{minus, table[i].name, sets[i]})
	}
	return list
}

// evaluate returns the set that a list makes.
func evaluate(list []term) Set { return follow(Set{}, list) }

// follow returns what the rest of a list makes of the set before it.
func follow(s Set, list []term) Set {
	for i := range list {
		if t := &list[i]; t.minus {
			s = s.Minus(t.set)
		} else {
			s = s.Union(t.set)
		}
	}
	return s
}

// spell returns a list that begins with the given terms and makes s, or nothing
// if that can not be. After the beginning come the rights of bits that no right
// within s has, then what s lacks of all these taken away, then the rest of s:
// in this order, because taking seek away may take away seek_tell, which s may
// have.
func (s Set) spell(begin []term) string {
	list := begin
	have := evaluate(list)
	odd, _ := s.Minus(union(s.named(s)).Union(have)).cover(known)
	list = append(list, terms(odd, false)...)

	excess := evaluate(list).Minus(s)
	minus := excess.named(excess)
	list = append(list, terms(minus, true)...)
	rest, _ := excess.Minus(union(minus)).cover(known)
	list = append(list, terms(rest, true)...)

	lack := s.Minus(evaluate(list))
	plus := terms(s.named(lack), false)
	if begin != nil {
		if small, _ := lack.cover(s); len(small) <= len(plus) {
			plus = terms(small, false)
		}
	}
	return join(prune(append(list, plus...), s))
}

// prune takes out terms that are not needed to make s, or all of them if they
// do not make it.
func prune(list []term, s Set) []term {
	if evaluate(list) != s {
		return nil
	}
	for i, before := 0, (Set{}); i < len(list); {
		if follow(before, list[i+1:]) == s {
			list, i, before = slices.Delete(list, i, i+1), 0, Set{}
			continue
		}
		before = follow(before, list[i:i+1])
		i++
	}
	return list
}

func join(list []term) string {
	names := make([]string, 0, len(list))
	for _, t := range list {
		if t.minus {
			t.name = "-" + t.name
		}
		names = append(names, t.name)
	}
	return strings.Join(names, ",")
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
