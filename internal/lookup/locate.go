package lookup

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// Locate says where in the sandbox the object behind fd is. The host name of a
// descriptor is only a hint: it is believed after the same object was found
// under the grant it points to. What is not found is Outside, and nothing may
// be looked up from there.
func (n *Namespace) Locate(fd int) (Place, error) {
	outside := Place{Outside: true}
	id, mode, err := identity(fd)
	if err != nil {
		return outside, err
	}
	if nd := n.scaffold[id]; nd != nil && mode&unix.S_IFMT == unix.S_IFDIR {
		return Place{Path: nd.path, Entry: nd.within, node: nd}, nil
	}
	host, err := sys.Readlink(unix.AT_FDCWD, sys.FDName(fd))
	if err != nil {
		return outside, err
	}
	if !strings.HasPrefix(host, "/") {
		return outside, nil
	}
	if name, ok := strings.CutPrefix(host, "/proc/"); ok && n.proc != nil && onProc(fd) {
		return Place{Path: path.Join(n.proc.Dest, name), Entry: n.proc, Proc: name}, nil
	}
	for source := host; ; source = path.Dir(source) {
		for _, e := range n.bySource[source] {
			if p, ok := n.confirm(e, strings.TrimPrefix(host[len(source):], "/"), id); ok {
				return p, nil
			}
		}
		if source == "/" {
			return outside, nil
		}
	}
}

// Translate returns the sandbox name of a host name by the text alone, for
// showing it. It says nothing about what is there.
func (n *Namespace) Translate(host string) (string, bool) {
	for source := host; ; source = path.Dir(source) {
		for _, e := range n.bySource[source] {
			return path.Join(e.Dest, strings.TrimPrefix(host, source)), true
		}
		if source == "/" || source == "." {
			return "", false
		}
	}
}

// Identity reports whether the sandbox's name for the place is the host's too.
func (p *Place) Identity() bool {
	return p.Entry != nil && p.Entry.identity && p.Entry.Kind != plan.Tmpfs && !p.Outside
}

// confirm looks for the object id under the name rel inside e.
func (n *Namespace) confirm(e *Entry, rel string, id plan.ID) (Place, bool) {
	name := path.Join(e.Dest, rel)
	nd, within, rest := n.covering(name)
	if within != e {
		return Place{}, false // something else of the plan hangs in front of it
	}
	p := Place{Path: name, Entry: e}
	if len(rest) == 0 {
		p.node = nd
	}
	if rel == "" {
		return p, e.id == id
	}
	h, err := n.acquire(e)
	if err != nil {
		return Place{}, false
	}
	defer h.close()
	fd, err := sys.Open(h.fd(), rel, unix.O_PATH|unix.O_NOFOLLOW, 0, beneath|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return Place{}, false
	}
	defer unix.Close(fd)
	found, _, err := identity(fd)
	return p, err == nil && found == id && (e.procOK || !onProc(fd))
}

// covering walks a clean name over the plan: the last node it passes, the entry
// it ends in, and the components that the plan does not mention.
func (n *Namespace) covering(name string) (*node, *Entry, []string) {
	nd := n.root
	rest := components(name)
	for len(rest) > 0 {
		k := nd.kid(rest[0])
		if k == nil {
			break
		}
		nd, rest = k, rest[1:]
	}
	return nd, nd.within, rest
}

// onProc reports whether fd is an object of some procfs.
func onProc(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || st.Type == unix.PROC_SUPER_MAGIC
}

// forbidden reports whether an object found inside an ordinary grant must not
// exist for the sandbox. A procfs mounted inside a granted tree shows the
// host's processes to the supervisor, who may see more of them than the
// program, and its "self" is the supervisor.
func forbidden(e *Entry, fd int, dev uint64) bool {
	return unix.Major(dev) == 0 && e != nil && e.Kind != plan.Proc && !e.procOK && onProc(fd)
}

// place opens the directory with the clean sandbox name, which led there a
// moment ago without symlinks.
func (n *Namespace) place(name string, view ProcView) (position, error) {
	nd, e, rest := n.covering(name)
	at := position{Place: Place{Path: name, Entry: e}}
	if len(rest) == 0 {
		at.node = nd
	}
	if e == nil {
		if len(rest) > 0 || nd.link {
			return at, unix.ENOENT
		}
		fd, err := n.openSkeleton(name)
		at.handle = owned(fd)
		return at, err
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(name, e.Dest), "/")
	h, err := n.acquire(e)
	if err != nil {
		return at, unix.EIO
	}
	if rel == "" {
		at.handle = h
		return at, nil
	}
	if e.Kind == plan.Proc {
		h.close()
		return placeProc(at, rel, view)
	}
	fd, err := sys.Open(h.fd(), rel, unix.O_PATH|unix.O_DIRECTORY, 0, beneath|unix.RESOLVE_NO_SYMLINKS)
	h.close()
	if err == unix.ELOOP {
		err = unix.ENOENT // renamed away, and a link put in its place
	}
	at.handle = owned(fd)
	return at, err
}

func placeProc(at position, rel string, view ProcView) (position, error) {
	if view == nil {
		return at, unix.ENOENT
	}
	for _, c := range components(rel) {
		st, err := view.Step(at.Proc, c)
		at.close()
		if err != nil {
			return at, err
		}
		at.handle, at.Proc = owned(st.FD), st.Name
		if st.Kind != ProcDir {
			at.close()
			return at, unix.ENOENT
		}
	}
	return at, nil
}
