package supervisor

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// socketHandlers answers the calls with an address.
func socketHandlers() []answer {
	return []answer{
		{"bind", bindCall},
		{"connect", connectCall},
		{"sendto", sendtoCall},
		{"sendmsg", sendmsgCall},
		{"sendmmsg", sendmmsgCall},
	}
}

// socket is a copy of the caller's socket.
type socket struct {
	*sys.FD
	num    int32 // the caller's number
	domain int
	typ    int
}

// socket copies the caller's descriptor num, which must be a socket.
func (c *Call) socket(num int32) (*socket, error) {
	fd, err := c.DupFull(num)
	if err != nil {
		return nil, err
	}
	s := &socket{FD: fd, num: num}
	s.domain, err = unix.GetsockoptInt(fd.Int(), unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil {
		s.typ, err = unix.GetsockoptInt(fd.Int(), unix.SOL_SOCKET, unix.SO_TYPE)
	}
	if err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	return s, nil
}

// route is an address that was judged: what it means is held, so that the
// judged object is the one reached.
type route struct {
	raw  []byte // what to give the kernel
	held *sys.FD
}

func (r *route) Close() error { return r.held.Close() }

// reach judges an address that a socket is to be connected to, or a message
// sent to.
func (c *Call) reach(s *socket, a sockaddr) (*route, error) {
	if s.domain != unix.AF_UNIX {
		return c.direct(s, a)
	}
	if a.family != unix.AF_UNIX {
		return nil, unix.EINVAL
	}
	name, err := a.unixName()
	switch {
	case err != nil:
		return nil, err
	case name.path != "":
		return c.reachPath(name.path)
	case name.abstract != "":
		return c.reachAbstract(s, a, name)
	}
	return nil, unix.EINVAL
}

// direct passes on the address of a socket that is no Unix socket.
func (c *Call) direct(s *socket, a sockaddr) (*route, error) {
	if c.s.cfg.Options.Net {
		return &route{raw: a.raw}, nil
	}
	if s.domain == unix.AF_INET || s.domain == unix.AF_INET6 {
		return nil, unix.ENETUNREACH
	}
	return nil, unix.EACCES
}

// reachPath finds the socket a path means and makes the address lead to that
// very object.
func (c *Call) reachPath(path string) (*route, error) {
	f, err := c.s.namei.Resolve(c, unix.AT_FDCWD, path, 0)
	if err != nil {
		return nil, err
	}
	binding := c.s.sockets.binding.Load() > 0
	var st unix.Stat_t
	err = unix.Fstat(f.Object.Int(), &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		err = unix.ECONNREFUSED
	case hasRight(f.Entry, rights.Connectat) || c.s.sockets.own(f.Object):
	case binding: // perhaps this one: its maker, who has had no answer, does not listen yet
		err = unix.ECONNREFUSED
	default:
		c.deny(f.Entry, rights.Connectat, path)
		err = unix.EACCES
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.Parent.Close()
	link, err := c.link(f.Object.Int())
	if err != nil {
		return nil, errors.Join(err, f.Object.Close())
	}
	return &route{raw: unixPath(link).raw, held: f.Object}, nil
}

// link returns a name that leads to the very object behind one of our
// descriptors. It may be relative to the thread's working directory, and so
// holds until that is changed.
func (c *Call) link(fd int) (string, error) {
	name := "self/fd/" + strconv.Itoa(fd)
	if c.s.procPath {
		return "/proc/" + name, nil
	}
	if !c.w.ownFS {
		return "", unix.EACCES
	}
	return name, unix.Fchdir(c.s.cfg.Proc.Int())
}

// reachAbstract lets a socket reach an abstract name. A network namespace of
// the sandbox's own has nobody else's names in it; on the host's only names
// the sandbox bound are reached.
func (c *Call) reachAbstract(s *socket, a sockaddr, name unixName) (*route, error) {
	if c.s.privateNames() {
		return &route{raw: a.raw}, nil
	}
	held, err := c.s.sockets.hold(c.s, abstractName{s.typ, name.abstract})
	if err != nil {
		return nil, err
	}
	return &route{raw: a.raw, held: held}, nil
}

// privateNames reports whether abstract names are the sandbox's own.
func (s *Supervisor) privateNames() bool {
	return s.cfg.Options.Engine == policy.EngineNamespaces && !s.cfg.Options.Net
}

// hasRight reports whether an entry grants every one of list. What no entry
// covers grants nothing.
func hasRight(e *plan.Entry, list ...rights.Right) bool {
	return e != nil && e.Rights.IsSet(list...)
}

// deny notes a refusal for whoever traces.
func (c *Call) deny(e *plan.Entry, r rights.Right, what string) {
	if e == nil {
		c.s.tracef("%d %s %q: not granted", c.TID(), c.Name, what)
		return
	}
	c.s.tracef("%d %s %q: %s lacks %s", c.TID(), c.Name, what, e.Dest, r)
}

// with runs f on the route's address as the caller, and lets it be interrupted.
func (c *Call) with(r *route, f func(raw []byte) error) error {
	c.Yield()
	return c.As(func() error {
		return c.Blocking(func() error { return f(r.raw) })
	})
}

func connectCall(c *Call) Result {
	s, err := c.socket(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer s.Close()
	a, err := c.sockaddr(c.Arg(1), c.Int(2))
	if err != nil {
		return Fail(err)
	}
	r := &route{raw: a.raw}
	// AF_UNSPEC takes an association back and reaches nobody.
	if a.family != unix.AF_UNSPEC {
		if r, err = c.reach(s, a); err != nil {
			return Fail(err)
		}
	}
	defer r.Close()
	err = c.with(r, func(raw []byte) error { return sys.RawConnect(s.Int(), raw) })
	c.noteAutobind(s)
	return Fail(err)
}

// noteAutobind remembers the abstract name a Unix socket got by itself.
func (c *Call) noteAutobind(s *socket) {
	if s.domain != unix.AF_UNIX || c.s.privateNames() {
		return
	}
	if err := c.s.sockets.named(c, s.FD, s.num); err != nil {
		c.s.tracef("%d %s: remember name of socket: %v", c.TID(), c.Name, err)
	}
}

func bindCall(c *Call) Result {
	s, err := c.socket(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer s.Close()
	a, err := c.sockaddr(c.Arg(1), c.Int(2))
	if err != nil {
		return Fail(err)
	}
	if s.domain != unix.AF_UNIX {
		if _, err := c.direct(s, a); err != nil {
			return Errno(unix.EACCES)
		}
		return Fail(c.As(func() error { return sys.RawBind(s.Int(), a.raw) }))
	}
	if a.family != unix.AF_UNIX {
		return Errno(unix.EINVAL)
	}
	name, err := a.unixName()
	if err != nil {
		return Fail(err)
	}
	if name.path != "" {
		return Fail(c.bindPath(s, a, name.path))
	}
	err = c.As(func() error { return sys.RawBind(s.Int(), a.raw) })
	c.noteAutobind(s)
	return Fail(err)
}

// bindPath makes a socket's name. The socket keeps the address it is bound by
// and programs ask for it, so it should be the caller's words and not a name
// relative to a directory held here. But the kernel walks the caller's words
// again. So they are walked by a thread that can make sockets in the judged
// directory only; where no such thread can be had, or the words mean something
// else to this process, the name is made relative to the directory.
func (c *Call) bindPath(s *socket, a sockaddr, path string) error {
	f, err := c.s.namei.Resolve(c, unix.AT_FDCWD, path, Create)
	if errors.Is(err, unix.EEXIST) {
		return unix.EADDRINUSE
	}
	if err != nil {
		return err
	}
	defer f.Close()
	switch {
	case f.Object != nil:
		return unix.EADDRINUSE
	case f.Entry == nil || plan.ReadOnly(f.Entry.Rights):
		return unix.EROFS
	case !hasRight(f.Entry, rights.Bindat):
		c.deny(f.Entry, rights.Bindat, path)
		return unix.EACCES
	}
	c.s.sockets.binding.Add(1)
	defer c.s.sockets.binding.Add(-1)
	before, err := fileTime()
	if err != nil {
		return err
	}
	if !strings.Contains(path, "/") || c.bindWords(s, a, f.Parent) != nil {
		name := unixPath(f.Name).raw
		err = c.AsCreatorIn(f.Parent, func() error { return sys.RawBind(s.Int(), name) })
	}
	if err != nil {
		return err
	}
	if err := c.s.sockets.bound(f.Parent, f.Name, before); err != nil {
		c.s.tracef("%d bind %q: remember socket: %v", c.TID(), path, err)
	}
	return nil
}

// bindWords binds to the address as the caller spelled it, from the caller's
// working directory, if that leads into dir.
func (c *Call) bindWords(s *socket, a sockaddr, dir *sys.FD) error {
	// Before the thread is confined, because it may look at no process then.
	if _, err := c.readStatus(); err != nil {
		return err
	}
	cwd, err := c.Dir(unix.AT_FDCWD)
	if err != nil {
		return err
	}
	defer cwd.Close()
	if err := c.onlySocketsIn(dir); err != nil {
		return err
	}
	return c.AsCreatorIn(cwd, func() error { return sys.RawBind(s.Int(), a.raw) })
}

// onlySocketsIn confines the calling thread so that the only place it can make
// a socket in is dir. There is no way back: the thread ends after this call.
func (c *Call) onlySocketsIn(dir *sys.FD) error {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SOCK}
	n, err := sys.LandlockCreate(&attr, unsafe.Sizeof(attr.Handled_access_fs))
	if err != nil {
		return err
	}
	rules := sys.NewFD(n)
	defer rules.Close()
	if err := sys.LandlockAllow(rules.Int(), dir.Int(), unix.LANDLOCK_ACCESS_FS_MAKE_SOCK); err != nil {
		return err
	}
	c.w.broken = true
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return sys.LandlockRestrict(rules.Int())
}
