package resolve

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

const (
	// maxHops is the kernel's bound on symlinks in one name.
	maxHops = 40
	// maxKept bounds the directories held open, so that any number of grants
	// fits into the smallest usual limit of descriptors.
	maxKept = 128
)

// walker looks at the host's names, one component at a time on descriptors it
// holds, so that a name is never looked up twice. It never follows a link by
// the kernel's hand: each is read, noted and followed here.
type walker struct {
	root  *dir
	dirs  map[string]*dir   // directories held open, by their names
	links map[string]string // targets already read, by the link's name
}

// dir is a directory of the host.
type dir struct {
	fd     int // -1 once given back
	path   string
	id     plan.ID
	mode   uint32
	uid    uint32
	parent *dir // nil for the root
	kept   bool // the walker closes it, when it is done
}

// object is what a name leads to.
type object struct {
	path string // free of symlinks
	id   plan.ID
	mode uint32
	fd   int  // O_PATH; owned unless the object is a kept directory
	in   *dir // where it lies; nil for the root
	kept bool
}

func (o *object) isDir() bool { return o.mode&unix.S_IFMT == unix.S_IFDIR }

// close gives the descriptors back. What was learnt stays.
func (o *object) close() {
	if !o.kept && o.fd >= 0 {
		unix.Close(o.fd)
	}
	o.fd = -1
	o.in.release()
}

// release closes a directory that is not kept.
func (d *dir) release() {
	if d != nil && !d.kept && d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
}

// newWalker starts at root, or at the caller's own root if that is nil.
func newWalker(root *os.File) (*walker, error) {
	at, name := unix.AT_FDCWD, "/"
	if root != nil {
		at, name = int(root.Fd()), "."
	}
	fd, st, err := open(at, name)
	if err != nil {
		return nil, &walkError{"/", err}
	}
	w := &walker{dirs: make(map[string]*dir), links: make(map[string]string)}
	w.root = &dir{fd: fd, path: "/", id: identity(st), mode: st.Mode, uid: st.Uid, kept: true}
	w.dirs["/"] = w.root
	return w, nil
}

func (w *walker) close() {
	for _, d := range w.dirs {
		unix.Close(d.fd)
	}
	w.dirs = nil
}

func identity(st *unix.Stat_t) plan.ID { return plan.ID{Dev: uint64(st.Dev), Ino: st.Ino} }

// open opens the very object at name, a link too, without opening what it holds.
func open(at int, name string) (int, *unix.Stat_t, error) {
	fd, err := openat(at, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, &st, nil
}

func openat(at int, name string, flags int) (fd int, err error) {
	err = sys.Retry(func() error {
		fd, err = unix.Openat(at, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// step looks up one component in a directory. It returns a directory, or the
// target of a link, or another object; d stays the caller's.
func (w *walker) step(d *dir, name string) (next *dir, target string, leaf *object, err error) {
	full := path.Join(d.path, name)
	if kept, ok := w.dirs[full]; ok {
		return kept, "", nil, nil
	}
	if target, ok := w.links[full]; ok {
		return nil, target, nil, nil
	}
	fd, st, err := open(d.fd, name)
	if err != nil {
		return nil, "", nil, &walkError{full, err}
	}
	if err := judge(fd, st, d); err != nil {
		unix.Close(fd)
		return nil, "", nil, &walkError{full, err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		defer unix.Close(fd)
		target, err := readLink(fd, st, d)
		if err != nil {
			return nil, "", nil, &walkError{full, err}
		}
		w.links[full] = target
		return nil, target, nil, nil
	case unix.S_IFDIR:
		next := &dir{fd: fd, path: full, id: identity(st), mode: st.Mode, uid: st.Uid, parent: d}
		if len(w.dirs) < maxKept {
			next.kept = true
			w.dirs[full] = next
		}
		return next, "", nil, nil
	}
	return nil, "", &object{path: full, id: identity(st), mode: st.Mode, fd: fd, in: d}, nil
}

// judge refuses procfs: its links lead to whatever a process holds, and its
// files speak about processes outside. A file system begins where the device
// number changes.
func judge(fd int, st *unix.Stat_t, d *dir) error {
	if uint64(st.Dev) == d.id.Dev {
		return nil
	}
	var fs unix.Statfs_t
	if err := sys.Retry(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return err
	}
	if int64(fs.Type) == unix.PROC_SUPER_MAGIC {
		return ErrProcfs
	}
	return nil
}

// readLink reads the target of a link. In a directory where anyone may put
// names, /tmp for one, only one's own links and the directory's owner's are
// followed: the kernel has that rule too (fs.protected_symlinks), but it can
// not apply it to links that are followed by hand.
func readLink(fd int, st *unix.Stat_t, d *dir) (string, error) {
	const everybodys = unix.S_ISVTX | unix.S_IWOTH
	if d.mode&everybodys == everybodys && st.Uid != d.uid && st.Uid != uint32(os.Geteuid()) {
		return "", fmt.Errorf("link of another user in a directory open to all: %w", unix.EACCES)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

// up returns the parent of d. The kernel's ".." is believed only if it leads to
// the directory we came from: one that was moved meanwhile would lead elsewhere.
func (w *walker) up(d *dir) (*dir, error) {
	p := d.parent
	if p == nil {
		return d, nil
	}
	if p.fd >= 0 {
		return p, nil
	}
	fd, st, err := open(d.fd, "..")
	if err != nil {
		return nil, &walkError{p.path, err}
	}
	if identity(st) != p.id {
		unix.Close(fd)
		return nil, &walkError{p.path, ErrChanged}
	}
	again := *p
	again.fd = fd
	return &again, nil
}

// object returns d as what a name leads to. The descriptor goes with it.
func (d *dir) object() *object {
	return &object{path: d.path, id: d.id, mode: d.mode, fd: d.fd, kept: d.kept}
}

// walk follows an absolute name over the host to its end. It returns the links
// met, in order. The caller closes the object.
func (w *walker) walk(name string) (*object, []plan.Link, error) {
	v := view{w: w, fallback: true, root: new(node)}
	p, err := v.find(name)
	if err != nil {
		return nil, nil, err
	}
	return p.obj, p.links, nil
}

// components splits a name. A trailing slash leaves an empty component, which
// asks for a directory as "." does.
func components(name string) []string { return strings.Split(strings.TrimLeft(name, "/"), "/") }
