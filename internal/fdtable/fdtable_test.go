package fdtable

import (
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

func caps(r ...rights.Right) filecaps.Caps {
	c, err := filecaps.Full().LimitRights(rights.Of(r...))
	if err != nil {
		panic(err)
	}
	return c
}

// possible is the naive model of a number in a child to be: every slot that may be
// there, none of them if only unlimited files may.
type possible []Slot

// permits returns what no possibility forbids.
func (p possible) permits() filecaps.Caps {
	c := filecaps.Full()
	for _, s := range p {
		c = c.Intersect(s.Caps)
	}
	return c
}

type modelFork struct {
	label    uint64
	parent   *modelTable
	share    bool
	awaited  int
	possible map[int]possible
}

type modelTable struct {
	slots map[int]Slot
	mode  *bool
	forks *[]*modelFork // those that copy from here
}

func newModel() *modelTable {
	return &modelTable{slots: map[int]Slot{}, mode: new(bool), forks: new([]*modelFork)}
}

func (m *modelTable) put(fd int, s Slot) {
	if !s.Pending && s.Caps.IsFull() {
		delete(m.slots, fd)
		return
	}
	m.slots[fd] = s
	for _, fk := range *m.forks {
		fk.add(fd, s)
	}
}

func (fk *modelFork) add(fd int, s Slot) {
	if s.Pending {
		s.Caps = s.Before
	}
	if !s.Caps.IsFull() {
		fk.possible[fd] = append(fk.possible[fd], s)
	}
}

var drawCaps = rapid.Custom(func(t *rapid.T) filecaps.Caps {
	all := []rights.Right{rights.Read, rights.Write, rights.Seek, rights.Mmap, rights.Fstat, rights.Ioctl}
	chosen := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[rights.Right]).Draw(t, "rights")
	if len(chosen) == len(all) {
		return filecaps.Full()
	}
	return caps(chosen...)
})

var drawSlot = rapid.Custom(func(t *rapid.T) Slot {
	s := Slot{Caps: drawCaps.Draw(t, "caps"), ID: ID{Dev: 1, Ino: rapid.Uint64Range(1, 7).Draw(t, "ino")}}
	if s.Pending = rapid.Bool().Draw(t, "pending"); s.Pending {
		s.Before = drawCaps.Draw(t, "before")
	}
	return s
})

// drawFD draws from few numbers, around the edges of pages.
var drawFD = rapid.SampledFrom([]int{0, 3, 62, 63, 64, 65, 127, 128, 512, 4096, 70000})

// run drives Tables and the model side by side.
type run struct {
	ts     *Tables
	models map[int]*modelTable
	forks  []*modelFork       // once for each child to be
	newest map[int]*modelFork // of each process
	pids   int
}

func (r *run) pid(t *rapid.T) int {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(r.models))).Draw(t, "pid")
}

func (r *run) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			pid, fd, s := r.pid(t), drawFD.Draw(t, "fd"), drawSlot.Draw(t, "slot")
			table := r.ts.Of(pid)
			table.Lock()
			table.Put(fd, s)
			table.Unlock()
			r.models[pid].put(fd, s)
		},
		"drop": func(t *rapid.T) {
			pid, fd := r.pid(t), drawFD.Draw(t, "fd")
			table := r.ts.Of(pid)
			table.Lock()
			table.Drop(fd)
			table.Unlock()
			delete(r.models[pid].slots, fd)
		},
		"enter": func(t *rapid.T) {
			pid := r.pid(t)
			r.ts.Of(pid).Enter(1)
			*r.models[pid].mode = true
		},
		"fork":  r.fork,
		"join":  r.join,
		"born":  r.born,
		"again": r.again,
		"exit": func(t *rapid.T) {
			pid := r.pid(t)
			if len(r.models) > 1 {
				r.ts.Exit(pid)()
				delete(r.models, pid)
				delete(r.newest, pid)
			}
		},
		"": r.check,
	}
}

func (r *run) fork(t *rapid.T) {
	pid := r.pid(t)
	m := r.models[pid]
	fk := &modelFork{parent: m, share: rapid.Bool().Draw(t, "share"), awaited: 1, possible: map[int]possible{}}
	fk.label = r.ts.Fork(r.ts.Of(pid), fk.share)
	for fd, s := range m.slots {
		fk.add(fd, s)
	}
	*m.forks = append(*m.forks, fk)
	r.forks = append(r.forks, fk)
	r.newest[pid] = fk
}

// join forks with the label of the last fork, which may be of another table by now.
func (r *run) join(t *rapid.T) {
	pid := r.pid(t)
	table, fk, share := r.ts.Of(pid), r.newest[pid], rapid.Bool().Draw(t, "share")
	var want error
	switch {
	case fk == nil || fk.awaited == 0:
		want = ErrSeen
	case fk.share != share:
		want = ErrUnlike
	}
	if err := r.ts.Join(table, share); err != want {
		t.Fatalf("join: %v, want %v", err, want)
	}
	if want == nil {
		fk.awaited++
		r.forks = append(r.forks, fk)
	}
}

func (r *run) born(t *rapid.T) {
	if len(r.forks) == 0 {
		t.Skip("no fork")
	}
	i := rapid.IntRange(0, len(r.forks)-1).Draw(t, "fork")
	fk := r.forks[i]
	r.forks = slices.Delete(r.forks, i, i+1)
	r.pids++
	fk.awaited--
	table, err := r.ts.Born(fk.label, r.pids, 2)
	if err != nil {
		t.Fatal(err)
	}
	mode := *fk.parent.mode
	if fk.share {
		r.models[r.pids] = &modelTable{slots: fk.parent.slots, mode: &mode, forks: fk.parent.forks}
		return
	}
	if fk.awaited == 0 {
		*fk.parent.forks = slices.DeleteFunc(*fk.parent.forks, func(o *modelFork) bool { return o == fk })
	}
	m := newModel()
	m.mode = &mode
	for fd, p := range fk.possible {
		s, ok := table.Slot(fd)
		if !ok || !s.Caps.Equal(p.permits()) || s.Pending {
			t.Fatalf("child's %d: %+v %v, want %+v", fd, s, ok, p.permits())
		}
		for _, maybe := range p {
			if !s.Holds(maybe.ID) {
				t.Fatalf("child's %d: %+v does not hold %+v, so that would count as unlimited", fd, s, maybe.ID)
			}
		}
		m.slots[fd] = s
	}
	r.models[r.pids] = m
}

func (r *run) again(t *rapid.T) {
	pid := r.pid(t)
	table := r.ts.Of(pid)
	if table.label == 0 {
		t.Skip("nobody's child")
	}
	if same, err := r.ts.Born(table.label, pid, 2); err != nil || same != table {
		t.Fatalf("born again: %p %v, want %p", same, err, table)
	}
}

func (r *run) check(t *rapid.T) {
	if r.ts.Len() != len(r.models) {
		t.Fatalf("%d processes, want %d", r.ts.Len(), len(r.models))
	}
	for pid, m := range r.models {
		table := r.ts.Of(pid)
		if table.Mode() != *m.mode {
			t.Fatalf("process %d: mode %v, want %v", pid, table.Mode(), *m.mode)
		}
		if table.Len() != len(m.slots) {
			t.Fatalf("process %d: %d slots, want %d", pid, table.Len(), len(m.slots))
		}
		var order []int
		for fd, s := range table.Limited(0, math.MaxInt) {
			order = append(order, fd)
			want, ok := m.slots[fd]
			if !ok || !s.Caps.Equal(want.Caps) || s.ID != want.ID || s.Pending != want.Pending || !s.Before.Equal(want.Before) && s.Pending {
				t.Fatalf("process %d: %d is %+v, want %+v", pid, fd, s, want)
			}
		}
		if !slices.IsSorted(order) {
			t.Fatalf("process %d: order %v", pid, order)
		}
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &run{ts: NewTables(0), models: map[int]*modelTable{1: newModel()}, newest: map[int]*modelFork{}, pids: 1}
		r.ts.Attach(1)
		t.Repeat(r.actions())
	})
}

// TestJournal: forks that end in any order leave older ones with what they missed.
func TestJournal(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		ts := NewTables(0)
		parent := ts.Attach(1)
		var labels [3]uint64
		for i := range labels {
			labels[i] = ts.Fork(parent, false)
			parent.Put(10+i, Slot{Caps: caps(rights.Read)})
			parent.Put(20, Slot{Caps: caps([]rights.Right{rights.Read, rights.Write, rights.Fstat}[i:]...)})
			parent.Drop(10 + i)
		}
		for _, i := range order {
			child, err := ts.Born(labels[i], 100+i, 2)
			if err != nil {
				t.Fatal(err)
			}
			for n := range labels {
				if _, limited := child.Get(10 + n); limited != (n >= i) {
					t.Errorf("order %v: child %d: %d limited: %v", order, i, 10+n, limited)
				}
			}
			if got, _ := child.Get(20); !got.Equal(caps(rights.Fstat)) {
				t.Errorf("order %v: child %d: 20 permits %v", order, i, got.Rights)
			}
		}
		if parent.files.journal != nil {
			t.Errorf("order %v: the journal is not empty", order)
		}
	}
}

func TestPending(t *testing.T) {
	ts := NewTables(0)
	parent := ts.Attach(1)
	parent.Put(5, Slot{Caps: caps(rights.Read), Pending: true, Before: filecaps.Full()})
	parent.Put(6, Slot{Caps: caps(rights.Read), Pending: true, Before: caps(rights.Pread)})
	label := ts.Fork(parent, false)
	parent.Put(7, Slot{Caps: caps(rights.Read), Pending: true, Before: filecaps.Full()})
	child, err := ts.Born(label, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, limited := child.Get(5); limited {
		t.Error("a limit under way is the child's")
	}
	if got, _ := child.Get(6); !got.Equal(caps(rights.Pread)) {
		t.Errorf("child has %v, want what was before", got.Rights)
	}
	if _, limited := child.Get(7); limited {
		t.Error("a limit under way is the child's")
	}
	late := ts.Fork(parent, false)
	parent.Put(5, Slot{Caps: caps(rights.Read)})
	if child, err = ts.Born(late, 3, 2); err != nil {
		t.Fatal(err)
	}
	if got, _ := child.Get(5); !got.Equal(caps(rights.Read)) {
		t.Errorf("child has %v, want the limit that was made meanwhile", got.Rights)
	}
}

func TestHolds(t *testing.T) {
	a, b := ID{Ino: 1}, ID{Ino: 2}
	s := merge(Slot{ID: a}, Slot{ID: b})
	if s.ID != b || !s.Holds(a) || !s.Holds(b) || s.Holds(ID{Ino: 3}) {
		t.Errorf("%+v", s)
	}
	if !(Slot{}).Holds(a) || !s.Holds(ID{}) {
		t.Error("an unknown file is another one")
	}
	for i := range uint64(10) {
		s = merge(s, Slot{ID: ID{Ino: 100 + i}})
	}
	if !s.Holds(a) || !s.Holds(ID{Ino: 109}) || len(s.Also) > maxAlso {
		t.Errorf("%+v", s)
	}
	if s = merge(Slot{ID: a}, Slot{ID: a}); len(s.Also) != 0 {
		t.Errorf("the same file twice: %+v", s)
	}
}
