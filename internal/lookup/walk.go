package lookup

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

const (
	maxLinks = 40  // MAXSYMLINKS
	nameMax  = 255 // NAME_MAX
)

// position is the directory a walk is in.
type position struct {
	handle
	Place
}

// walker goes component by component. It never lets the kernel follow a link or
// climb, so a rename or a swapped symlink can only change which granted object
// is found.
type walker struct {
	ns    *Namespace
	opts  Options
	at    position
	links int
	entry *Entry // where the walk began

	// Of a walk that is not to leave its start: that, if "/" leads there, and the
	// directories that it came through, the nearest last. Names do not lead back
	// there: somebody may move the start away meanwhile, and what then has its name
	// is not beneath it.
	start position
	trail []position
	lost  bool // the first of them
}

// maxTrail is how many directories are held for a way back.
const maxTrail = 64

// found is what one step led to.
type found struct {
	handle
	Place
	mode   uint32 // type bits
	target string // of a virtual link
	step   *ProcStep
}

func (f *found) isLink() bool { return f.mode == unix.S_IFLNK }
func (f *found) isDir() bool  { return f.mode == unix.S_IFDIR }

// walk resolves name into obj. at is consumed.
func (n *Namespace) walk(at position, name string, opts Options) (*Object, error) {
	w := &walker{ns: n, opts: opts, at: at, entry: at.Entry}
	var obj *Object
	err := w.begin()
	if err == nil {
		obj, err = w.run(name)
	}
	w.at.close()
	w.forget()
	w.start.close()
	if err == nil && w.crossed(obj.Entry) {
		obj.Close()
		err = unix.EXDEV
	}
	if err != nil {
		return nil, err
	}
	return obj, nil
}

func (w *walker) run(rest string) (*Object, error) {
	if rest == "" {
		return nil, unix.ENOENT
	}
	for {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return w.finishDir(".")
		}
		name, tail, slashed := strings.Cut(rest, "/")
		tail = strings.TrimLeft(tail, "/")
		if len(name) > nameMax {
			return nil, unix.ENAMETOOLONG
		}
		last := tail == ""
		if last && w.opts.Mode == Parent {
			return w.finishParent(name, slashed)
		}
		if name == "." || name == ".." {
			if err := w.dots(name); err != nil {
				return nil, err
			}
			if last {
				return w.finishDir(name)
			}
			rest = tail
			continue
		}
		f, err := w.step(name)
		if err == unix.ENOENT && last && w.opts.Mode == Create {
			return w.missing(name, slashed)
		}
		if err != nil {
			return nil, err
		}
		if f.isLink() && (!last || w.opts.Follow || slashed) {
			text, jumped, err := w.follow(&f, last, slashed)
			f.close()
			if err != nil || jumped != nil {
				return jumped, err
			}
			// A link's text is walked where it stands; "text/" keeps that the
			// whole must be a directory.
			rest = text
			if slashed {
				rest += "/" + tail
			}
			continue
		}
		if last {
			return w.finish(f, name, slashed)
		}
		if !f.isDir() {
			f.close()
			return nil, unix.ENOTDIR
		}
		w.enter(&f)
		rest = tail
	}
}

const scoped = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT

// crossed reports whether the walk went where the program did not want to go:
// onto another grant, which is another mount for it.
func (w *walker) crossed(e *Entry) bool {
	return w.opts.Restrict&unix.RESOLVE_NO_XDEV != 0 && e != w.entry
}

func (w *walker) enter(f *found) {
	w.leave()
	w.at = position{handle: f.handle, Place: f.Place}
	f.handle = handle{}
}

// begin holds the start of a walk in which "/" leads there.
func (w *walker) begin() (err error) {
	if w.opts.Restrict&unix.RESOLVE_IN_ROOT != 0 {
		w.start, err = w.at.dup()
	}
	return err
}

// dup returns p with a descriptor of its own.
func (p *position) dup() (position, error) {
	fd, err := unix.FcntlInt(uintptr(p.fd()), unix.F_DUPFD_CLOEXEC, 0)
	return position{handle: owned(fd), Place: p.Place}, err
}

// forget lets go of the way back.
func (w *walker) forget() {
	for i := range w.trail {
		w.trail[i].close()
	}
	w.trail, w.lost = nil, false
}

// leave gives up the current directory for one in it.
func (w *walker) leave() {
	if w.opts.Restrict&scoped == 0 {
		w.at.close()
		return
	}
	if len(w.trail) == maxTrail {
		w.trail[0].close()
		w.trail, w.lost = w.trail[1:], true
	}
	w.trail = append(w.trail, w.at)
}

// back takes ".." of a walk that is not to leave its start.
func (w *walker) back() error {
	last := len(w.trail) - 1
	switch {
	case last < 0 && (w.lost || w.opts.Restrict&unix.RESOLVE_BENEATH != 0):
		return unix.EXDEV
	case last < 0:
		return nil
	}
	w.at.close()
	w.at, w.trail = w.trail[last], w.trail[:last]
	return nil
}

// dots takes "." and "..". Even these need permission to search the directory.
func (w *walker) dots(name string) error {
	if w.at.Outside {
		return unix.ENOENT
	}
	fd, err := sys.OpenName(w.at.fd(), ".")
	if err != nil {
		return err
	}
	unix.Close(fd)
	if name == "." {
		return nil
	}
	if w.opts.Restrict&scoped != 0 {
		return w.back()
	}
	if w.at.Path == "/" {
		return nil
	}
	up, err := w.ns.place(path.Dir(w.at.Path), w.opts.Proc)
	if err != nil {
		up.close()
		return err
	}
	w.at.close()
	w.at = up
	return nil
}

// step finds one name in the current directory. Links are not followed.
func (w *walker) step(name string) (found, error) {
	at := &w.at
	k := at.node.kid(name)
	f := found{Place: Place{Path: at.join(name), Entry: at.Entry, node: k}}
	switch {
	case at.Outside:
		return f, unix.ENOENT
	case k != nil && k.entry != nil:
		return w.stepEntry(f, k.entry)
	case at.Entry != nil && at.Entry.Kind == plan.Proc:
		return w.stepProc(f, name)
	case at.Entry == nil && k == nil:
		return f, unix.ENOENT
	}
	fd, err := sys.OpenName(at.fd(), name)
	if err != nil {
		return f, err
	}
	f.handle = owned(fd)
	id, mode, err := identity(fd)
	if err == nil && forbidden(at.Entry, fd, id.Dev) {
		err = unix.ENOENT
	}
	if err != nil {
		f.close()
		return f, err
	}
	f.mode = mode & unix.S_IFMT
	return f, nil
}

func (w *walker) stepEntry(f found, e *Entry) (found, error) {
	h, err := w.ns.acquire(e)
	if err != nil {
		return f, unix.EIO
	}
	f.handle, f.Entry, f.Path = h, e, e.Dest
	_, mode, err := identity(h.fd())
	f.mode = mode & unix.S_IFMT
	return f, err
}

func (w *walker) stepProc(f found, name string) (found, error) {
	if w.opts.Proc == nil {
		return f, unix.ENOENT
	}
	st, err := w.opts.Proc.Step(w.at.Proc, name)
	if err != nil {
		return f, err
	}
	f.handle, f.Proc, f.step = owned(st.FD), st.Name, &st
	// The real name may differ: "self" is a number once it was followed.
	f.mode = procModes[st.Kind]
	f.target = st.Target
	return f, nil
}

var procModes = [...]uint32{ProcFile: unix.S_IFREG, ProcDir: unix.S_IFDIR, ProcLink: unix.S_IFLNK, ProcMagic: unix.S_IFLNK}

// follow reads a link and prepares the walk of its text: an absolute one
// starts at the sandbox's root. A magic link is jumped through; as the last
// component, without a slash, it ends the walk.
func (w *walker) follow(f *found, last, slashed bool) (string, *Object, error) {
	w.links++
	magic := f.step != nil && f.step.Follow != nil
	switch r := w.opts.Restrict; {
	case w.links > maxLinks, r&unix.RESOLVE_NO_SYMLINKS != 0, magic && r&unix.RESOLVE_NO_MAGICLINKS != 0:
		return "", nil, unix.ELOOP
	case magic && r&(scoped|unix.RESOLVE_NO_XDEV) != 0:
		return "", nil, unix.EXDEV
	}
	if magic {
		return w.jump(f, last && !slashed)
	}
	text := f.target
	if f.step == nil {
		var err error
		if last && w.opts.MayFollow != nil {
			err = w.opts.MayFollow(w.at.fd(), f.fd())
		}
		if err != nil {
			return "", nil, err
		}
		if text, err = sys.Readlink(f.fd(), ""); err != nil {
			return "", nil, err
		}
	}
	if text == "" {
		return "", nil, unix.ENOENT
	}
	if text[0] != '/' {
		return text, nil, nil
	}
	if w.opts.Restrict&unix.RESOLVE_BENEATH != 0 {
		return "", nil, unix.EXDEV
	}
	root, err := w.slash()
	if err != nil {
		root.close()
		return "", nil, err
	}
	w.at.close()
	w.forget()
	w.at = root
	// "/" alone must still mean a directory and not an empty name.
	return text, nil, nil
}

// slash opens the directory that "/" leads to.
func (w *walker) slash() (position, error) {
	if w.opts.Restrict&unix.RESOLVE_IN_ROOT != 0 {
		return w.start.dup()
	}
	return w.ns.place("/", w.opts.Proc)
}

// jump goes through a magic link.
func (w *walker) jump(f *found, last bool) (string, *Object, error) {
	fd, err := f.step.Follow()
	if err != nil {
		return "", nil, err
	}
	h := owned(fd)
	p, err := w.ns.Locate(fd)
	if err != nil {
		h.close()
		return "", nil, err
	}
	if last {
		step := *f.step
		step.FD = -1
		return "", &Object{obj: h, Place: p, Magic: &step}, nil
	}
	_, mode, err := identity(fd)
	switch {
	case err != nil:
	case mode&unix.S_IFMT != unix.S_IFDIR:
		err = unix.ENOTDIR
	case p.Outside:
		err = unix.EACCES
	}
	if err != nil {
		h.close()
		return "", nil, err
	}
	w.at.close()
	w.at = position{handle: h, Place: p}
	return ".", nil, nil
}

// finish ends a walk at an object that exists.
func (w *walker) finish(f found, name string, slashed bool) (*Object, error) {
	if slashed && !f.isDir() {
		f.close()
		return nil, unix.ENOTDIR
	}
	obj := &Object{obj: f.handle, Place: f.Place, Name: name}
	if w.opts.Mode == Create {
		obj.dir, obj.Dir = w.at.handle, w.at.Place
		obj.Fixed = w.fixed(name)
		w.at.handle = handle{}
	}
	return obj, nil
}

// finishDir ends a walk at the current directory itself: "/", "." or "..".
func (w *walker) finishDir(name string) (*Object, error) {
	if w.opts.Mode == Parent {
		return w.finishParent(name, false)
	}
	obj := &Object{obj: w.at.handle, Place: w.at.Place, Fixed: true}
	w.at.handle = handle{}
	return obj, nil
}

func (w *walker) finishParent(name string, slashed bool) (*Object, error) {
	if w.at.Outside {
		return nil, unix.ENOENT
	}
	obj := &Object{dir: w.at.handle, Place: w.at.Place, Dir: w.at.Place, Name: name, Fixed: w.fixed(name)}
	if slashed {
		obj.Name += "/"
	}
	w.at.handle = handle{}
	return obj, nil
}

func (w *walker) missing(name string, slashed bool) (*Object, error) {
	if w.at.Outside {
		return nil, unix.ENOENT
	}
	return w.finishParent(name, slashed)
}

// fixed reports whether the plan put something on name in the current
// directory. A directory that only leads to a nested entry is the host's.
func (w *walker) fixed(name string) bool {
	k := w.at.node.kid(name)
	return k != nil && (k.entry != nil || w.at.Entry == nil)
}
