package capmode

import (
	"testing"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// TestLeft: where inode numbers do not last, another number is no other file, unless
// nothing but the dead descriptor can have been there.
func TestLeft(t *testing.T) {
	dead, file, changed := fdtable.ID{Ino: 1}, fdtable.ID{Ino: 2}, fdtable.ID{Ino: 3}
	w := &Warden{deadID: dead}
	for _, c := range []struct {
		s    fdtable.Slot
		want bool
	}{
		{fdtable.Slot{ID: dead}, true},
		{fdtable.Slot{ID: dead, Also: []fdtable.ID{file}}, false},
		{fdtable.Slot{ID: file}, false},
		{fdtable.Slot{ID: changed}, false},
	} {
		if got := w.left(c.s, changed, sys.NewFD(-1)); got != c.want { // nobody knows of what kind it is
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		}
	}
}
