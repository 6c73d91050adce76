//go:build linux || freebsd

package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// lookup is a name that is looked up from a folder; see [T.folder] for what is in
// it. HERE stands for its path, and NAME for its name.
type lookup struct {
	name string
	why  string
	free Want // from a descriptor that is not limited, outside of capability mode
	held Want // otherwise
}

var lookups = []lookup{
	{"file", "a file", success, success},
	{"./file", "a file by way of .", success, success},
	{"sub/file", "a file further down", success, success},
	{"sub//file", "two slashes", success, success},
	{"sub/../file", "an interior ..", success, success},
	{"sub/deep/../../file", "two interior ..", success, success},
	{".", "the directory itself", success, success},
	{"sub/..", "the directory itself by way of ..", success, success},
	{"..", "its parent", success, notCapable},
	{"../NAME.out", "a neighbour", success, notCapable},
	{"../NAME/file", "out and back in", success, notCapable},
	{"sub/../../NAME.out", "a neighbour by way of a directory beneath", success, notCapable},
	{"sub/../../NAME/file", "out and back in by way of a directory beneath", success, notCapable},
	{"near", "a link to what is beneath", success, success},
	{"around", "a link with an interior ..", success, success},
	{"there/file", "a link to a directory on the way", success, success},
	{"there/../file", "up after a link to a directory", success, success},
	{"abs", "an absolute link to what is beneath", success, notCapable},
	{"out", "a link that leaves", success, notCapable},
	{"back", "a link that leaves and comes back", success, notCapable},
	{"missing", "nothing", is(unix.ENOENT), is(unix.ENOENT)},
	{"missing/../file", "by way of nothing", is(unix.ENOENT), is(unix.ENOENT)},
	{"file/x", "beneath a file", is(unix.ENOTDIR), is(unix.ENOTDIR)},
	{"", "no name", is(unix.ENOENT), is(unix.ENOENT)},
}

// expand fills in where a folder is.
func expand(name, path string) string {
	return strings.NewReplacer("NAME", filepath.Base(path), "HERE", path).Replace(name)
}

// situation is how a directory is held when a name is looked up from it.
type situation struct {
	name   string
	in     phase
	limit  func(fd int)
	held   bool
	static *Want // what the static form says; nil is the same
}

func situations() []situation {
	return []situation{
		{name: "unlimited", limit: func(int) {}},
		{name: "rights limited", held: true, limit: func(fd int) { limitSet(fd, allBut(rights.Fchmod)) }, static: &refused},
		{name: "fcntls limited", held: true, limit: func(fd int) { stop("limit", lib.LimitFcntlsFD(fd, rights.FcntlGetfl)) }, static: &refused},
		{name: "ioctls limited", held: true, limit: func(fd int) { stop("limit", lib.LimitIoctlsFD(fd)) }, static: &refused},
		{name: "capability mode", in: entered, held: true, limit: func(int) {}, static: &refused},
		{name: "capability mode, limited", in: entered, held: true, limit: func(fd int) { limit(fd, rights.Lookup, rights.Read, rights.Fstat) }, static: &refused},
	}
}

func lookupCases() []Case {
	var cases []Case
	for _, s := range situations() {
		for _, l := range lookups {
			want := l.free
			if s.held {
				want = l.held
			}
			cases = append(cases, openCase("lookup/"+s.name+": "+l.why, s, want, func(dir int, path string) error {
				return openAt(dir, expand(l.name, path), unix.O_RDONLY)
			}))
		}
		cases = append(cases, situationCases(s)...)
		cases = append(cases, everyCall(s)...)
	}
	cases = append(cases, rootCases()...)
	return append(cases, systemLookupCases()...)
}

func openCase(name string, s situation, want Want, open func(dir int, path string) error) Case {
	static := s.static
	if static != nil && (want.ok || !notCapable.equal(want)) {
		static = ptr(want.or(refused))
		if want.ok {
			static = s.static
		}
	}
	return Case{Name: name, In: s.in, Want: want, Static: static, Make: func(t *T) func() error {
		dir, path := t.folder()
		return func() error { s.limit(dir); return open(dir, path) }
	}}
}

func (w Want) equal(o Want) bool { return w.String() == o.String() }

func openAt(dir int, name string, flags int) error {
	fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

// situationCases are lookups that differ between situations in other ways.
func situationCases(s situation) []Case {
	name := "lookup/" + s.name + ": "
	absolute, parent := success, success
	if s.held {
		parent = notCapable
	}
	if s.in == entered {
		absolute = notCapable
	}
	nofollow := is(unix.ELOOP, unix.EMLINK)
	cases := []Case{
		openCase(name+"an absolute name", s, absolute, func(dir int, path string) error { return openAt(dir, path+"/file", unix.O_RDONLY) }),
		openCase(name+"a link not followed", s, nofollow, func(dir int, _ string) error { return openAt(dir, "near", unix.O_RDONLY|unix.O_NOFOLLOW) }),
		openCase(name+"a link that leaves, not followed", s, nofollow, func(dir int, _ string) error { return openAt(dir, "out", unix.O_RDONLY|unix.O_NOFOLLOW) }),
		openCase(name+"made beneath", s, createWant(s), func(dir int, _ string) error { return openAt(dir, "sub/new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL) }),
		openCase(name+"made above", s, parentOf(s, parent), func(dir int, _ string) error { return openAt(dir, "../new", unix.O_RDONLY|unix.O_CREAT) }),
		openCase(name+"from a file", s, is(unix.ENOTDIR), nil),
	}
	cases[len(cases)-1].Make = func(t *T) func() error {
		fd := t.file()
		return func() error { s.limit(fd); return openAt(fd, "file", unix.O_RDONLY) }
	}
	inherit := Case{Name: name + "what is opened has the directory's", In: s.in, Want: success, Static: s.static, Make: func(t *T) func() error {
		dir, _ := t.folder()
		return func() error {
			s.limit(dir)
			want, err := lib.RightsFD(dir)
			stop("rights", err)
			fd, err := unix.Openat(dir, "sub", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			stop("open", err)
			file, err := unix.Openat(fd, "file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			stop("open beneath", err)
			mask, err := lib.FcntlsFD(dir)
			stop("fcntls", err)
			got, err := lib.FcntlsFD(file)
			stop("fcntls", err)
			_, listed, err := lib.IoctlsFD(dir)
			stop("ioctls", err)
			_, list, err := lib.IoctlsFD(file)
			stop("ioctls", err)
			chmod := success
			if !want.IsSet(rights.Fchmod) {
				chmod = notCapable
			}
			return all(hasRights(fd, want), hasRights(file, want), same("fcntls", got, mask), same("ioctls limited", list, listed),
				failing("fchmod", unix.Fchmod(file, 0o600), chmod), read(file), failing("up", openAt(fd, "../file", unix.O_RDONLY), upWant(s)))
		}
	}}
	return append(cases, inherit)
}

// upWant is what comes of .. from a directory that was opened beneath another.
func upWant(s situation) Want {
	if s.held {
		return notCapable
	}
	return success
}

// createWant is what comes of making a file in a situation.
func createWant(s situation) Want {
	if s.name == "capability mode, limited" {
		return notCapable
	}
	return success
}

func parentOf(s situation, w Want) Want {
	if s.held {
		return notCapable
	}
	return w
}

// everyCall tries each *at call with names that stay and names that leave.
func everyCall(s situation) []Case {
	var cases []Case
	calls := atCalls()
	for _, call := range sortedKeys(calls) {
		if s.name == "capability mode, limited" || s.name == "ioctls limited" {
			continue
		}
		stays, leaves := success, success
		if s.held {
			leaves = notCapable
		}
		add := func(why, name, missing string, w Want) {
			cases = append(cases, openCase("lookup/"+s.name+": "+call+" "+why, s, w, func(dir int, path string) error {
				return calls[call](dir, expand(name, path), expand(missing, path))
			}))
		}
		if call != "fchmodat" || s.name != "rights limited" {
			add("beneath", "sub/file", "sub/new", stays)
		}
		add("by way of ..", "sub/../../NAME.out", "sub/../../NAME.new", leaves)
		if s.in == entered {
			add("absolute", "HERE/file", "/tmp/capsicum.new", notCapable)
		}
	}
	if s.held {
		half := map[string]func(dir int) error{
			"linkat with only the new name outside":   func(dir int) error { return unix.Linkat(dir, "file", dir, "../new", 0) },
			"linkat with only the old name outside":   func(dir int) error { return unix.Linkat(dir, "../x", dir, "new", 0) },
			"renameat with only the new name outside": func(dir int) error { return unix.Renameat(dir, "file", dir, "../new") },
			"renameat with only the old name outside": func(dir int) error { return unix.Renameat(dir, "../x", dir, "new") },
		}
		for _, name := range sortedKeys(half) {
			cases = append(cases, openCase("lookup/"+s.name+": "+name, s, notCapable, func(dir int, _ string) error { return half[name](dir) }))
		}
		cases = append(cases, openCase("lookup/"+s.name+": symlinkat with a text that leads anywhere", s, createWant(s), func(dir int, _ string) error {
			return unix.Symlinkat("../../etc/passwd", dir, "new")
		}))
	}
	return cases
}

// rootCases are of os.Root, which is Go's way to hold a directory.
func rootCases() []Case {
	in := func(name string, want Want, do func(r *os.Root) error) Case {
		return Case{Name: "lookup/os.Root: " + name, In: entered, Want: want, Static: &refused, Make: func(t *T) func() error {
			_, path := t.folder()
			r := need(os.OpenRoot(path))
			return func() error { return do(r) }
		}}
	}
	escaped := Want{errs: []error{errEscape}}
	cases := []Case{
		in("a file", success, func(r *os.Root) error { _, err := r.ReadFile("sub/file"); return err }),
		in("made", success, func(r *os.Root) error { return r.WriteFile("sub/new", []byte("x"), 0o600) }),
		in("a directory made", success, func(r *os.Root) error { return r.Mkdir("new", 0o700) }),
		in("status", success, func(r *os.Root) error { _, err := r.Stat("file"); return err }),
		in("removed", success, func(r *os.Root) error { return r.Remove("file") }),
		in("renamed", success, func(r *os.Root) error { return r.Rename("file", "new") }),
		in("a directory read", success, func(r *os.Root) error {
			d, err := r.Open(".")
			if err != nil {
				return err
			}
			names, err := d.Readdirnames(0)
			return all(err, same("names", len(names) > 3, true))
		}),
		in("a root in a root", success, func(r *os.Root) error {
			sub, err := r.OpenRoot("sub")
			if err != nil {
				return err
			}
			_, err = sub.ReadFile("file")
			return err
		}),
		in("outside", escaped, func(r *os.Root) error { _, err := r.ReadFile("../x"); return escape(err) }),
	}
	cases[len(cases)-1].Static = ptr(escaped.or(refused))
	return cases
}

// errEscape stands for what os.Root says of a name that leaves: an error without an
// errno, of Go's own checks.
var errEscape = errors.New("os.Root says that the name leads outside")

func escape(err error) error {
	var errno unix.Errno
	if err == nil || errors.As(err, &errno) {
		return err
	}
	return errEscape
}
