package elfdeps

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// few opens so many names and then has no descriptor left.
type few struct {
	tree
	left *int
}

func (f few) Open(name string) (*Opened, error) {
	if *f.left--; *f.left < 0 {
		return nil, unix.EMFILE
	}
	return f.tree.Open(name)
}

// TestExhausted: a file that can't be opened for want of descriptors is not taken for
// one that is missing.
func TestExhausted(t *testing.T) {
	tr := tree{
		"/p":            elf(fakeELF{interp: ld, needed: []string{"libx.so"}}),
		ld:              elf(fakeELF{soname: "ld-linux-x86-64.so.2"}),
		"/lib/libx.so":  elf(fakeELF{soname: "libx.so"}),
		"/lib64/":       "",
		"/lib/":         "",
		"/etc/nothing/": "",
	}
	whole := 0
	for ; ; whole++ {
		left := whole
		if _, err := closureOn(machineOf("amd64"), "/p", Env{}, few{tr, &left}); err == nil {
			break
		} else if !errors.Is(err, unix.EMFILE) {
			t.Fatalf("with %d descriptors: %v", whole, err)
		}
	}
	if whole < 3 {
		t.Errorf("%d descriptors are enough", whole)
	}
}
