package fdtable

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/capsicum-go/capsicum/rights"
)

func TestLabels(t *testing.T) {
	ts := NewTables(0)
	if _, err := ts.Born(1, 2, 2); !errors.Is(err, ErrUnknownLabel) {
		t.Errorf("a label that was never given: %v", err)
	}
	if _, err := ts.Born(0, 1, 2); !errors.Is(err, ErrUnknownLabel) {
		t.Errorf("no label: %v", err)
	}
	parent := ts.Attach(1)
	first := ts.Fork(parent, false)
	for range maxUnborn {
		ts.Fork(parent, true)
	}
	if _, err := ts.Born(first, 2, 2); !errors.Is(err, ErrUnknownLabel) {
		t.Errorf("the oldest of too many: %v", err)
	}
	if _, err := ts.Born(first+1, 2, 2); err != nil {
		t.Errorf("the oldest that is known: %v", err)
	}
	if ts.unborn.Len() != maxUnborn-1 || len(ts.places) != maxUnborn-1 || len(ts.forks) != maxUnborn-1 {
		t.Errorf("%d, %d, %d forks are kept", ts.unborn.Len(), len(ts.places), len(ts.forks))
	}
}

// TestTwoChildrenOneLabel: one was forked while the other may not have had its label.
func TestTwoChildrenOneLabel(t *testing.T) {
	ts := NewTables(0)
	parent := ts.Attach(1)
	if err := ts.Join(parent, false); err != ErrSeen {
		t.Errorf("join nothing: %v", err)
	}
	parent.Put(512, Slot{Caps: caps(rights.Read)})
	label := ts.Fork(parent, false)
	parent.Drop(512)
	if err := ts.Join(parent, true); err != ErrUnlike {
		t.Errorf("join another kind: %v", err)
	}
	if err := ts.Join(parent, false); err != nil {
		t.Fatal(err)
	}
	parent.Put(513, Slot{Caps: caps(rights.Read)})
	for pid := 2; pid < 4; pid++ {
		child, err := ts.Born(label, pid, 2)
		if err != nil {
			t.Fatal(err)
		}
		for fd := 512; fd < 514; fd++ {
			if _, limited := child.Get(fd); !limited {
				t.Errorf("child %d: %d is not limited", pid, fd)
			}
		}
	}
	if _, err := ts.Born(label, 4, 2); !errors.Is(err, ErrUnknownLabel) {
		t.Errorf("a child that no fork is for: %v", err)
	}
	if err := ts.Join(parent, false); err != ErrSeen {
		t.Errorf("join what is over: %v", err)
	}
}

// TestOrphans: a child may be seen after its parent is gone.
func TestOrphans(t *testing.T) {
	ts := NewTables(0)
	parent := ts.Attach(1)
	parent.Put(5, Slot{Caps: caps(rights.Read)})
	seen, label := ts.Fork(parent, false), ts.Fork(parent, false)
	if _, err := ts.Born(seen, 3, 2); err != nil {
		t.Fatal(err)
	}
	parent.Enter(1)
	ts.Exit(1)()
	ts.Exit(1)()
	child, err := ts.Born(label, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, limited := child.Get(5); !limited || !child.Mode() {
		t.Error("the orphan has more than its parent")
	}
	if len(ts.forks) != 0 || ts.unborn.Len() != 0 || parent.files.journal != nil {
		t.Errorf("%d forks of the dead are kept", len(ts.forks))
	}
	if ts.Of(1) != nil {
		t.Error("the dead has a table")
	}
}

// TestNumberAgain: a process number comes to mean a new process.
func TestNumberAgain(t *testing.T) {
	ts := NewTables(0)
	old := ts.Attach(1)
	old.Enter(1)
	if t2 := ts.Attach(1); t2 == old || ts.Of(1) != t2 || t2.Mode() {
		t.Error("the old table remains")
	}
	parent := ts.Attach(7)
	for range 2 {
		if _, err := ts.Born(ts.Fork(parent, true), 8, 2); err != nil {
			t.Fatal(err)
		}
	}
	ts.Exit(8)()
	parent.Lock()
	defer parent.Unlock()
	if got := len(parent.files.sharers); got != 1 { // itself
		t.Errorf("%d share the table", got)
	}
}

// TestRaces is for the race detector: everything at once, and never a child that
// has more than it may.
func TestRaces(t *testing.T) {
	ts := NewTables(0)
	root := ts.Attach(1)
	root.Put(512, Slot{Caps: caps(rights.Read)})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				pid := 10 + g*1000 + i
				share := (g+i)%4 == 0
				label := ts.Fork(root, share)
				var twins sync.WaitGroup
				for range 2 {
					twins.Go(func() {
						if _, err := ts.Born(label, pid, 2); err != nil {
							t.Error(err)
						}
					})
				}
				root.Lock()
				root.Put(600+g, Slot{Caps: caps(rights.Read)})
				root.Drop(600 + g)
				root.Stack(100+g, caps(rights.Read))
				root.Unlock()
				twins.Wait()
				child := ts.Of(pid)
				child.Lock()
				if got, limited := child.Get(512); !limited || !got.Equal(caps(rights.Read)) {
					t.Errorf("process %d has %v", pid, got.Rights)
				}
				child.Unlock()
				ts.Exit(pid)()
			}
		})
	}
	wg.Wait()
	if ts.Len() != 1 || ts.unborn.Len() != 0 {
		t.Errorf("%d processes and %d forks are left", ts.Len(), ts.unborn.Len())
	}
}

const manySlots = 10000

// fill puts limited descriptors where Choose puts them.
func fill(tb testing.TB, table *Table, n int) {
	for i := range n {
		c := caps(rights.Pread, rights.Fstat)
		fd, ok := table.Choose(c, func(int) bool { return false }, 1<<20)
		if !ok {
			tb.Fatalf("no number for %d", i)
		}
		table.Put(fd, Slot{Caps: c, ID: ID{Dev: 1, Ino: uint64(i)}})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory holds the tables to 1 KB a limited descriptor, and to no more for
// children that change nothing.
func TestMemory(t *testing.T) {
	before := heap()
	ts := NewTables(0)
	parent := ts.Attach(1)
	fill(t, parent, manySlots)
	each := (heap() - before) / manySlots
	if each > 1024 {
		t.Errorf("%d bytes a limited descriptor", each)
	}
	before = heap()
	const children = 1000
	for i := range children {
		if _, err := ts.Born(ts.Fork(parent, false), 10+i, 2); err != nil {
			t.Fatal(err)
		}
	}
	perChild := (heap() - before) / children
	if perChild > 8192 {
		t.Errorf("%d bytes a child that changes nothing", perChild)
	}
	t.Logf("%d bytes a limited descriptor, %d a child of a process with %d", each, perChild, manySlots)
	runtime.KeepAlive(ts)
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{100, manySlots} {
		b.Run(fmt.Sprintf("of%d", n), func(b *testing.B) {
			for b.Loop() {
				fill(b, NewTables(0).Attach(1), n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/slot")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	table := NewTables(0).Attach(1)
	fill(b, table, manySlots)
	for b.Loop() {
		table.Lock()
		table.Get(517)
		table.Unlock()
	}
}

// BenchmarkFork is a fork of a process with many slots whose child changes one.
func BenchmarkFork(b *testing.B) {
	ts := NewTables(0)
	parent := ts.Attach(1)
	fill(b, parent, manySlots)
	for b.Loop() {
		child, err := ts.Born(ts.Fork(parent, false), 2, 2)
		if err != nil {
			b.Fatal(err)
		}
		child.Drop(517)
		parent.Put(517, Slot{Caps: caps(rights.Read)})
	}
}

// BenchmarkProcesses is a thousand processes that are forked before any is seen,
// with changes of the parent between.
func BenchmarkProcesses(b *testing.B) {
	const processes = 1000
	for b.Loop() {
		ts := NewTables(0)
		parent := ts.Attach(1)
		labels := make([]uint64, processes)
		for i := range labels {
			labels[i] = ts.Fork(parent, false)
			parent.Put(512+i%16, Slot{Caps: caps(rights.Read)})
		}
		for i, label := range labels {
			if _, err := ts.Born(label, 10+i, 2); err != nil {
				b.Fatal(err)
			}
		}
		for i := range labels {
			ts.Exit(10 + i)()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*processes), "ns/process")
}

// TestForkedBefore: a child that was forked before its parent entered capability mode
// has not the filter of it, whenever it is seen.
func TestForkedBefore(t *testing.T) {
	ts := NewTables(0)
	parent := ts.Attach(1)
	labels := []uint64{ts.Fork(parent, false), ts.Fork(parent, false), ts.Fork(parent, false)}
	parent.Enter(3)
	parent.Enter(9) // the filter of the mode may be among these
	for i, filters := range []int{3, 4, 9} {
		child, err := ts.Born(labels[i], 10+i, filters)
		if err != nil {
			t.Fatal(err)
		}
		if want := filters > 3; child.Mode() != want {
			t.Errorf("with %d filters: mode %v, want %v", filters, child.Mode(), want)
		}
	}
	grandchild, err := ts.Born(ts.Fork(ts.Of(12), false), 20, 4)
	if err != nil {
		t.Fatal(err)
	}
	if !grandchild.Mode() {
		t.Error("a child of one in capability mode is not in it")
	}
}

// TestEntersMeanwhile: a child that was forked before is not in capability mode either
// when it is seen in the moment in which its parent enters.
func TestEntersMeanwhile(t *testing.T) {
	for i := range 20000 {
		ts := NewTables(0)
		parent := ts.Attach(1)
		label := ts.Fork(parent, false)
		var done sync.WaitGroup
		done.Go(func() { parent.Enter(1) })
		child, err := ts.Born(label, 2, 1)
		if err != nil {
			t.Fatal(err)
		}
		if done.Wait(); child.Mode() {
			t.Fatalf("it is in the mode, at try %d", i)
		}
	}
}
