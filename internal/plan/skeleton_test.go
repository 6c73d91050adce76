package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSkeleton(t *testing.T) {
	p := &Plan{
		Dirs:  []string{"/", "/dev", "/home"},
		Links: []Link{{Path: "/bin", Target: "usr/bin"}},
		Entries: []Entry{
			{Dest: "/dev/null", Kind: Device},
			{Dest: "/home/u", Kind: Dir},
			{Dest: "/home/u/inner", Kind: File},
			{Dest: "/tmp", Kind: Tmpfs},
			{Dest: "/tmp-not", Kind: File},
			{Dest: "/tmp/a/b", Kind: Dir},
			{Dest: "/tmp/a/c", Kind: File},
			{Dest: "/tmp/a/t", Kind: Tmpfs},
			{Dest: "/tmp/a/t/x", Kind: File},
		},
	}
	want := []Part{
		{Path: "dev", Kind: Scaffold},
		{Path: "home", Kind: Scaffold},
		{Path: "bin", Kind: Symlink, Target: "usr/bin"},
		{Path: "dev/null", Kind: PlaceFile},
		{Path: "home/u", Kind: PlaceDir},
		{Path: "tmp", Kind: PlaceDir},
		{Path: "tmp-not", Kind: PlaceFile},
		{In: "/tmp", Path: "a", Kind: Scaffold},
		{In: "/tmp", Path: "a/b", Kind: PlaceDir},
		{In: "/tmp", Path: "a/c", Kind: PlaceFile},
		{In: "/tmp", Path: "a/t", Kind: PlaceDir},
		{In: "/tmp/a/t", Path: "x", Kind: PlaceFile},
	}
	if diff := cmp.Diff(want, p.Skeleton()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := (&Plan{Dirs: []string{"/"}, Entries: []Entry{{Dest: "/", Kind: Dir}, {Dest: "/x", Kind: Dir}}}).Skeleton(); len(got) != 0 {
		t.Errorf("a root grant has the host's directories, got %v", got)
	}
}
