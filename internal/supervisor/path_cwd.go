package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

func cwdHandlers() []answer {
	return []answer{
		{"chdir", chdir},
		{"fchdir", fchdir},
		{"getcwd", getcwd},
		{"setrlimit", hidingLabel(0, func(*Call) error { return nil })},
		{"getrlimit", hidingLabel(0, func(c *Call) error { return writeUnlimited(c, c.Arg(1)) })},
		{"prlimit64", hidingLabel(1, func(c *Call) error { return writeUnlimited(c, c.Arg(3)) })},
	}
}

const chdirReason = "a working directory grants nothing: every name that starts there is judged on its own"

func chdir(c *Call) Result {
	n, err := at{cwd, 0}.read(c)
	if err != nil {
		return Fail(err)
	}
	obj, err := n.find(c, lookup.Options{Follow: true})
	if err != nil {
		return Fail(err)
	}
	defer obj.Close()
	place := obj.Place
	if place.Path == "" {
		if place, err = c.names().ns.Locate(obj.FD()); err != nil {
			return Fail(err)
		}
	}
	return enterDir(c, obj.FD(), place, &n)
}

func fchdir(c *Call) Result {
	fd, err := c.Dir(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer fd.Close()
	place, err := c.names().ns.Locate(fd.Int())
	if err != nil {
		return Fail(err)
	}
	return enterDir(c, fd.Int(), place, nil)
}

// enterDir makes the directory fd, found by n or held already, the caller's
// working directory. Where the kernel would arrive at the same directory under
// the same name it does so itself; else the caller is labelled.
func enterDir(c *Call, fd int, place lookup.Place, n *named) Result {
	mode, err := modeOf(fd)
	switch {
	case err != nil:
		return Fail(err)
	case !isType(mode, unix.S_IFDIR):
		return Errno(unix.ENOTDIR)
	case place.Outside:
		return Errno(unix.EACCES)
	}
	if err := lacks(&place, rights.Of(rights.Lookup), unix.EACCES); err != nil {
		return Fail(err)
	}
	err = c.As(func() error { return unix.Faccessat2(fd, "", unix.X_OK, unix.AT_EMPTY_PATH|unix.AT_EACCESS) })
	if err != nil {
		return Fail(err)
	}
	p := c.names()
	if place.Identity() && (n == nil || c.kernelFinds(*n, fd)) {
		if err := setLabel(c, 0); err != nil {
			return Fail(err)
		}
		return Continue(chdirReason)
	}
	id, err := p.labels.add(c.Proc(), fd, place)
	if err != nil {
		return Fail(err)
	}
	if err := setLabel(c, id); err != nil {
		return Fail(err)
	}
	// Executing by a relative name is the kernel's business alone. Where the host
	// has a directory of that very name, it goes there, too, and finds what is
	// granted beneath; the label still decides what every other name means.
	if n != nil && c.kernelArrivesAt(*n, place.Path) {
		return Continue(chdirReason)
	}
	return Value(0)
}

// kernelFinds reports whether the kernel, which walks the host's names for the
// caller, arrives at the object fd by n.
func (c *Call) kernelFinds(n named, fd int) bool {
	got, err := c.kernelWalk(n)
	if err != nil {
		return false
	}
	defer got.Close()
	var a, b unix.Stat_t
	return unix.Fstat(got.Int(), &a) == nil && unix.Fstat(fd, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// kernelArrivesAt reports whether the kernel arrives by n at the host directory
// called name, and the caller may enter it.
func (c *Call) kernelArrivesAt(n named, name string) bool {
	got, err := c.kernelWalk(n)
	if err != nil {
		return false
	}
	defer got.Close()
	if host, err := sys.Readlink(unix.AT_FDCWD, sys.FDName(got.Int())); err != nil || host != name {
		return false
	}
	return c.As(func() error {
		return unix.Faccessat2(got.Int(), "", unix.X_OK, unix.AT_EMPTY_PATH|unix.AT_EACCESS)
	}) == nil
}

// kernelWalk walks n over the host's names with the caller's credentials, from
// the working directory that the kernel knows.
func (c *Call) kernelWalk(n named) (*sys.FD, error) {
	from := unix.AT_FDCWD
	if n.name == "" || n.name[0] != '/' {
		dir, err := c.Dir(n.dir)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		from = dir.Int()
	}
	got := -1
	err := c.As(func() (err error) { got, err = sys.Open(from, n.name, unix.O_PATH, 0, 0); return err })
	return sys.NewFD(got), err
}

func getcwd(c *Call) Result {
	base, fd, err := c.names().workingDir(c)
	if err != nil {
		return Fail(err)
	}
	defer fd.Close()
	if base.Outside || base.Path == "" {
		return Errno(unix.ENOENT)
	}
	text := append([]byte(base.Path), 0)
	if uint64(len(text)) > c.Arg(1) {
		return Errno(unix.ERANGE)
	}
	if err := c.Write(c.Arg(0), text); err != nil {
		return Fail(err)
	}
	return Value(int64(len(text)))
}

// hidingLabel answers limit calls about the resource that carries the label as
// if it were unlimited and could be set. The filter asks about no other.
func hidingLabel(resource int, answer func(*Call) error) Handler {
	return func(c *Call) Result {
		if uint32(c.Arg(resource)) != unix.RLIMIT_LOCKS {
			return Errno(unix.EPERM)
		}
		return Fail(answer(c))
	}
}

func writeUnlimited(c *Call, addr uint64) error {
	if addr == 0 {
		if c.Name == "prlimit64" {
			return nil
		}
		return unix.EFAULT
	}
	lim := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	return c.Write(addr, sys.Raw(&lim))
}
