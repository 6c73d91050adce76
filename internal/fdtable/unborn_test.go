package fdtable

import (
	"testing"

	"github.com/capsicum-go/capsicum/rights"
)

// TestUnborn: what is told of a child before it is born is what it has then, and
// telling changes nothing.
func TestUnborn(t *testing.T) {
	for _, share := range []bool{false, true} {
		ts := NewTables(0)
		parent := ts.Attach(1)
		if ts.Fork(parent, share); ts.Unborn(1, 1)[0].Free != -1 {
			t.Error("a child of who is not in capability mode may be")
		}
		parent.Put(5, Slot{Caps: caps(rights.Read, rights.Write)})
		first := ts.Fork(parent, share)
		parent.Put(5, Slot{Caps: caps(rights.Read)})
		parent.Put(70, Slot{Caps: caps(rights.Fstat)})
		second := ts.Fork(parent, share)
		parent.Enter(3)
		told := ts.Unborn(10, 10)
		if len(told) != 3 || told[0].Label != second || told[1].Label != first || len(ts.Unborn(1, 10)) != 1 || len(ts.Unborn(1, 1)[0].Slots) != 1 {
			t.Fatalf("share %v: %+v", share, told)
		}
		for i, u := range told[:2] {
			filters := 3 + i // the second was forked after the mode's filter
			child, err := ts.Born(u.Label, 10+i, filters)
			if err != nil {
				t.Fatal(err)
			}
			if (u.Free >= 0 && filters > u.Free) != child.Mode() || child.Mode() != (i > 0) || len(u.Slots) != child.Len() {
				t.Errorf("share %v: told %+v, born with %d", share, u, child.Len())
			}
			for _, s := range u.Slots {
				if got, ok := child.Get(s.FD); !ok || !got.Equal(s.Caps) {
					t.Errorf("share %v: %d is told %v, born with %v", share, s.FD, s.Caps.Rights, got.Rights)
				}
			}
		}
		if left := ts.Unborn(10, 10); len(left) != 1 {
			t.Errorf("share %v: born ones are told of: %+v", share, left)
		}
	}
}
