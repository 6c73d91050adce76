//go:build linux && amd64

package escape

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ordinary is the user that attacks run as beside root.
const ordinary = 1500

// credential returns what makes a child of ours run as uid; nil for ourselves.
func credential(uid int) *syscall.Credential {
	if uid == os.Geteuid() {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), Groups: []uint32{}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stage is the ground of one run: a tree with granted and ungranted parts, and
// an outside that helps.
//
//	g  granted to be written    r  granted to be read   h  a second one to be written
//	s  not granted: holds the secret
type stage struct {
	t    *testing.T
	tree string
	uid  int
	out  *outside
	objs map[string]string // path → state of what attempts aim at, before the run

	tty string // a terminal outside, where the attack needs one

	after func() // what is done when the tree has its owner
}

// secret is what s/f holds. Its length tells it in a stat.
var secret = "SECRET" + strings.Repeat(".", 4242-6)

// mutators are the attempts of ops.c whose success shows in an object: what the
// object is before.
var mutators = func() map[string]string {
	m := map[string]string{"rmdir": "dir", "rmdirat": "dir"}
	for name := range strings.FieldsSeq(`sendto sendmsg sendmmsg truncate open-trunc open-write chmod fchmodat fchmodat2 chown
		lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr removexattr lremovexattr link-from linkat-from
		unlink unlinkat rename-from renameat-from exchange`) {
		m[name] = "file"
	}
	for name := range strings.FieldsSeq(`bind open-creat creat mkdir mkdirat mknod mknodat symlink symlinkat link-to linkat-to
		tmpfile-link rename-to renameat-to`) {
		m[name] = "nothing"
	}
	return m
}()

// newStage builds a tree for uid.
func newStage(t *testing.T, p *programs, uid int) *stage {
	t.Helper()
	tree, err := os.MkdirTemp(p.dir, "t")
	must(t, err)
	st := &stage{t: t, tree: tree, uid: uid, objs: map[string]string{}}
	t.Cleanup(func() { _ = os.RemoveAll(tree) })
	must(t, os.Chmod(tree, 0o755))
	for _, dir := range []string{"g", "s", "r", "h", "e", "s/private"} {
		must(t, os.Mkdir(st.in(dir), 0o755))
	}
	for _, dir := range []string{"g", "s", "r"} {
		st.furnish(dir)
	}
	st.file("s/private/f", secret, 0o600)
	must(t, os.Chmod(st.in("s/private"), 0o700))
	must(t, os.Symlink("loop", st.in("s/loop")))
	must(t, unix.Mkfifo(st.in("g/fifo"), 0o600))
	st.file("g/script", "#!"+st.in("s/x")+"\n", 0o755)
	st.file("g/script-g", "#!"+st.in("g/x")+"\n", 0o755)
	st.file("c-33", "c\n", 0o644)
	for name, kind := range mutators {
		for _, dir := range []string{"s", "r"} {
			st.object(dir+"/m-"+name, kind)
		}
	}
	for i := 1; i <= 13; i++ {
		st.object(fmt.Sprintf("s/c-%d", i), "file")
		st.object(fmt.Sprintf("r/c-%d", i), "file")
	}
	st.object("s/m-settled", "file")
	st.copy(p.bad, "s/x", 0o755)
	st.own()
	st.out = startOutside(t, p, tree, uid)
	t.Cleanup(st.out.stop)
	return st
}

func (st *stage) in(name string) string { return filepath.Join(st.tree, name) }

func (st *stage) file(name, content string, mode os.FileMode) {
	must(st.t, os.WriteFile(st.in(name), []byte(content), mode))
	must(st.t, os.Chmod(st.in(name), mode))
}

func (st *stage) copy(from, name string, mode os.FileMode) {
	b, err := os.ReadFile(from)
	must(st.t, err)
	st.file(name, string(b), mode)
}

// furnish puts into dir what attempts look at. The granted objects differ from
// all others in content, size, mode, attributes and link target.
func (st *stage) furnish(dir string) {
	content, link, mode := secret, "SECRETLINK", os.FileMode(0o755)
	if dir == "g" {
		content, link, mode = "granted\n", "granted", 0o644
	}
	st.file(dir+"/f", content, mode)
	must(st.t, os.Symlink(link, st.in(dir+"/l")))
	must(st.t, os.Mkdir(st.in(dir+"/d"), 0o755))
	st.file(dir+"/d/in", content, 0o644)
	must(st.t, unix.Setxattr(st.in(dir+"/f"), "user.k", []byte(link), 0))
	if dir != "g" {
		must(st.t, unix.Setxattr(st.in(dir+"/f"), "user.k2", []byte(link), 0))
	}
}

// object makes something to aim at.
func (st *stage) object(name, kind string) {
	switch kind {
	case "dir":
		must(st.t, os.Mkdir(st.in(name), 0o755))
	case "file":
		st.file(name, "untouched\n", 0o644)
		must(st.t, unix.Setxattr(st.in(name), "user.k", []byte("v"), 0))
	}
	st.objs[name] = ""
}

// own gives the tree to the stage's user and notes the state of everything.
func (st *stage) own() {
	must(st.t, filepath.WalkDir(st.tree, func(name string, _ os.DirEntry, err error) error {
		if err == nil && st.uid != os.Geteuid() {
			err = os.Lchown(name, st.uid, st.uid)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // The outside's tick comes and goes.
		}
		return err
	}))
	if st.after != nil {
		st.after()
	}
	for name := range st.objs {
		st.objs[name] = state(st.in(name))
	}
}

// state is everything about an object that a call of an attacker can change.
func state(name string) string {
	var s unix.Stat_t
	if err := unix.Lstat(name, &s); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%o %d %d.%d %d %d", s.Mode, s.Size, s.Ctim.Sec, s.Ctim.Nsec, s.Ino, s.Nlink)
}

// changed reports whether an object is not what it was.
func (st *stage) changed(name string) bool {
	before, ok := st.objs[name]
	return !ok || before != state(st.in(name))
}

// signalled reports whether a signal of that number has reached the outside.
func (st *stage) signalled(number string) bool {
	b, err := os.ReadFile(st.in("signals"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == number {
			return true
		}
	}
	return false
}

// expand fills in the stage's names in an argument.
func (st *stage) expand(arg string) string {
	return strings.NewReplacer(
		"{T}", st.tree, "{g}", st.in("g"), "{s}", st.in("s"), "{r}", st.in("r"), "{h}", st.in("h"), "{e}", st.in("e"),
		"{pipelines}", strconv.Itoa(map[bool]int{true: 1000, false: 40}[long()]),
		"{tty}", st.tty, "{out}", strconv.Itoa(st.out.PID), "{tcp}", strconv.Itoa(st.out.TCP), "{udp}", strconv.Itoa(st.out.UDP),
		"{@stream}", abstractName(st.tree, "stream"), "{@dgram}", abstractName(st.tree, "dgram"),
		"{@seqpacket}", abstractName(st.tree, "seqpacket"), "{@in}", abstractName(st.tree, "in"),
	).Replace(arg)
}
