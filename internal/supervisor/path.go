package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// at says where a call keeps a directory descriptor and a name. A dir of cwd
// means that the call has no directory argument.
type at struct{ dir, name int }

const cwd = -1

// named is a name as one call gave it, copied once.
type named struct {
	dir   int32
	name  string
	start *Start // what was judged of it before, nil for nothing
}

func (a at) dirfd(c *Call) int32 {
	if a.dir == cwd {
		return unix.AT_FDCWD
	}
	return c.Fd(a.dir)
}

func (a at) read(c *Call) (named, error) {
	if n := a.itself(c); n.start != nil {
		n.name = n.start.Name
		return n, nil
	}
	name, err := c.Path(a.name)
	return named{dir: a.dirfd(c), name: name}, err
}

// itself is the directory, for a call without a name.
func (a at) itself(c *Call) named { return named{dir: a.dirfd(c), start: c.start(a.dir)} }

// readEmpty is read for calls that take AT_EMPTY_PATH: a null pointer is an
// empty name then.
func (a at) readEmpty(c *Call, flags uint64) (named, error) {
	if flags&unix.AT_EMPTY_PATH != 0 && c.Arg(a.name) == 0 {
		return a.itself(c), nil
	}
	return a.read(c)
}

// find walks n.
func (n named) find(c *Call, opts lookup.Options) (*lookup.Object, error) {
	return n.start.found(c.names().walk(c, n, n.start.walks(opts)))
}

// object is what a call is to be done to.
type object struct {
	lookup.Place
	fd    int
	close func()
	magic *lookup.ProcStep
}

// target finds the object of n. With AT_EMPTY_PATH and an empty name it is what
// the descriptor means.
func (n named) target(c *Call, flags uint64, follow bool) (object, error) {
	if n.name == "" && flags&unix.AT_EMPTY_PATH != 0 {
		return n.descriptor(c)
	}
	obj, err := n.find(c, lookup.Options{Follow: follow})
	if err != nil {
		return object{}, err
	}
	return object{Place: obj.Place, fd: obj.FD(), close: obj.Close, magic: obj.Magic}, nil
}

// descriptor is the object of the caller's descriptor n.dir itself.
func (n named) descriptor(c *Call) (object, error) {
	if n.start != nil && n.start.Dir != nil {
		return n.start.descriptor(c)
	}
	if n.dir == unix.AT_FDCWD {
		base, fd, err := c.names().workingDir(c)
		if err != nil {
			return object{}, err
		}
		return object{Place: base.Place, fd: fd.Int(), close: func() { fd.Close() }}, nil
	}
	fd, err := c.Dup(n.dir)
	if err != nil {
		return object{}, err
	}
	return c.located(fd)
}

// located is the object behind fd, which it takes over.
func (c *Call) located(fd *sys.FD) (object, error) {
	place, err := c.names().ns.Locate(fd.Int())
	if err != nil {
		fd.Close()
		return object{}, err
	}
	return object{Place: place, fd: fd.Int(), close: func() { fd.Close() }}, nil
}

// lacks returns nil when place grants need, else the errno Linux would have.
func lacks(place *lookup.Place, need rights.Set, otherwise unix.Errno) error {
	return refusal(place.Rights(), need, place.ReadOnly() && !place.Outside, otherwise)
}

// refusal returns nil when need is granted, else the errno Linux would have: EROFS
// for a change where nothing at all may be changed, or otherwise.
func refusal(granted, need rights.Set, readOnly bool, otherwise unix.Errno) error {
	switch {
	case granted.Contains(need):
		return nil
	case readOnly && !plan.ReadOnly(need):
		return unix.EROFS
	}
	return otherwise
}

// onObject makes the handler of a call that does one thing to what a name
// means.
func onObject(a at, flags func(*Call) (uint64, bool), do func(*Call, object) error) Handler {
	return func(c *Call) Result {
		bits, follow := flags(c)
		n, err := a.readEmpty(c, bits)
		if err != nil {
			return Fail(err)
		}
		o, err := n.target(c, bits, follow)
		if err != nil {
			return Fail(err)
		}
		defer o.close()
		return Fail(do(c, o))
	}
}

// The flags of a call without a flags argument.
func followed(*Call) (uint64, bool)    { return 0, true }
func notFollowed(*Call) (uint64, bool) { return 0, false }

// atFlags reads AT_ flags from argument i; links are followed unless they say
// AT_SYMLINK_NOFOLLOW.
func atFlags(i int) func(*Call) (uint64, bool) {
	return func(c *Call) (uint64, bool) {
		bits := uint64(uint32(c.Int(i)))
		return bits, bits&unix.AT_SYMLINK_NOFOLLOW == 0
	}
}

// known refuses flags beyond those a call has.
func known(i int, mask uint32, h Handler) Handler {
	return func(c *Call) Result {
		if uint32(c.Int(i))&^mask != 0 {
			return Errno(unix.EINVAL)
		}
		return h(c)
	}
}

// mode returns the type bits of what fd is.
func modeOf(fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	return st.Mode, nil
}

func isType(mode, want uint32) bool { return mode&unix.S_IFMT == want }

// through is the name that reaches the object itself, whatever it is called
// meanwhile.
func (o *object) through() string { return sys.FDName(o.fd) }
