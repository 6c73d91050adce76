package lookup

import (
	"fmt"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// kernel resolves name with root as "/" and returns the object's identity or
// the errno.
func kernel(root int, name string, follow bool) string {
	flags := uint64(unix.O_PATH | unix.O_CLOEXEC)
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := sys.Open(root, name, flags, 0, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	return identify(fd)
}

func identify(fd int) string {
	id, _, err := identity(fd)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(id)
}

// ours resolves name by the walk alone, or the way Resolve does.
func ours(ns *Namespace, name string, follow, walk bool) string {
	opts := Options{Follow: follow}
	var obj *Object
	var err error
	if walk {
		at, perr := ns.place("/", nil)
		if perr != nil {
			return perr.Error()
		}
		obj, err = ns.walk(at, name, opts)
	} else {
		obj, err = ns.Resolve(noBase, name, opts)
	}
	if err != nil {
		return err.Error()
	}
	defer obj.Close()
	return identify(obj.FD())
}

// TestAgainstKernel grants a random tree as "/" and compares every lookup in it
// with the kernel's own in the same tree.
func TestAgainstKernel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := tempDir(t)
		name := rapid.SampledFrom([]string{"a", "b", "c", ".", "..", "d"})
		target := rapid.Custom(func(rt *rapid.T) string {
			parts := rapid.SliceOfN(name, 1, 5).Draw(rt, "parts")
			return rapid.SampledFrom([]string{"", "/", "//"}).Draw(rt, "head") + strings.Join(parts, "/") +
				rapid.SampledFrom([]string{"", "", "/"}).Draw(rt, "tail")
		})
		// A link made before must not lead what is made later to the host.
		tree, err := os.OpenRoot(d)
		if err != nil {
			rt.Fatal(err)
		}
		defer tree.Close()
		for range rapid.IntRange(1, 12).Draw(rt, "objects") {
			at := strings.TrimPrefix(path.Join("/", target.Draw(rt, "at")), "/")
			if at == "" {
				continue
			}
			tree.MkdirAll(path.Dir(at), 0o755) // collisions are part of the game
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				tree.Mkdir(at, 0o755)
			case 1:
				tree.WriteFile(at, nil, 0o644)
			default:
				tree.Symlink(target.Draw(rt, "to"), at)
			}
		}
		root, err := unix.Open(d, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			rt.Fatal(err)
		}
		defer unix.Close(root)
		ns := newNS(t, newPlan(nil, entry(t, d, "/", ro)))
		defer ns.Close()
		for range 20 {
			name := "/" + target.Draw(rt, "name")
			for _, follow := range []bool{true, false} {
				want := kernel(root, name, follow)
				for _, walk := range []bool{true, false} {
					if got := ours(ns, name, follow, walk); got != want {
						rt.Errorf("%s (follow %v, walk %v): %s, kernel %s", name, follow, walk, got, want)
					}
				}
			}
		}
	})
}

// TestRestrictedAgainstKernel compares what a program's own openat2 may ask for.
func TestRestrictedAgainstKernel(t *testing.T) {
	d := makefs(t, tempDir(t), "f", "sub/x", "sub/y/z", "abs -> /sub", "up -> sub/../f", "sub/out -> ../f", "sub/in -> y/z", "sub/root -> /y/z", "self -> .")
	ns := newNS(t, newPlan(nil, entry(t, d, d, ro)))
	base, _ := baseAt(t, ns, d+"/sub")
	b, err := base()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "../f", "..", ".", "out", "in", "root", "/x", "/y/z", "y/../x", "y/../../f", "none", "x/", d + "/f", "y/../../sub/x"} {
		for _, r := range []uint64{unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_NO_MAGICLINKS} {
			if r == unix.RESOLVE_NO_MAGICLINKS && (name == "root" || strings.HasPrefix(name, "/x") || strings.HasPrefix(name, "/y")) {
				continue // leads out of what is granted
			}
			want := func() string {
				fd, err := unix.Openat2(b.FD, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: r})
				if err != nil {
					return err.Error()
				}
				defer unix.Close(fd)
				return identify(fd)
			}()
			got := func() string {
				obj, err := ns.Resolve(base, name, Options{Follow: true, Restrict: r})
				if err != nil {
					return err.Error()
				}
				defer obj.Close()
				return identify(obj.FD())
			}()
			if got != want {
				t.Errorf("%s with %#x: %s, kernel %s", name, r, got, want)
			}
		}
	}
}

// FuzzResolve looks arbitrary names up in a fixed tree, against the kernel.
func FuzzResolve(f *testing.F) {
	d := makefs(f, tempDir(f), "f", "sub/x", "abs -> /sub", "up -> ../../sub/../f", "loop -> loop", "self -> .", "deep/er/link -> ../../abs/x")
	root, err := unix.Open(d, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	ns := newNS(f, newPlan(nil, entry(f, d, "/", ro)))
	for _, s := range []string{"f", "abs/x", "up", "loop", "self/self/f", "deep/er/link", "deep/er/link/", "sub/../..//f", "./.", "f/.", "deep/er/../../self/abs/."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsRune(name, 0) || len(name) > 4000 {
			return
		}
		name = "/" + name
		for _, follow := range []bool{true, false} {
			want := kernel(root, name, follow)
			for _, walk := range []bool{true, false} {
				if got := ours(ns, name, follow, walk); got != want {
					t.Errorf("%q (follow %v, walk %v): %s, kernel %s", name, follow, walk, got, want)
				}
			}
		}
	})
}

// TestSwappedDirectory is the symlink race: a granted directory's child turns
// into a symlink to a host directory and back while names below it are opened.
func TestSwappedDirectory(t *testing.T) {
	d := makefs(t, tempDir(t), "g/a/passwd", "g/l -> "+"/etc", "g/b/", "out/passwd", "g/up -> ../out")
	ns := newNS(t, newPlan(nil, entry(t, d+"/g", "/g", ro), entry(t, d+"/g/b", "/g/n/b", rw)))
	inside := kernelID(t, d+"/g/a/passwd")
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			unix.Renameat2(unix.AT_FDCWD, d+"/g/a", unix.AT_FDCWD, d+"/g/l", unix.RENAME_EXCHANGE)
			unix.Renameat2(unix.AT_FDCWD, d+"/g/a", unix.AT_FDCWD, d+"/g/up", unix.RENAME_EXCHANGE)
			unix.Renameat2(unix.AT_FDCWD, d+"/g/a", unix.AT_FDCWD, d+"/out", unix.RENAME_EXCHANGE)
			unix.Renameat2(unix.AT_FDCWD, d+"/g/a", unix.AT_FDCWD, d+"/out", unix.RENAME_EXCHANGE)
		}
	}()
	hits := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		for _, name := range []string{"/g/a/passwd", "/g/a/../a/passwd", "/g/./a/passwd", "/g/l/passwd", "/g/up/passwd", "/g/a/../../etc/passwd"} {
			for _, mode := range []Mode{Find, Create} {
				obj, err := ns.Resolve(noBase, name, Options{Follow: true, Mode: mode})
				if err != nil {
					continue
				}
				if fd := obj.FD(); fd >= 0 {
					got := identify(fd)
					if got == inside {
						hits++
					} else if got == kernelID(t, "/etc/passwd") {
						t.Fatalf("%s led to the host's", name)
					}
				}
				obj.Close()
			}
		}
	}
	stop.Store(true)
	<-done
	if hits == 0 {
		t.Error("the race never let the granted file through: it proves nothing")
	}
}

func kernelID(t testing.TB, name string) string {
	t.Helper()
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return identify(fd)
}

func BenchmarkResolve(b *testing.B) {
	ns, _ := scenario(b)
	for _, name := range []string{"/g/sub/x", "/g/absdir/x", "/deep/er/one"} {
		b.Run(strings.ReplaceAll(name[1:], "/", "_"), func(b *testing.B) {
			for b.Loop() {
				obj, err := ns.Resolve(noBase, name, Options{Follow: true})
				if err != nil {
					b.Fatal(err)
				}
				obj.Close()
			}
		})
	}
}
