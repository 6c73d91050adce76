package rights

import (
	"math/bits"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is a set of rights as a plain map of single bits, the slow and obvious
// way to write it.
type model map[Right]bool

func modelOf(r ...Right) model {
	m := model{}
	for _, right := range r {
		marker := right & (word0 | word1)
		for bit := Right(1); bit < word0; bit <<= 1 {
			if right&bit != 0 {
				m[marker|bit] = true
			}
		}
	}
	return m
}

func (m model) set() Set {
	words := []uint64{uint64(word0), uint64(word1)}
	for r := range m {
		words[bits.TrailingZeros64(uint64(r)&markers)-57] |= uint64(r)
	}
	s, err := FromWords(words)
	if err != nil {
		panic(err)
	}
	return s
}

// anyRights draws rights of the table, so that composites meet their parts.
func anyRights(t *rapid.T, label string) []Right {
	values := make([]Right, 0, len(table))
	for _, r := range table {
		values = append(values, r.value)
	}
	return rapid.SliceOfN(rapid.SampledFrom(values), 0, 12).Draw(t, label)
}

// anySet draws a set of arbitrary known bits, which includes composites that
// lack parts, or all of everything but a few.
func anySet(t *rapid.T, label string) Set {
	s := Of(anyRights(t, label+" added")...)
	if rapid.Bool().Draw(t, label+" from all") {
		s = All()
	}
	for _, r := range anyRights(t, label+" removed") {
		s.Clear(r)
	}
	mask := Set{words: [2]uint64{
		rapid.Uint64().Draw(t, label+" mask 0"),
		rapid.Uint64().Draw(t, label+" mask 1"),
	}}
	if rapid.Bool().Draw(t, label+" bare") {
		s = All()
		s.Intersect(mask)
	}
	return s
}

func TestAlgebraAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyRights(t, "a"), anyRights(t, "b")
		ma, mb := modelOf(a...), modelOf(b...)
		union, minus, both := modelOf(append(slices.Clone(a), b...)...), modelOf(a...), model{}
		subset := true
		for r := range mb {
			delete(minus, r)
			if ma[r] {
				both[r] = true
			} else {
				subset = false
			}
		}
		sa, sb := Of(a...), Of(b...)
		from := func(op func(*Set) *Set) Set {
			s := sa
			if got := op(&s); got != &s {
				t.Fatalf("a method returned another set than its own")
			}
			return s
		}
		for _, test := range []struct {
			name string
			got  Set
			want model
		}{
			{"Of", sa, ma},
			{"Init", from(func(s *Set) *Set { return s.Init(b...) }), mb},
			{"Set", from(func(s *Set) *Set { return s.Set(b...) }), union},
			{"Clear", from(func(s *Set) *Set { return s.Clear(b...) }), minus},
			{"Merge", from(func(s *Set) *Set { return s.Merge(sb) }), union},
			{"Remove", from(func(s *Set) *Set { return s.Remove(sb) }), minus},
			{"Intersect", from(func(s *Set) *Set { return s.Intersect(sb) }), both},
			{"Union", sa.Union(sb), union},
			{"Minus", sa.Minus(sb), minus},
		} {
			if want := test.want.set(); test.got != want || !test.got.Equal(want) {
				t.Errorf("%s(%v, %v) = %v, want %v", test.name, a, b, test.got, want)
			}
		}
		if sa.Contains(sb) != subset || sa.IsSet(b...) != subset {
			t.Errorf("%v contains %v: Contains %v, IsSet %v, want %v", sa, sb, sa.Contains(sb), sa.IsSet(b...), subset)
		}
		if sa.IsEmpty() != (len(ma) == 0) || !sa.IsValid() {
			t.Errorf("%v: IsEmpty %v, IsValid %v", sa, sa.IsEmpty(), sa.IsValid())
		}
		words := sa.Words()
		if again, err := FromWords(words[:]); err != nil || again != sa {
			t.Errorf("FromWords(%#x) = %v, %v, want %v", words, again, err, sa)
		}
	})
}

func TestZeroSet(t *testing.T) {
	var zero Set
	if zero != Of() || !zero.IsEmpty() || !zero.IsValid() || !zero.IsSet() {
		t.Error("the zero set is not the empty set")
	}
	if zero.IsSet(Read) || zero.Contains(Of(Event)) || !Of(Read).Contains(zero) {
		t.Error("the zero set has a right")
	}
	if want := [2]uint64{0x0200000000000000, 0x0400000000000000}; zero.Words() != want {
		t.Errorf("Words = %#x, want CAP_NONE %#x", zero.Words(), want)
	}
	if len(zero.Rights()) != 0 || len(zero.Missing(zero)) != 0 {
		t.Error("the zero set lists rights")
	}
}

// What cap_rights_init(3) warns of: composites share their parts.
func TestClearTakesParts(t *testing.T) {
	s := Of(MmapRW, Pread)
	s.Clear(Seek)
	if s.IsSet(MmapR) || s.IsSet(Pread) || s.IsSet(SeekTell) || !s.IsSet(Read, Write, Mmap) {
		t.Errorf("after clearing seek: %v", s)
	}
}

func TestInvalidRightsPanic(t *testing.T) {
	invalid := map[string]Right{
		"zero":              0,
		"no marker":         1,
		"ORed across words": Read | Event,
		"word 2":            1<<59 | 1,
		"word 4":            1<<61 | 1,
		"version 1":         1<<62 | Read,
		"version 2":         1<<63 | Read,
		"all ones":          ^Right(0),
	}
	methods := map[string]func(Right){
		"Of":    func(r Right) { Of(Read, r) },
		"Init":  func(r Right) { new(Set).Init(r) },
		"Set":   func(r Right) { new(Set).Set(r) },
		"Clear": func(r Right) { new(Set).Clear(r) },
		"IsSet": func(r Right) { Set{}.IsSet(r) },
	}
	for what, r := range invalid {
		for name, call := range methods {
			func() {
				defer func() {
					if msg, _ := recover().(string); !strings.HasPrefix(msg, "rights: invalid right") {
						t.Errorf("%s of %s: panic %q", name, what, msg)
					}
				}()
				call(r)
			}()
		}
		if got := r.String(); !strings.HasPrefix(got, "0x") {
			t.Errorf("String of %s = %q, want a number", what, got)
		}
	}
}

// Rights lists exactly the set, in order, and no shorter list of names exists.
func TestRightsIsMinimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySet(t, "set")
		list := s.Rights()
		if Of(list...) != s {
			t.Fatalf("%v lists %v", s, list)
		}
		last := -1
		for _, r := range list {
			row := slices.IndexFunc(table, func(x row) bool { return x.value == r })
			if row < 0 {
				row = len(table) // a bare bit comes last
			}
			if row < last {
				t.Errorf("%v lists %v: out of order", s, list)
			}
			last = row
		}
		for i, r := range list {
			without := slices.Delete(slices.Clone(list), i, i+1)
			if Of(without...) == s {
				t.Errorf("%v lists %v: %v is superfluous", s, list, r)
			}
		}
	})
}

// The choice of composites is exact where they overlap most: every subset of
// the bits of reading, writing, seeking and mapping, with and without sockets.
func TestRightsIsMinimalExhaustive(t *testing.T) {
	low := []Right{Read, Write, SeekTell, Seek, Pread, Pwrite, Mmap, MmapR, MmapW, MmapX, MmapRW, MmapRX, MmapWX, MmapRWX}
	for _, sockets := range []Set{{}, Of(SockClient), Of(SockServer), Of(SockClient, SockServer)} {
		for bits := range uint64(64) {
			s := sockets.Union(Set{words: [2]uint64{bits}})
			got := s.named(s)
			want := shortestCover(low, s, union(got), sockets)
			if len(got) != want {
				t.Errorf("%v lists %v, but %d rights suffice", s, s.Rights(), want)
			}
		}
	}
}

// shortestCover tries every combination of rights within s that, with the
// socket rights, gives target, and returns the length of the shortest.
func shortestCover(rights []Right, s, target, sockets Set) int {
	rights = slices.DeleteFunc(slices.Clone(rights), func(r Right) bool { return !s.IsSet(r) })
	best := len(table)
	for chosen := range 1 << len(rights) {
		sum := sockets
		for i, r := range rights {
			if chosen>>i&1 != 0 {
				sum.Set(r)
			}
		}
		if sum == target {
			best = min(best, bits.OnesCount(uint(chosen)))
		}
	}
	return best + len(sockets.named(sockets))
}

func TestMissing(t *testing.T) {
	for _, test := range []struct{ have, need, want []Right }{
		{nil, []Right{Mkdirat}, []Right{Mkdirat}},
		{[]Right{Lookup}, []Right{Mkdirat}, []Right{Mkdirat}},
		{[]Right{Lookup}, []Right{Fstatat}, []Right{Fstat}},
		{[]Right{Read}, []Right{Pread}, []Right{Seek}},
		{[]Right{SeekTell}, []Right{Seek}, []Right{Seek}},
		{[]Right{Read}, []Right{Read}, nil},
		{[]Right{Mmap, Seek}, []Right{MmapRWX}, []Right{Read, Write, MmapX}},
		{nil, []Right{Read, Event}, []Right{Read, Event}},
	} {
		if got := Of(test.have...).Missing(Of(test.need...)); !slices.Equal(got, test.want) {
			t.Errorf("%v of %v misses %v, want %v", test.have, test.need, got, test.want)
		}
	}
}

func TestMissingCompletes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, need := anySet(t, "have"), anySet(t, "need")
		missing := have.Missing(need)
		if sum := have.Union(Of(missing...)); !sum.Contains(need) {
			t.Errorf("%v with %v lacks %v", have, missing, need.Minus(sum))
		}
		for _, r := range missing {
			if !need.IsSet(r) || have.IsSet(r) {
				t.Errorf("%v is not missing: have %v, need %v", r, have, need)
			}
		}
	})
}

func TestFromWordsRefuses(t *testing.T) {
	for name, words := range map[string][]uint64{
		"nothing":            nil,
		"one word":           {0x0200000000000000},
		"three words":        {0x0200000000000000, 0x0400000000000000, 0x0800000000000000},
		"no markers":         {0, 0},
		"swapped":            {0x0400000000000000, 0x0200000000000000},
		"version 1":          {0x4200000000000000, 0x0400000000000000},
		"version 3":          {0xC200000000000000, 0x0400000000000000},
		"version in word 1":  {0x0200000000000000, 0x4400000000000000},
		"two markers":        {0x0600000000000000, 0x0400000000000000},
		"second marker in 1": {0x0200000000000000, 0x0C00000000000000},
	} {
		if s, err := FromWords(words); err == nil || !s.IsEmpty() {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// A newer kernel's rights survive the way here and back, are seen as strange,
// and do not become text that could be read as something else.
func TestUnknownBits(t *testing.T) {
	words := []uint64{0x0200000000000001, 0x0400000001000000}
	s, err := FromWords(words)
	if err != nil || s.IsValid() || !s.IsSet(Read) || s.Words() != [2]uint64(words) {
		t.Fatalf("FromWords = %v, %v, valid %v", s, err, s.IsValid())
	}
	if got := s.String(); got != "read,0x400000001000000" {
		t.Errorf("String = %q", got)
	}
	if text, err := s.MarshalText(); err == nil {
		t.Errorf("MarshalText = %q", text)
	}
	if s, err := Parse(s.String()); err == nil {
		t.Errorf("Parse gave %v", s)
	}
}

func FuzzFromWords(f *testing.F) {
	f.Add(uint64(0x0200000000000000), uint64(0x0400000000000000))
	f.Add(uint64(0x02000FFFFFFFFFFF), uint64(0x0400000000FFFFFF))
	f.Add(uint64(0x43FFFFFFFFFFFFFF), uint64(0x05FFFFFFFFFFFFFF))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		s, err := FromWords([]uint64{a, b})
		if good := a>>57 == 1 && b>>57 == 2; good != (err == nil) {
			t.Fatalf("FromWords(%#x, %#x): %v", a, b, err)
		}
		if err == nil && s.Words() != [2]uint64{a, b} {
			t.Fatalf("FromWords(%#x, %#x) came back as %#x", a, b, s.Words())
		}
		if Of(s.Rights()...) != s {
			t.Fatalf("%#x lists %v", s.Words(), s.Rights())
		}
	})
}
