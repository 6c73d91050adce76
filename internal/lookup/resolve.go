package lookup

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// restrictions are the bits of openat2's resolve field that the walk knows.
const restrictions = unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_XDEV

// Resolve finds name as the kernel would in the mounted plan. base is asked for
// when name is relative or walked in a root of the program's choice. Errors are bare errnos.
func (n *Namespace) Resolve(base func() (Base, error), name string, opts Options) (*Object, error) {
	if name == "" {
		return nil, unix.ENOENT
	}
	if len(name) >= unix.PathMax {
		return nil, unix.ENAMETOOLONG
	}
	var b Base
	if opts.Restrict&^restrictions != 0 || opts.Restrict&scoped == scoped {
		return nil, unix.EINVAL
	}
	if name[0] != '/' || opts.Restrict&unix.RESOLVE_IN_ROOT != 0 {
		var err error
		if b, err = base(); err != nil {
			return nil, err
		}
		if b.Outside {
			return nil, unix.ENOENT
		}
	}
	if opts.Restrict == 0 || opts.Restrict == unix.RESOLVE_BENEATH && name[0] != '/' {
		if obj, err := n.fast(b, name, opts); obj != nil || err != nil {
			return obj, err
		}
	}
	at, err := n.start(b, name, opts)
	if err != nil {
		at.close()
		return nil, err
	}
	return n.walk(at, name, opts)
}

// start opens the directory that a walk of name begins in.
func (n *Namespace) start(b Base, name string, opts Options) (position, error) {
	if name[0] == '/' && opts.Restrict&unix.RESOLVE_BENEATH != 0 {
		return position{}, unix.EXDEV
	}
	if name[0] == '/' && opts.Restrict&unix.RESOLVE_IN_ROOT == 0 {
		return n.place("/", opts.Proc)
	}
	fd, err := unix.FcntlInt(uintptr(b.FD), unix.F_DUPFD_CLOEXEC, 0)
	return position{handle: owned(fd), Place: b.Place}, err
}

// fast finds name with one openat2 where that is exact: inside one entry,
// without "..", and without symlinks if another entry hangs below. It returns
// nothing when only the walk can tell. What it finds beneath b is beneath b for the
// kernel, too, or beneath an entry that hangs there.
func (n *Namespace) fast(b Base, name string, opts Options) (*Object, error) {
	dir, last := name, ""
	if opts.Mode != Find {
		trimmed := strings.TrimRight(name, "/")
		i := strings.LastIndexByte(trimmed, '/')
		// With the ".", a link before it is in the middle for the kernel, too, which has
		// more rules for the last component.
		dir, last = trimmed[:i+1]+".", name[i+1:]
		if last == "" || trimmed == "" || trimmed[i+1:] == "." || trimmed[i+1:] == ".." || len(trimmed)-i-1 > nameMax {
			return nil, nil
		}
	}
	at, ok, err := n.leap(b, dir, opts)
	if !ok || err != nil {
		return nil, err
	}
	if opts.Mode == Find {
		return &Object{obj: at.handle, Place: at.Place}, nil
	}
	w := &walker{ns: n, opts: opts, at: at}
	obj, err := w.end(last)
	w.at.close()
	return obj, err
}

// end looks the last component up in the directory that fast found; a symlink
// that must be followed sends it back to the walk.
func (w *walker) end(last string) (*Object, error) {
	name := strings.TrimRight(last, "/")
	slashed := name != last
	if w.opts.Mode == Parent {
		return w.finishParent(name, slashed)
	}
	f, err := w.step(name)
	switch {
	case err == unix.ENOENT:
		return w.missing(name, slashed)
	case err != nil:
		return nil, err
	case f.isLink() && (w.opts.Follow || slashed):
		f.close()
		return nil, nil
	}
	return w.finish(f, name, slashed)
}

// leap goes through name with one openat2: to the object in Find mode, else to
// a directory.
func (n *Namespace) leap(b Base, name string, opts Options) (position, bool, error) {
	nd, e, from := b.node, b.Entry, b.FD
	if name[0] == '/' {
		nd, e, from = n.root, n.root.within, -1
	}
	var passed []string // names inside e that the plan mentions
	rest := strings.TrimLeft(name, "/")
	for rest != "" {
		c, tail, _ := strings.Cut(rest, "/")
		tail = strings.TrimLeft(tail, "/")
		if c == "." {
			rest = tail
			continue
		}
		k := nd.kid(c)
		if k == nil && e == nil && c != ".." {
			return position{}, true, missing(c)
		}
		if k == nil {
			break
		}
		if k.link {
			return position{}, false, nil
		}
		if k.entry != nil {
			passed, e, from = nil, k.entry, -1
		} else if e != nil {
			passed = append(passed, c)
		}
		nd, rest = k, tail
	}
	if e == nil && rest == "" {
		at, err := n.place(nd.path, nil)
		return at, true, err
	}
	if e == nil || e.Kind != plan.Dir && e.Kind != plan.Tmpfs || hasDotDot(rest) {
		return position{}, false, nil
	}
	rel := strings.Join(append(passed, rest), "/")
	if rest == "" && len(passed) > 0 && !strings.HasSuffix(name, "/") && !strings.HasSuffix(name, "/.") {
		rel = strings.TrimSuffix(rel, "/")
	}
	at, ok, err := n.leapTo(from, e, nd, rel, opts)
	if rest == "" {
		at.node = nd
	}
	return at, ok, err
}

// missing says which error a name has that the plan does not mention.
func missing(c string) error {
	if len(c) > nameMax {
		return unix.ENAMETOOLONG
	}
	return unix.ENOENT
}

func hasDotDot(p string) bool {
	for p != "" {
		var c string
		if c, p, _ = strings.Cut(p, "/"); c == ".." {
			return true
		}
	}
	return false
}

// leapTo carries out a leap of rel from the descriptor from, or from e's root when
// that is -1. nd is the last of the plan's names on the way.
func (n *Namespace) leapTo(from int, e *Entry, nd *node, rel string, opts Options) (position, bool, error) {
	flags, resolve := uint64(unix.O_PATH), uint64(beneath)
	switch {
	case opts.Mode != Find:
		flags |= unix.O_DIRECTORY
	case !opts.Follow:
		flags |= unix.O_NOFOLLOW
	}
	if nd != nil && len(nd.kids) > 0 {
		resolve |= unix.RESOLVE_NO_SYMLINKS // one could lead to where another entry hangs
	}
	if from < 0 {
		h, err := n.acquire(e)
		if err != nil {
			return position{}, true, unix.EIO
		}
		if rel == "" {
			return position{handle: h, Place: Place{Path: e.Dest, Entry: e}}, true, nil
		}
		defer h.close()
		from = h.fd()
	}
	got, err := sys.Open(from, relative(rel), flags, 0, resolve)
	switch err {
	case nil:
	case unix.EXDEV, unix.ELOOP, unix.EAGAIN:
		return position{}, false, nil // the walk knows better
	default:
		return position{}, true, err
	}
	at := position{handle: owned(got), Place: Place{Entry: e}}
	id, _, err := identity(got)
	if err == nil && forbidden(e, got, id.Dev) {
		err = unix.ENOENT
	}
	if err != nil {
		at.close()
	}
	return at, true, err
}
