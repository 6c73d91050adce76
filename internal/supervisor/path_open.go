package supervisor

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// This file opens, under both engines: one engine's names are found by a walk over the
// plan, the other's by the kernel, and all that is done with what they mean is here.

func openHandlers() []answer {
	return []answer{
		{"open", opens(at{cwd, 0}, func(c *Call) (Opening, error) { return PlainOpening(c.Arg(1), c.Arg(2)), nil })},
		{"openat", opens(at{0, 1}, func(c *Call) (Opening, error) { return PlainOpening(c.Arg(2), c.Arg(3)), nil })},
		{"creat", opens(at{cwd, 0}, func(c *Call) (Opening, error) {
			return PlainOpening(unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, c.Arg(1)), nil
		})},
		{"openat2", opens(at{0, 1}, OpenHow)},
	}
}

// createTries bounds how often a name may appear and vanish between looking
// and creating.
const createTries = 32

// Opening is what an open asks for.
type Opening struct {
	Flags, Mode, Resolve uint64 // as in openat2(2)
}

const (
	pathFlags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_PATH
	openFlags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND | unix.O_NONBLOCK |
		unix.O_DSYNC | unix.O_ASYNC | unix.O_DIRECT | 0x8000 /* O_LARGEFILE */ | unix.O_DIRECTORY | unix.O_NOFOLLOW |
		unix.O_NOATIME | unix.O_CLOEXEC | unix.O_SYNC | unix.O_PATH | unix.O_TMPFILE | unix.O_LARGEFILE
)

// PlainOpening is open's and openat's: what they do not know they ignore.
func PlainOpening(flags, mode uint64) Opening {
	flags = uint64(uint32(flags)) & openFlags
	if flags&unix.O_PATH != 0 {
		flags &= pathFlags
	}
	o := Opening{Flags: flags}
	if o.creates() {
		o.Mode = mode & 0o7777
	}
	return o
}

// OpenHow copies the structure of openat2. What is beyond the known fields must
// be zero.
func OpenHow(c *Call) (Opening, error) {
	const known = unix.SizeofOpenHow
	size := c.Arg(3)
	switch {
	case size < known:
		return Opening{}, unix.EINVAL
	case size > 4096:
		return Opening{}, unix.E2BIG
	}
	b, err := c.Bytes(c.Arg(2), int(size))
	if err != nil {
		return Opening{}, err
	}
	if len(bytes.Trim(b[known:], "\x00")) > 0 {
		return Opening{}, unix.E2BIG
	}
	u := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	o := Opening{Flags: u(0), Mode: u(1), Resolve: u(2)}
	switch {
	case o.Flags&^openFlags != 0, o.Flags&unix.O_PATH != 0 && o.Flags&^pathFlags != 0,
		o.Mode&^0o7777 != 0, !o.creates() && o.Mode != 0,
		o.Resolve&unix.RESOLVE_BENEATH != 0 && o.Resolve&unix.RESOLVE_IN_ROOT != 0:
		return o, unix.EINVAL
	case o.Resolve&resolveCached != 0:
		return o, unix.EAGAIN // always allowed: the caller tries again without
	}
	return o, nil
}

// resolveCached is RESOLVE_CACHED.
const resolveCached = 0x20

// Has reports whether all bits of a flag are set.
func (o Opening) Has(bit uint64) bool { return o.Flags&bit == bit }

func (o Opening) creates() bool { return o.Has(unix.O_CREAT) || o.Has(unix.O_TMPFILE) }

// Changes reports whether a file is made or emptied. The kernel finds a number first, so
// without one neither must happen.
func (o Opening) Changes() bool { return o.Has(unix.O_CREAT) || o.Has(unix.O_TRUNC) }

func (o Opening) reads() bool  { return o.Flags&unix.O_ACCMODE != unix.O_WRONLY }
func (o Opening) writes() bool { return o.Flags&unix.O_ACCMODE != unix.O_RDONLY }

// needs is rights.ForOpen without what no mount can tell at open: an open file
// without Seek or Fsync is refused these calls, not the opening.
func (o Opening) needs() rights.Set {
	return rights.ForOpen(rights.OpenMode{
		Read: o.reads(), Write: o.writes(), Truncate: o.Has(unix.O_TRUNC), Append: true,
		Path: o.Has(unix.O_PATH), Tmpfile: o.Has(unix.O_TMPFILE),
	})
}

// needsToMake is needs for a file that is made with O_EXCL: there is nothing in
// it to cut.
func (o Opening) needsToMake() rights.Set {
	n := o.needs()
	n.Set(rights.Create)
	n.Clear(rights.Ftruncate)
	return n
}

// needsOf is needs for an object of this mode: only regular files are cut.
func (o Opening) needsOf(mode uint32) rights.Set {
	n := o.needs()
	if !isType(mode, unix.S_IFREG) {
		n.Clear(rights.Ftruncate)
	}
	return n
}

// follows reports whether a link that is the last component is followed.
func (o Opening) follows() bool { return !o.Has(unix.O_NOFOLLOW) && !o.Has(unix.O_CREAT|unix.O_EXCL) }

// valid refuses what the kernel refuses before it looks at any name.
func (o Opening) valid() error {
	switch {
	case o.Has(unix.O_TMPFILE) && (!o.writes() || o.Has(unix.O_CREAT)),
		o.Flags&unix.O_TMPFILE&^unix.O_DIRECTORY != 0 && !o.Has(unix.O_TMPFILE),
		o.Has(unix.O_CREAT) && o.Has(unix.O_DIRECTORY):
		return unix.EINVAL
	}
	return nil
}

func opens(a at, decode func(*Call) (Opening, error)) Handler {
	return func(c *Call) Result {
		o, err := c.opening(decode)
		if err == nil {
			err = o.valid()
		}
		if err != nil {
			return Fail(err)
		}
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		fd, err := o.open(c, n)
		if err != nil {
			return Fail(err)
		}
		return FD(fd, o.Has(unix.O_CLOEXEC))
	}
}

// spot is what the name of an open means, held: an object, or where one can be made.
type spot interface {
	FD() int      // of the object, -1 when it is missing
	DirFD() int   // of the last component's directory, -1 where that says nothing
	Last() string // component, with its trailing slash

	// The supervisor is under no Landlock rule: all that is granted is judged here.
	mayOpen(c *Call, o Opening, mode uint32) error
	mayMake(o Opening) error

	Close()
}

// open finds n and opens what is there. A name that is to be created is tried
// again when it appears meanwhile.
func (o Opening) open(c *Call, n named) (*sys.FD, error) {
	if o.Changes() {
		if err := c.HasNumber(); err != nil {
			return nil, err
		}
	}
	for range createTries {
		s, err := c.s.namei.spot(c, n, o)
		if err != nil {
			return nil, err
		}
		fd, again, err := o.take(c, s)
		s.Close()
		if !again {
			return fd, err
		}
	}
	return nil, unix.EAGAIN
}

// take opens or creates what was found. again says that it changed.
func (o Opening) take(c *Call, s spot) (fd *sys.FD, again bool, err error) {
	if o.Has(unix.O_CREAT) && strings.HasSuffix(s.Last(), "/") {
		return nil, false, unix.EISDIR
	}
	if s.FD() < 0 {
		fd, err = o.create(c, s)
		return fd, err == unix.EEXIST && !o.Has(unix.O_EXCL), err
	}
	if o.Has(unix.O_CREAT | unix.O_EXCL) {
		return nil, false, unix.EEXIST
	}
	fd, err = o.existing(c, s)
	return fd, false, err
}

func (o Opening) create(c *Call, s spot) (*sys.FD, error) {
	if err := s.mayMake(o); err != nil {
		return nil, err
	}
	var n int
	err := c.AsCreator(func() error {
		return sys.Retry(func() (err error) {
			flags := int(o.Flags) | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_NOCTTY | unix.O_CLOEXEC
			n, err = unix.Openat(s.DirFD(), s.Last(), flags, uint32(o.Mode))
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return sys.NewFD(n), nil
}

// existing opens the object itself, through our descriptor of it: the name may
// mean something else by now.
func (o Opening) existing(c *Call, s spot) (*sys.FD, error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.FD(), &st); err != nil {
		return nil, err
	}
	if err := o.fits(st.Mode); err != nil {
		return nil, err
	}
	if err := s.mayOpen(c, o, st.Mode); err != nil {
		return nil, err
	}
	if err := c.ownTerminal(&st); err != nil {
		return nil, err
	}
	if o.Has(unix.O_CREAT) && s.DirFD() >= 0 {
		if err := c.mayCreateIn(s.DirFD(), &st); err != nil {
			return nil, err
		}
	}
	flags := int(o.Flags)&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW) | unix.O_NOCTTY | unix.O_CLOEXEC
	plain := isType(st.Mode, unix.S_IFREG) || isType(st.Mode, unix.S_IFDIR)
	if o.Has(unix.O_PATH) {
		// A descriptor without access cannot be put into another process. One
		// for reading can do all that it could, where reading is granted.
		flags = flags&^unix.O_PATH | unix.O_RDONLY | unix.O_NONBLOCK
		if !plain {
			return nil, unix.EACCES
		}
	}
	name, err := c.link(s.FD())
	if err != nil {
		return nil, err
	}
	as := c.As
	if o.Has(unix.O_TMPFILE) {
		as = c.AsCreator
	}
	if !plain && !o.Has(unix.O_NONBLOCK) {
		c.Yield() // a FIFO waits for its other end
	}
	var n int
	err = c.Blocking(func() error {
		return as(func() (err error) { n, err = unix.Open(name, flags, uint32(o.Mode)); return err })
	})
	if err != nil {
		return nil, err
	}
	return sys.NewFD(n), nil
}

// fits refuses what no rights can make right.
func (o Opening) fits(mode uint32) error {
	switch {
	case isType(mode, unix.S_IFLNK):
		if o.Has(unix.O_PATH) {
			// Such a descriptor cannot be handed over. The errno is the one by
			// which tar and cp know that a link's mode cannot be changed.
			return unix.EOPNOTSUPP
		}
		return unix.ELOOP
	case isType(mode, unix.S_IFDIR):
		if o.Has(unix.O_CREAT) || o.writes() && !o.Has(unix.O_TMPFILE) {
			return unix.EISDIR
		}
	case o.Has(unix.O_DIRECTORY):
		return unix.ENOTDIR
	case isType(mode, unix.S_IFSOCK):
		return unix.ENXIO
	}
	return nil
}

// ownTerminal refuses /dev/tty to a caller that has another controlling
// terminal than the supervisor, or none: the kernel would open the
// supervisor's.
func (c *Call) ownTerminal(st *unix.Stat_t) error {
	if unix.Major(uint64(st.Rdev)) != 5 || unix.Minor(uint64(st.Rdev)) != 0 {
		return nil
	}
	mine, err := terminalOf(c.Proc(), "self")
	if err != nil {
		return err
	}
	theirs, err := terminalOf(c.Proc(), procName(c.TID()))
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return err
	}
	if theirs != mine {
		return unix.ENXIO
	}
	return nil
}
