package lookup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// TestBeneathMoved: ".." of a walk that is to stay beneath its start leads back to
// where the walk came from, also when something else has that name now.
func TestBeneathMoved(t *testing.T) {
	dir := tempDir(t)
	for _, d := range []string{"a/in", "b/in"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, d, "who"), []byte(d), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ns := newNS(t, newPlan(nil, entry(t, dir, "/tree", policy.RW)))
	base, _ := baseAt(t, ns, "/tree/a")
	moved := func() (Base, error) {
		b, err := base()
		if err == nil {
			err = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "a"), unix.AT_FDCWD, filepath.Join(dir, "b"), unix.RENAME_EXCHANGE)
		}
		return b, err
	}
	if err := os.Symlink("/in/../who", filepath.Join(dir, "a", "round")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		how  uint64
	}{{"in/../who", unix.RESOLVE_BENEATH}, {"in/../who", unix.RESOLVE_IN_ROOT}, {"/who", unix.RESOLVE_IN_ROOT}, {"round", unix.RESOLVE_IN_ROOT}} {
		obj, err := ns.Resolve(moved, c.name, Options{Restrict: c.how, Follow: true})
		if err != nil {
			t.Fatal(c.name, err)
		}
		text, err := os.ReadFile(sys.FDName(obj.FD()))
		obj.Close()
		if err != nil || string(text) != "a" {
			t.Errorf("%s beneath a is what %s has (%v)", c.name, text, err)
		}
	}
}

// TestBeneathFarBack: the way back is as long as what is held of it.
func TestBeneathFarBack(t *testing.T) {
	dir := tempDir(t)
	if err := os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", maxTrail+1)), 0o755); err != nil {
		t.Fatal(err)
	}
	ns := newNS(t, newPlan(nil, entry(t, dir, "/tree", policy.RW)))
	base, _ := baseAt(t, ns, "/tree")
	before := openDescriptors(t)
	for _, c := range []struct {
		down, up int
		want     error
	}{{maxTrail, maxTrail, nil}, {maxTrail + 1, maxTrail, nil}, {maxTrail + 1, maxTrail + 1, unix.EXDEV}, {3, 4, unix.EXDEV}} {
		name := strings.Repeat("d/", c.down) + strings.Repeat("../", c.up)
		obj, err := ns.Resolve(base, name, Options{Restrict: unix.RESOLVE_BENEATH})
		if !errors.Is(err, c.want) {
			t.Errorf("%d down and %d up: %v, want %v", c.down, c.up, err, c.want)
		}
		if err == nil {
			obj.Close()
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors are open, before %d", after, before)
	}
	if _, err := ns.Resolve(base, "d", Options{Restrict: unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT}); err != unix.EINVAL {
		t.Errorf("beneath, and in a root: %v", err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
