package fdtable

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

// TestClass compares what a class lets pass with what the calls need.
func TestClass(t *testing.T) {
	call := func(op string) rights.Set {
		needs, ok := rights.For(op)
		if !ok || len(needs) != 1 {
			t.Fatalf("%s needs %v", op, needs)
		}
		return needs[0].Rights
	}
	for c := range Class(classes) {
		r, w, seek, m := c&ClassRead != 0, c&ClassWrite != 0, c&ClassSeek != 0, c&ClassMap != 0
		for _, passing := range []struct {
			on    bool
			needs rights.Set
		}{
			{r, call("read")},
			{w, call("write")},
			{seek, call("lseek")},
			{r && seek, call("pread")},
			{w && seek, call("pwrite")},
			{m, rights.ForMmap(false, false, false, false)},
			{m && r, rights.ForMmap(true, false, false, false)},
			{m && w, rights.ForMmap(false, true, false, true)},
			{m && r && w, rights.ForMmap(true, true, false, true)},
		} {
			if passing.on && !c.Rights().Contains(passing.needs) {
				t.Errorf("class %04b has %v, but lets pass what needs %v", c, c.Rights(), passing.needs)
			}
		}
		exec := rights.ForMmap(false, false, true, false)
		if c.Rights().Contains(exec) || c.Rights().IsSet(rights.Fstat) {
			t.Errorf("class %04b has %v", c, c.Rights())
		}
		if !c.Within(filecaps.Caps{Rights: c.Rights()}) || c != 0 && c.Within(filecaps.Caps{}) {
			t.Errorf("class %04b is within the wrong caps", c)
		}
	}
}

func TestPasses(t *testing.T) {
	table := NewTables(0).Attach(1)
	for fd, want := range map[int]rights.Set{
		0: rights.Of(rights.Read), 1: rights.Of(rights.Write), 2: rights.Of(rights.Write), -1: {},
		3: Unasked, 255: Unasked, 256: {}, 513: rights.Of(rights.Read), 514: rights.Of(rights.Write), 516: rights.Of(rights.Seek),
	} {
		if got := table.Passes(fd); got.Rights != want {
			t.Errorf("%d: %v, want %v", fd, got.Rights, want)
		}
	}
	table.Stack(5, caps(rights.Pread))
	table.Stack(5, caps(rights.Read, rights.Fstat))
	if got := table.Passes(5); got.Rights != rights.Of(rights.Read) {
		t.Errorf("stacked twice: %v", got.Rights)
	}
	for _, c := range []struct {
		fd          int
		caps        filecaps.Caps
		fits, exact bool
	}{
		{5, caps(rights.Read), true, false},
		{5, caps(rights.Read, rights.Write), true, false},
		{5, caps(rights.Fstat), false, false},
		{4, caps(rights.Read), false, false},
		{4, filecaps.Full(), true, true},
		{4, caps(Unasked.Rights()...), true, true},
		{5, caps(rights.Read, rights.Fchmod), true, false},
		{513, caps(rights.Read), true, true},
		{513, caps(rights.Write), false, false},
		{512, caps(), true, true},
	} {
		if fits, exact := table.Fits(c.fd, c.caps), table.Exact(c.fd, c.caps); fits != c.fits || exact != c.exact {
			t.Errorf("%v on %d: fits %v, exact %v", c.caps.Rights, c.fd, fits, exact)
		}
	}
}

// TestSharedFilters: a filter of one process says nothing about another that uses
// the same table, and one stacked after a fork nothing about the child.
func TestSharedFilters(t *testing.T) {
	ts := NewTables(0)
	parent := ts.Attach(1)
	parent.Stack(5, caps(rights.Read))
	label := ts.Fork(parent, true)
	parent.Stack(6, caps(rights.Read))
	if !parent.Shared() || parent.Fits(6, caps(rights.Read)) || !parent.Fits(5, caps(rights.Read)) {
		t.Error("the child to be does not count")
	}
	child, err := ts.Born(label, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if child.Passes(5).Rights == Unasked || child.Passes(6).Rights != Unasked {
		t.Error("the child has other filters than the parent had at the fork")
	}
	child.Stack(6, caps(rights.Read))
	copied := ts.Fork(child, false)
	child.Stack(7, caps(rights.Read))
	third, err := ts.Born(copied, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if !third.Fits(6, caps(rights.Read)) || third.Fits(7, caps(rights.Read)) || third.Shared() {
		t.Error("the copying child has other filters than its parent had at the fork")
	}
	parent.Put(600, Slot{Caps: caps(rights.Read)})
	if _, limited := child.Get(600); !limited {
		t.Error("the table is not shared")
	}
}

func TestChoose(t *testing.T) {
	never := func(int) bool { return false }
	for _, c := range []struct {
		caps  filecaps.Caps
		limit int
		want  int // 0: none
	}{
		{caps(rights.Read), 1024, 513},
		{caps(rights.Write), 1024, 514},
		{caps(rights.Pread), 1024, 512 + 5},
		{caps(rights.MmapR), 1024, 512 + 13},
		{caps(rights.MmapRW), 1024, 512 + 15},
		{caps(rights.Read, rights.Mmap), 1024, 513},
		{caps(rights.MmapX), 1024, 512 + 12},
		{filecaps.Full(), 1024, 512 + 15},
		{caps(), 1024, 512},
		{caps(rights.Read), 512, 256},
		{caps(rights.Read), 513, 512},
		{caps(rights.Read), 257, 256},
		{caps(rights.Read), 256, 0},
		{caps(rights.Read), 0, 0},
		{caps(rights.Read), -1, 0},
	} {
		got, ok := NewTables(0).Attach(1).Choose(c.caps, never, c.limit)
		if got != c.want || ok != (c.want != 0) {
			t.Errorf("%v below %d: %d %v, want %d", c.caps.Rights, c.limit, got, ok, c.want)
		}
	}
}

func TestChooseSkipsStacked(t *testing.T) {
	table := NewTables(0).Attach(1)
	table.Stack(513, caps(rights.Fstat))
	never := func(int) bool { return false }
	if fd, _ := table.Choose(caps(rights.Read, rights.Fstat), never, 1024); fd != 529 {
		t.Errorf("%d: a filter refuses reading there", fd)
	}
	table.Stack(512, caps(rights.Read))
	if fd, _ := table.Choose(caps(rights.Fstat), never, 1024); fd != 512 {
		t.Errorf("%d: what a filter leaves alone there is asked about", fd)
	}
}

// TestChooseModel fills tables, with numbers that others take and give back: every
// choice is safe and free, the best class comes first while nobody else takes
// numbers, and while any number fits there is a choice.
func TestChooseModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTables(0).Attach(1)
		limit := rapid.SampledFrom([]int{300, 512, 520, 600, 800}).Draw(t, "limit")
		base := FirstAsking
		foreign := map[int]bool{}
		quiet := true
		draw := rapid.IntRange(base, limit-1)
		t.Repeat(map[string]func(*rapid.T){
			"choose": func(t *rapid.T) {
				c := drawCaps.Draw(t, "caps")
				for range rapid.IntRange(1, 40).Draw(t, "times") {
					fd, ok := table.Choose(c, func(fd int) bool { return foreign[fd] }, limit)
					var inOrder []int
					for _, class := range bySize {
						for n := Chosen[0].First + int(class); n < limit && class.Within(c); n += classes {
							inOrder = append(inOrder, n)
						}
					}
					for n := base; n < min(limit, Chosen[0].First); n++ {
						inOrder = append(inOrder, n)
					}
					lowest, possible := 0, false
					if i := slices.IndexFunc(inOrder, func(n int) bool { _, used := table.Get(n); return !used && !foreign[n] }); i >= 0 {
						lowest, possible = inOrder[i], true
					}
					switch _, used := table.Get(fd); {
					case ok != possible:
						t.Fatalf("choice %v, possible %v", ok, possible)
					case !ok:
						return
					case fd < base || fd >= limit || used || foreign[fd] || !table.Exact(fd, c):
						t.Fatalf("chose %d for %v", fd, c.Rights)
					case quiet && fd != lowest:
						t.Fatalf("chose %d, want %d", fd, lowest)
					}
					table.Put(fd, Slot{Caps: caps()}) // limited further, so that it counts
				}
			},
			"drop":      func(t *rapid.T) { table.Drop(draw.Draw(t, "fd")) },
			"take":      func(t *rapid.T) { foreign[draw.Draw(t, "fd")], quiet = true, false },
			"give back": func(t *rapid.T) { delete(foreign, draw.Draw(t, "fd")) },
		})
	})
}

// TestChooseLinear counts what 10,000 placements look at.
func TestChooseLinear(t *testing.T) {
	for _, limit := range []int{11000, 200000} {
		table := NewTables(0).Attach(1)
		asked := 0
		taken := func(fd int) bool { asked++; return fd%3 == 0 }
		for i := range 6000 {
			fd, ok := table.Choose(filecaps.Full(), taken, limit)
			if !ok {
				t.Fatalf("limit %d: placement %d: none", limit, i)
			}
			table.Put(fd, Slot{Caps: caps()})
		}
		if asked > 6000*8 {
			t.Errorf("limit %d: asked about %d numbers", limit, asked)
		}
	}
}
