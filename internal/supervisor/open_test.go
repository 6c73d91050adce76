package supervisor

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// asksToOpen are options by which opening asks under the namespaces engine, too.
func asksToOpen() Options { return Options{Lacking: rights.Of(rights.Ftruncate)} }

func insideOpen(t *testing.T, in *inside) {
	for _, dir := range []string{"rw", "bare"} {
		must(t, os.WriteFile(in.dir+"/"+dir+"/cut", []byte("text"), 0o666))
	}
	us := strconv.Itoa(os.Getuid())
	in.run(t, asksToOpen(), nil, [][2]string{
		{"openat2 D/rw/cut trunc", "ok"}, {"openat2 D/rw/cut read", "ok"}, {"openat2 D/bare/cut trunc", "EACCES"},
		{"openat2 D/rw/new creat", "ok"}, {"openat2 D/bare/new creat", "EACCES"}, {"openat2 D/ro/new creat", "EROFS"},
		{"openat2 D/rw/none read", "ENOENT"}, {"openat2 D/rw notmp", "EINVAL"}, {"openat2 D/rw/cut path", "ok"},
		{"openat2 D/rw/new excl", "EEXIST"}, {"openat2 D/rw excl", "EEXIST"}, {"openat2 D/rw make", "EISDIR"}, {"openat2 D/rw/. make", "EISDIR"},
		{"openat2 / make", "EISDIR"}, {"openat2 D/rw/other/ make", "EISDIR"}, {"openat2 D/rw/none/x make", "ENOENT"},
		{"openat2 D/rw/cut/x make", "ENOTDIR"}, {"openat2 D/rw/nolink own", "ok"},
		{"chdir D/rw", "ok"}, {"openat2 relative make D/rw/relative", "ok"}, {"openat2 ./../rw/relative2 make D/rw/relative2", "ok"},
		{"umask 077", "ok"}, {"tmpfile D/rw", "600 " + us}, {"openat2 D/rw/masked creat", "ok"}, {"mode D/rw/masked", "600 " + us},
		{"umask 027", "ok"}, {"tmpfile D/rw", "640 " + us}, {"tmpfile D/bare", "EACCES"}, {"tmpfile D/ro", "EROFS"},
	}...)
	st, err := os.Stat(in.dir + "/bare/cut")
	must(t, err)
	if st.Size() != 4 {
		t.Errorf("bare/cut has %d bytes", st.Size())
	}
	if st, err = os.Stat(in.dir + "/rw/cut"); err != nil || st.Size() != 0 {
		t.Errorf("rw/cut was not cut: %v", err)
	}
}

// insideOpenLinks: a link that is the last component leads to where a file is made.
func insideOpenLinks(t *testing.T, in *inside) {
	must(t, os.MkdirAll(in.dir+"/rw/l/d", 0o777))
	must(t, os.WriteFile(in.dir+"/rw/l/there", nil, 0o666))
	for name, text := range map[string]string{
		"to": "there", "abs": in.dir + "/rw/l/there", "up": "d/../there", "chain": "d/back", "d/back": "../to",
		"born": "d/new", "bare": in.dir + "/bare/born", "ro": in.dir + "/ro/born", "loop": "loop", "dir": "d", "slash": "d/x/", "proc": "/proc/self/comm",
	} {
		must(t, os.Symlink(text, in.dir+"/rw/l/"+name))
	}
	in.run(t, asksToOpen(), nil, [][2]string{
		{"openat2 D/rw/l/to make D/rw/l/there", "ok"}, {"openat2 D/rw/l/abs make D/rw/l/there", "ok"}, {"openat2 D/rw/l/up make D/rw/l/there", "ok"},
		{"openat2 D/rw/l/chain make D/rw/l/there", "ok"}, {"chdir D/rw/l/d", "ok"}, {"openat2 back make D/rw/l/there", "ok"},
		{"openat2 D/rw/l/born excl", "EEXIST"}, {"openat2 D/rw/l/born own", "ELOOP"}, {"openat2 D/rw/l/born make D/rw/l/d/new", "ok"},
		{"openat2 D/rw/l/bare make", "EACCES"}, {"openat2 D/rw/l/ro make", "EROFS"}, {"openat2 D/rw/l/loop make", "ELOOP"},
		{"openat2 D/rw/l/dir make", "EISDIR"}, {"openat2 D/rw/l/dir/ make", "EISDIR"}, {"openat2 D/rw/l/slash make", "EISDIR"},
		{"openat2 D/rw/l/proc make", "EACCES"},
		{"open D/rw/l/there rw", "ok"}, {"reopen make D/rw/l/there", "ok"}, {"open D/bare/file rw", "ok"}, {"reopen trunc", "EACCES"},
	}...)
}

// insideFull: out of descriptors it is an errno, never a number that means something;
// and nothing has happened.
func insideFull(t *testing.T, in *inside) {
	must(t, os.WriteFile(in.dir+"/rw/full", []byte("text"), 0o666))
	in.run(t, asksToOpen(), nil, [][2]string{
		{"nofile", "ok"}, {"openat2 D/rw/full read", "EMFILE"}, {"openat2 D/bare/cut trunc", "EMFILE"},
		{"openat2 D/rw/full trunc", "EMFILE"}, {"openat2 D/rw/unborn creat", "EMFILE"},
	}...)
	st, err := os.Stat(in.dir + "/rw/full")
	must(t, err)
	if st.Size() != 4 {
		t.Errorf("rw/full has %d bytes without a descriptor to it", st.Size())
	}
	if _, err := os.Stat(in.dir + "/rw/unborn"); !os.IsNotExist(err) {
		t.Errorf("rw/unborn was made without a descriptor to it: %v", err)
	}
}

const stranger = 1111 // owns files; neither the user of the tests nor root

// makeSticky makes, in dir, directories like /tmp with things of the user us and of a
// stranger; it reports false if files cannot be given away here.
func makeSticky(t *testing.T, dir string, us int) bool {
	for name, mode := range map[string]uint32{"world": 0o1777, "group": 0o1775, "owner": 0o1755, "loose": 0o777} {
		d := dir + "/" + name
		must(t, os.Mkdir(d, 0o755))
		for _, file := range []string{"mine", "other", "fifo", "link", "way"} {
			p, owner := d+"/"+file, stranger
			switch file {
			case "mine":
				owner = us
				must(t, os.WriteFile(p, nil, 0o666))
			case "other":
				must(t, os.WriteFile(p, nil, 0o666))
			case "fifo":
				must(t, unix.Mkfifo(p, 0o666))
			case "link":
				must(t, os.Symlink("mine", p))
			case "way":
				must(t, os.Symlink(".", p))
			}
			if file != "link" && file != "way" {
				must(t, os.Chmod(p, 0o666)) // whatever the umask
			}
			if err := os.Lchown(p, owner, owner); err != nil {
				return false
			}
		}
		must(t, os.Chown(d, us+1, us+1))
		must(t, unix.Chmod(d, mode)) // after the owner, which clears bits
	}
	return true
}

// stickyCases are opens with O_CREAT of what is there already, by the settings.
var stickyCases = []struct {
	name                 string
	none, protected, all string // with levels of 0, 1 and 2
}{
	{"world/mine", "ok", "ok", "ok"},
	{"world/other", "ok", "EACCES", "EACCES"},
	{"world/fifo", "ok", "EACCES", "EACCES"},
	{"world/link", "ok", "EACCES", "EACCES"},
	{"world/way/mine", "ok", "ok", "ok"}, // the rule is about the last component
	{"world/new", "ok", "ok", "ok"},
	{"group/mine", "ok", "ok", "ok"},
	{"group/other", "ok", "ok", "EACCES"},
	{"group/fifo", "ok", "ok", "EACCES"},
	{"group/link", "ok", "ok", "ok"},
	{"owner/other", "ok", "ok", "ok"},
	{"owner/fifo", "ok", "ok", "ok"},
	{"loose/other", "ok", "ok", "ok"},
	{"loose/fifo", "ok", "ok", "ok"},
	{"loose/link", "ok", "ok", "ok"},
}

func levels(n int) map[string]int {
	return map[string]int{"protected_regular": n, "protected_fifos": n, "protected_symlinks": min(n, 1)}
}

func insideSticky(t *testing.T, in *inside) {
	// Not all users are here: those that are not look alike, and are not the same.
	s, err := New(Config{})
	must(t, err)
	if !s.anybody(65534) || s.anybody(uint32(os.Getuid())) {
		t.Errorf("user 65534 may be anybody: %v; user %d: %v", s.anybody(65534), os.Getuid(), s.anybody(uint32(os.Getuid())))
	}
	defer func() { in.settings = nil }()
	for level := range 3 {
		dir := "rw/sticky" + strconv.Itoa(level)
		must(t, os.Mkdir(in.dir+"/"+dir, 0o755))
		if !makeSticky(t, in.dir+"/"+dir, os.Getuid()) {
			return // there is no other user
		}
		in.settings = levels(level)
		var steps [][2]string
		for _, c := range stickyCases {
			name := "D/" + dir + "/" + c.name
			steps = append(steps, [2]string{"openat2 " + name + " make " + strings.NewReplacer("/link", "/mine", "/way", "").Replace(name), []string{c.none, c.protected, c.all}[level]})
		}
		in.run(t, asksToOpen(), nil, steps...)
	}
}

func TestSticky(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give files away
	}
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		us := 0
		if cred != nil {
			us = int(cred.Uid)
		}
		for level := range 3 {
			d := openDir(t)
			must(t, os.Chmod(d, 0o755))
			makeSticky(t, d, us)
			w := &world{t: t, cred: cred, settings: levels(level)}
			w.grant(d, d, policy.RW)
			v := w.run()
			for _, c := range stickyCases {
				want := []string{c.none, c.protected, c.all}[level]
				if strings.HasSuffix(c.name, "/new") && !strings.HasPrefix(c.name, "world/") {
					continue // ordinary permissions
				}
				if got := v.do("open rw|creat|nonblock " + d + "/" + c.name); got != want {
					t.Errorf("level %d, %s: %s, want %s", level, c.name, got, want)
				}
			}
		}
	})
}

// TestStickyIsTheKernels compares with what the kernel itself says now.
func TestStickyIsTheKernels(t *testing.T) {
	if os.Geteuid() != 0 {
		return // there is nobody else to be
	}
	s, err := New(Config{Options: testOptions()})
	must(t, err)
	dir := openDir(t)
	defer runtime.UnlockOSThread()
	runtime.LockOSThread()
	defer unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
	for i := range 5 * 2 * 2 * 2 * 4 {
		dirMode := []uint32{0o1777, 0o1775, 0o1755, 0o777, 0o1757}[i%5]
		x := shared{dirMode: dirMode, dirOwner: []uint32{0, 1500}[i/5%2], owner: []uint32{1500, stranger}[i/10%2], fsuid: []uint32{1500, 1501}[i/20%2]}
		d := dir + "/" + strconv.Itoa(i)
		p := d + "/f"
		must(t, os.Mkdir(d, 0o755))
		must(t, os.WriteFile(d+"/target", nil, 0o666))
		must(t, os.Chmod(d+"/target", 0o666))
		kind := []uint32{unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFLNK}[i/40]
		flags, may, good := unix.O_RDWR|unix.O_NONBLOCK|unix.O_CREAT, x.mayCreate(1), error(nil)
		switch kind {
		case unix.S_IFLNK:
			must(t, os.Symlink("target", p))
			flags, may = unix.O_RDWR, x.mayFollow(s.setting("protected_symlinks"))
		default:
			must(t, unix.Mknod(p, kind, 0))
			must(t, os.Chmod(p, 0o666))
			switch kind {
			case unix.S_IFREG:
				may = x.mayCreate(s.setting("protected_regular"))
			case unix.S_IFIFO:
				may = x.mayCreate(s.setting("protected_fifos"))
			case unix.S_IFSOCK:
				good = unix.ENXIO
			}
		}
		must(t, os.Lchown(p, int(x.owner), 0))
		must(t, os.Chown(d, int(x.dirOwner), 0))
		must(t, unix.Chmod(d, dirMode))
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(x.fsuid), 0, 0)
		fd, err := unix.Open(p, flags|unix.O_CLOEXEC, 0o600)
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0)
		if err == nil {
			unix.Close(fd)
		}
		want := good
		if !may {
			want = unix.EACCES
		}
		if err != want {
			t.Errorf("%+v, type %#o: the kernel says %v, the supervisor %v", x, kind, err, want)
		}
	}
}

func TestMayCreateInSticky(t *testing.T) {
	for _, c := range []struct {
		mode                  uint32
		dir, owner, who       uint32
		atZero, atOne, atMost bool
	}{
		{0o1777, 0, 7, 8, true, false, false},
		{0o1777, 0, 0, 8, true, true, true}, // the directory's owner's
		{0o1777, 0, 8, 8, true, true, true}, // one's own
		{0o1777, 8, 7, 8, true, false, false},
		{0o1777, 1, 7, 0, true, false, false}, // root is nobody special
		{0o1775, 0, 7, 8, true, true, false},
		{0o1770, 0, 7, 8, true, true, false},
		{0o1775, 0, 0, 8, true, true, true},
		{0o1775, 0, 8, 8, true, true, true},
		{0o1757, 0, 7, 8, true, false, false},
		{0o1755, 0, 7, 8, true, true, true},
		{0o0777, 0, 7, 8, true, true, true},
		{0o0775, 0, 7, 8, true, true, true},
		{0o1777, 65534, ^uint32(0), 8, true, false, false}, // who knows whose
	} {
		s := shared{dirMode: c.mode, dirOwner: c.dir, owner: c.owner, fsuid: c.who}
		for level, want := range []bool{c.atZero, c.atOne, c.atMost} {
			if got := s.mayCreate(level); got != want {
				t.Errorf("%+v, level %d: %v, want %v", s, level, got, want)
			}
		}
	}
}

// TestOpensAlike: the two engines have one opener.
func TestOpensAlike(t *testing.T) {
	landlock, namespaces := Handlers(policy.EngineLandlock), Handlers(policy.EngineNamespaces)
	for _, call := range []string{"open", "openat", "openat2", "creat"} {
		if a, b := fmt.Sprintf("%p", landlock[call]), fmt.Sprintf("%p", namespaces[call]); a != b {
			t.Errorf("%s: %s and %s", call, a, b)
		}
	}
}

func TestNamelessModes(t *testing.T) {
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		w, d := standard(t, cred)
		v := w.run()
		for mask, want := range map[string]string{"0": "666", "027": "640", "077": "600"} {
			v.do("umask " + mask)
			v.want("tmpfile "+d+"/rw", want)
		}
	})
}

// TestFileSizeLimit: the limit is the program's own, and so is what it forbids.
func TestFileSizeLimit(t *testing.T) {
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		w, d := standard(t, cred)
		v, u := w.run(), launch(t, "serve", exetest.Self(t), "/", cred)
		v.want("fsize 10", "ok")
		u.do("fsize 10")
		for _, op := range []string{"truncate NAME 10", "truncate NAME 11", "size NAME"} {
			got, want := v.do(strings.Replace(op, "NAME", d+"/rw/x1", 1)), u.do(strings.Replace(op, "NAME", d+"/rw/x2", 1))
			if got != want {
				t.Errorf("%s: %s, unconfined %s", op, got, want)
			}
		}
	})
}
