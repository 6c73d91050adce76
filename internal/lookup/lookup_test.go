package lookup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// asUser makes a child run the tests without root's privileges: root passes
// permission checks that the walk must leave to the kernel.
const asUser = "LOOKUP_TEST_AS_USER"

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && os.Geteuid() == 0 && os.Getenv(asUser) == "" && !slices.Contains(os.Args, "-test.fuzzworker") {
		code = again()
	}
	os.Exit(code)
}

func again() int {
	dir, err := os.MkdirTemp("", "lookup-user")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o1777); err != nil {
		panic(err)
	}
	exe := filepath.Join(dir, "test")
	if err := exetest.WriteSelf(exe, 0o755); err != nil {
		panic(err)
	}
	cmd := exec.Command(exe, "-test.short")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asUser+"=1", "TMPDIR="+dir, "HOME="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1500, Gid: 1500}}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "as an ordinary user:", err)
		return 1
	}
	return 0
}

// makefs builds a tree from lines: "dir/", "file", "link -> target",
// "fifo|".
func makefs(t testing.TB, dir string, lines ...string) string {
	t.Helper()
	for _, l := range lines {
		name, target, isLink := strings.Cut(l, " -> ")
		p := filepath.Join(dir, strings.TrimRight(name, "/|"))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case strings.HasSuffix(name, "|"):
			err = unix.Mkfifo(p, 0o644)
		default:
			err = os.WriteFile(p, []byte(l), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error { // sealed directories keep TempDir from going
			if err == nil && d.IsDir() {
				os.Chmod(p, 0o755)
			}
			return nil
		})
	})
	return dir
}

var (
	ro = rights.Of(rights.Lookup, rights.Read, rights.Seek, rights.Fstat)
	rw = ro.Union(rights.Of(rights.Write, rights.Create, rights.Unlinkat))
)

func entry(t testing.TB, source, dest string, set rights.Set) plan.Entry {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		t.Fatal(err)
	}
	kind := plan.File
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind = plan.Dir
	case unix.S_IFCHR, unix.S_IFBLK:
		kind = plan.Device
	}
	return plan.Entry{Dest: dest, Source: source, Kind: kind, Rights: set, ID: plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}, Mode: st.Mode}
}

// newPlan completes entries and links to a plan.
func newPlan(links []plan.Link, entries ...plan.Entry) *plan.Plan {
	p := &plan.Plan{Entries: entries, Links: links}
	slices.SortFunc(p.Entries, func(a, b plan.Entry) int { return strings.Compare(a.Dest, b.Dest) })
	dirs := map[string]bool{}
	add := func(name string) {
		for name != "/" {
			name = filepath.Dir(name)
			if e := enclosing(p, filepath.Join(name, "x")); e == nil {
				dirs[name] = true
			}
		}
	}
	for _, e := range p.Entries {
		add(e.Dest)
	}
	for _, l := range p.Links {
		add(l.Path)
	}
	for d := range dirs {
		p.Dirs = append(p.Dirs, d)
	}
	slices.Sort(p.Dirs)
	return p
}

func newNS(t testing.TB, p *plan.Plan) *Namespace {
	t.Helper()
	dir := tempDir(t)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := BuildSkeleton(fd, p); err != nil {
		t.Fatal(err)
	}
	ns, err := New(p, fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ns.Close()
		unix.Close(fd)
	})
	return ns
}

func noBase() (Base, error) { return Base{}, unix.EBADF }

// content returns what an existing name is, as "file:text", "dir", "link:target" or "errno".
func content(ns *Namespace, base func() (Base, error), name string, follow bool) string {
	obj, err := ns.Resolve(base, name, Options{Follow: follow})
	if err != nil {
		return err.Error()
	}
	defer obj.Close()
	return describe(obj.FD())
}

func describe(fd int) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err.Error()
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "dir"
	case unix.S_IFLNK:
		buf := make([]byte, 200)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil {
			return err.Error()
		}
		return "link:" + string(buf[:n])
	case unix.S_IFREG:
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return err.Error()
		}
		return "file:" + string(b)
	}
	return fmt.Sprintf("mode:%o", st.Mode&unix.S_IFMT)
}

func scenario(t testing.TB) (*Namespace, string) {
	d := makefs(t, tempDir(t),
		"g/f", "g/sub/x", "g/up -> ../secret", "g/abs -> /g/f", "g/absdir -> /g/sub", "g/host -> "+"/etc/passwd",
		"g/loop -> loop", "g/self -> .", "g/rel -> sub/x", "g/dang -> nowhere", "g/back -> sub/../f", "g/out -> ../../../../../../g/f",
		"g/n/e/inner", "g/tolink -> /alias/f", "g/nest -> n/e", "g/fifo|",
		"secret", "other/inner2", "single")
	return newNS(t, newPlan([]plan.Link{{Path: "/alias", Target: "g"}, {Path: "/top/absalias", Target: "/g/sub"}},
		entry(t, d+"/g", "/g", ro),
		entry(t, d+"/other", "/g/n/e", rw),
		entry(t, d+"/single", "/deep/er/one", ro),
		plan.Entry{Dest: "/tmp", Kind: plan.Tmpfs, Rights: rw},
		entry(t, d+"/single", "/tmp/in/side", ro),
	)), d
}

func TestResolve(t *testing.T) {
	ns, _ := scenario(t)
	long := strings.Repeat("x", 256)
	tests := []struct {
		name   string
		want   string // followed
		nofoll string // "" is the same
	}{
		{"/", "dir", ""},
		{"///", "dir", ""},
		{"/..", "dir", ""},
		{"/g", "dir", ""},
		{"/g/", "dir", ""},
		{"/g/.", "dir", ""},
		{"/g/f", "file:g/f", ""},
		{"//g//f", "file:g/f", ""},
		{"/g/./f", "file:g/f", ""},
		{"/g/f/", "not a directory", ""},
		{"/g/f/.", "not a directory", ""},
		{"/g/f/..", "not a directory", ""},
		{"/g/f/x", "not a directory", ""},
		{"/g/none", "no such file or directory", ""},
		{"/g/none/..", "no such file or directory", ""},
		{"/g/sub/..", "dir", ""},
		{"/g/sub/../f", "file:g/f", ""},
		{"/g/../g/f", "file:g/f", ""},
		{"/g/../../../g/f", "file:g/f", ""},
		{"/g/../secret", "no such file or directory", ""},
		{"/g/up", "no such file or directory", "link:../secret"},
		{"/g/abs", "file:g/f", "link:/g/f"},
		{"/g/absdir/x", "file:g/sub/x", ""},
		{"/g/absdir/", "dir", "dir"},
		{"/g/absdir/../f", "file:g/f", ""},
		{"/g/host", "no such file or directory", "link:/etc/passwd"},
		{"/g/loop", "too many levels of symbolic links", "link:loop"},
		{"/g/loop/x", "too many levels of symbolic links", ""},
		{"/g/self/self/self/f", "file:g/f", ""},
		{"/g/rel", "file:g/sub/x", "link:sub/x"},
		{"/g/rel/", "not a directory", "not a directory"},
		{"/g/dang", "no such file or directory", "link:nowhere"},
		{"/g/back", "file:g/f", "link:sub/../f"},
		{"/g/out", "file:g/f", "link:../../../../../../g/f"},
		{"/g/tolink", "file:g/f", "link:/alias/f"},
		{"/g/fifo", "mode:10000", ""},
		{"/alias", "dir", "link:g"},
		{"/alias/f", "file:g/f", ""},
		{"/top/absalias/x", "file:g/sub/x", ""},
		{"/top", "dir", ""},
		{"/top/..", "dir", ""},
		{"/g/n/e", "dir", ""},
		{"/g/n/e/inner2", "file:other/inner2", ""},
		{"/g/n/./e/inner2", "file:other/inner2", ""},
		{"/g/./n//e/inner2", "file:other/inner2", ""},
		{"/g/n/e/inner", "no such file or directory", ""},
		{"/g/nest/inner2", "file:other/inner2", ""},
		{"/g/sub/../n/e/inner2", "file:other/inner2", ""},
		{"/g/n/e/../../f", "file:g/f", ""},
		{"/g/n/e/..", "dir", ""},
		{"/deep", "dir", ""},
		{"/deep/er/one", "file:single", ""},
		{"/deep/er/one/", "not a directory", ""},
		{"/deep/er/one/x", "not a directory", ""},
		{"/deep/er/two", "no such file or directory", ""},
		{"/tmp", "dir", ""},
		{"/tmp/in/side", "file:single", ""},
		{"/tmp/in/../in/side", "file:single", ""},
		{"/etc", "no such file or directory", ""},
		{"/etc/passwd", "no such file or directory", ""},
		{"/no/such/thing/at/all", "no such file or directory", ""},
		{"", "no such file or directory", ""},
		{"/" + long, "file name too long", ""},
		{"/g/" + long, "file name too long", ""},
		{strings.Repeat("/g/..", 1000), "file name too long", ""},
	}
	for _, tt := range tests {
		if got := content(ns, noBase, tt.name, true); got != tt.want {
			t.Errorf("%.60s: got %s, want %s", tt.name, got, tt.want)
		}
		want := tt.nofoll
		if want == "" {
			want = tt.want
		}
		if got := content(ns, noBase, tt.name, false); got != want {
			t.Errorf("%.60s not followed: got %s, want %s", tt.name, got, want)
		}
	}
}

func TestRights(t *testing.T) {
	ns, _ := scenario(t)
	for name, want := range map[string]rights.Set{
		"/": ScaffoldRights, "/deep/er": ScaffoldRights, "/alias/f": ro, "/g/n": ro, "/g/n/e": rw, "/g/nest/inner2": rw, "/g/n/e/..": ro, "/tmp": rw, "/tmp/in/side": ro,
	} {
		obj, err := ns.Resolve(noBase, name, Options{Follow: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := obj.Rights(); got != want {
			t.Errorf("%s: rights %v, want %v", name, got, want)
		}
		obj.Close()
	}
}

func TestCreateAndParent(t *testing.T) {
	ns, _ := scenario(t)
	tests := []struct {
		name  string
		opts  Options
		want  string // "dir path? name exists/missing fixed"
		errno error
	}{
		{"/g/new", Options{Mode: Create, Follow: true}, "new missing", nil},
		{"/g/f", Options{Mode: Create, Follow: true}, "f exists", nil},
		{"/g/dang", Options{Mode: Create, Follow: true}, "nowhere missing", nil},
		{"/g/dang", Options{Mode: Create}, "dang exists", nil},
		{"/g/abs", Options{Mode: Create, Follow: true}, "f exists", nil},
		{"/g/none/new", Options{Mode: Create, Follow: true}, "", unix.ENOENT},
		{"/g/f/new", Options{Mode: Create, Follow: true}, "", unix.ENOTDIR},
		{"/g/up", Options{Mode: Create, Follow: true}, "secret missing", nil}, // in the scaffold: "/"
		{"/g/n/e", Options{Mode: Parent}, "e unknown fixed", nil},
		{"/g/n", Options{Mode: Parent}, "n unknown", nil},
		{"/g/n/", Options{Mode: Parent}, "n/ unknown", nil},
		{"/g", Options{Mode: Parent}, "g unknown fixed", nil},
		{"/deep", Options{Mode: Parent}, "deep unknown fixed", nil},
		{"/alias", Options{Mode: Parent}, "alias unknown fixed", nil},
		{"/new", Options{Mode: Parent}, "new unknown", nil},
		{"/g/.", Options{Mode: Parent}, ". unknown", nil},
		{"/g/sub/..", Options{Mode: Parent}, ".. unknown", nil},
		{"/", Options{Mode: Parent}, ". unknown", nil},
		{"/etc/x", Options{Mode: Parent}, "", unix.ENOENT},
	}
	for _, tt := range tests {
		obj, err := ns.Resolve(noBase, tt.name, tt.opts)
		if !errors.Is(err, tt.errno) {
			t.Errorf("%s %+v: error %v, want %v", tt.name, tt.opts, err, tt.errno)
			continue
		}
		if err != nil {
			continue
		}
		got := obj.Name
		switch {
		case tt.opts.Mode == Parent:
			got += " unknown"
		case obj.FD() < 0:
			got += " missing"
		default:
			got += " exists"
		}
		if obj.Fixed {
			got += " fixed"
		}
		if got != tt.want {
			t.Errorf("%s %+v: got %q, want %q", tt.name, tt.opts, got, tt.want)
		}
		if describe(obj.DirFD()) != "dir" {
			t.Errorf("%s: directory is %s", tt.name, describe(obj.DirFD()))
		}
		obj.Close()
	}
}

func baseAt(t testing.TB, ns *Namespace, name string) (func() (Base, error), Place) {
	t.Helper()
	obj, err := ns.Resolve(noBase, name, Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(obj.Close)
	p, err := ns.Locate(obj.FD())
	if err != nil {
		t.Fatal(err)
	}
	return func() (Base, error) { return Base{FD: obj.FD(), Place: p}, nil }, p
}

func TestLocateAndRelative(t *testing.T) {
	ns, d := scenario(t)
	tests := []struct{ at, path, name, want string }{
		{"/", "/", "g/f", "file:g/f"},
		{"/g", "/g", "f", "file:g/f"},
		{"/g", "/g", "../deep/er/one", "file:single"},
		{"/g/absdir", "/g/sub", "x", "file:g/sub/x"},
		{"/g/absdir", "/g/sub", "../f", "file:g/f"},
		{"/g/absdir", "/g/sub", "..", "dir"},
		{"/g/absdir", "/g/sub", "../../alias/f", "file:g/f"},
		{"/g/n/e", "/g/n/e", "../../f", "file:g/f"},
		{"/g/n", "/g/n", "e/inner2", "file:other/inner2"},
		{"/g/n", "/g/n", "./e/inner2", "file:other/inner2"},
		{"/deep", "/deep", "er/one", "file:single"},
		{"/deep/er", "/deep/er", "../../g/f", "file:g/f"},
		{"/tmp", "/tmp", "in/side", "file:single"},
		{"/tmp/in", "/tmp/in", "../../g/f", "file:g/f"},
		{"/g/sub", "/g/sub", "../../../../etc/passwd", "no such file or directory"},
		{"/g/sub", "/g/sub", "", "no such file or directory"},
		{"/g/sub", "/g/sub", ".", "dir"},
	}
	for _, tt := range tests {
		base, p := baseAt(t, ns, tt.at)
		if p.Path != tt.path || p.Outside {
			t.Errorf("%s is at %q (outside %v), want %s", tt.at, p.Path, p.Outside, tt.path)
		}
		if got := content(ns, base, tt.name, true); got != tt.want {
			t.Errorf("%s from %s: got %s, want %s", tt.name, tt.at, got, tt.want)
		}
	}
	for _, out := range []string{d, "/", "/etc", d + "/secret", d + "/g/n/e"} {
		fd, err := unix.Open(out, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		p, err := ns.Locate(fd)
		if err != nil || !p.Outside {
			t.Errorf("%s: %+v, %v, want outside", out, p, err)
		}
		if got := content(ns, func() (Base, error) { return Base{FD: fd, Place: p}, nil }, "passwd", true); got != "no such file or directory" {
			t.Errorf("passwd from %s: %s", out, got)
		}
	}
}

func TestSourceMustBeTheJudgedObject(t *testing.T) {
	d := makefs(t, tempDir(t), "a/", "b/")
	p := newPlan(nil, entry(t, d+"/a", "/a", ro))
	for _, change := range []func() error{
		func() error { return os.Rename(d+"/a", d+"/was") },
		func() error { return os.Symlink(d+"/b", d+"/a") },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		sk := tempDir(t)
		fd, err := unix.Open(sk, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := BuildSkeleton(fd, p); err != nil {
			t.Fatal(err)
		}
		if _, err := New(p, fd); !errors.Is(err, sys.ErrChanged) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("error %v, want %v", err, sys.ErrChanged)
		}
	}
}

func TestEntriesBeyondTheDescriptorBudget(t *testing.T) {
	d := tempDir(t)
	var entries []plan.Entry
	for i := range 50 {
		name := fmt.Sprintf("f%02d", i)
		makefs(t, d, name)
		entries = append(entries, entry(t, d+"/"+name, "/"+name, ro))
	}
	ns := newNS(t, newPlan(nil, entries...))
	ns.limit = 3
	for range entries[3:] {
		ns.evict()
	}
	for round := range 3 {
		for i := range 50 {
			name := fmt.Sprintf("f%02d", i)
			if got := content(ns, noBase, "/"+name, true); got != "file:"+name {
				t.Fatalf("round %d: %s", round, got)
			}
		}
	}
	held := 0
	for _, e := range ns.entries {
		if e.fd >= 0 {
			held++
		}
	}
	if held > 3 || held != ns.recent.Len() {
		t.Errorf("%d entries held, %d known", held, ns.recent.Len())
	}
	makefs(t, d, "new")
	if err := os.Rename(d+"/new", d+"/f00"); err != nil {
		t.Fatal(err)
	}
	if got := content(ns, noBase, "/f00", true); got != unix.EIO.Error() {
		t.Errorf("a replaced source: %s, want an error", got)
	}
}

// TestEverythingGranted: with the whole host granted, what has no source still
// needs a place.
func TestEverythingGranted(t *testing.T) {
	d := makefs(t, tempDir(t), "host/f", "host/tmp/secret", "host/proc/1/environ", "host/a/b/c", "in")
	ns := newNS(t, newPlan(nil, entry(t, d+"/host", "/", ro),
		plan.Entry{Dest: "/proc", Kind: plan.Proc, Rights: ro},
		plan.Entry{Dest: "/tmp", Kind: plan.Tmpfs, Rights: rw},
		plan.Entry{Dest: "/a/b/private", Kind: plan.Tmpfs, Rights: rw},
		entry(t, d+"/in", "/tmp/x/in", ro)))
	for name, want := range map[string]string{
		"/f": "file:host/f", "/tmp/secret": "no such file or directory", "/proc/1/environ": "no such file or directory", "/a/b/c": "file:host/a/b/c",
		"/a/b/private": "dir", "/tmp/x/in": "file:in", "/tmp/../f": "file:host/f", "/proc": "dir", "/a/b/private/../c": "file:host/a/b/c",
	} {
		if got := content(ns, noBase, name, true); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestSkeletonIgnoresUmask: the scaffold must let in a program that became
// another user, whatever the user's umask and the directory it was made in.
func TestSkeletonIgnoresUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	ns, _ := scenario(t)
	for name, want := range map[string]uint32{"/": 0o555, "/deep": 0o555, "/deep/er": 0o555, "/tmp": 0o1777, "/tmp/in": 0o755} {
		obj, err := ns.Resolve(noBase, name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, mode, err := identity(obj.FD())
		if err != nil || mode&0o7777 != want {
			t.Errorf("%s: mode %o (%v), want %o", name, mode&0o7777, err, want)
		}
		obj.Close()
	}
}

func TestSkeletonIsReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		return // root writes everywhere; the run as an ordinary user proves it
	}
	ns, _ := scenario(t)
	for _, dir := range []string{"/", "/deep", "/top"} {
		obj, err := ns.Resolve(noBase, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkdirat(obj.FD(), "x", 0o755); err != unix.EACCES {
			t.Errorf("mkdir in %s: %v", dir, err)
		}
		obj.Close()
	}
}
