package supervisor

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

func openHandlers() []answer {
	return []answer{
		{"open", opens(at{cwd, 0}, func(c *Call) (opening, error) { return plainOpening(c.Arg(1), c.Arg(2)), nil })},
		{"openat", opens(at{0, 1}, func(c *Call) (opening, error) { return plainOpening(c.Arg(2), c.Arg(3)), nil })},
		{"creat", opens(at{cwd, 0}, func(c *Call) (opening, error) {
			return plainOpening(unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, c.Arg(1)), nil
		})},
		{"openat2", opens(at{0, 1}, openHow)},
	}
}

// createTries bounds how often a name may appear and vanish between looking
// and creating.
const createTries = 32

// opening is what an open asks for.
type opening struct {
	flags, mode, resolve uint64
}

const (
	pathFlags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_PATH
	openFlags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND | unix.O_NONBLOCK |
		unix.O_DSYNC | unix.O_ASYNC | unix.O_DIRECT | 0x8000 /* O_LARGEFILE */ | unix.O_DIRECTORY | unix.O_NOFOLLOW |
		unix.O_NOATIME | unix.O_CLOEXEC | unix.O_SYNC | unix.O_PATH | unix.O_TMPFILE | unix.O_LARGEFILE
)

// plainOpening is open's and openat's: what they do not know they ignore.
func plainOpening(flags, mode uint64) opening {
	flags = uint64(uint32(flags)) & openFlags
	if flags&unix.O_PATH != 0 {
		flags &= pathFlags
	}
	return opening{flags: flags, mode: mode & 0o7777}
}

// openHow copies the structure of openat2. What is beyond the known fields must
// be zero.
func openHow(c *Call) (opening, error) {
	const known = unix.SizeofOpenHow
	size := c.Arg(3)
	switch {
	case size < known:
		return opening{}, unix.EINVAL
	case size > 4096:
		return opening{}, unix.E2BIG
	}
	b, err := c.Bytes(c.Arg(2), int(size))
	if err != nil {
		return opening{}, err
	}
	if len(bytes.Trim(b[known:], "\x00")) > 0 {
		return opening{}, unix.E2BIG
	}
	u := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	o := opening{flags: u(0), mode: u(1), resolve: u(2)}
	creates := o.flags&unix.O_CREAT != 0 || o.flags&unix.O_TMPFILE == unix.O_TMPFILE
	switch {
	case o.flags&^openFlags != 0, o.flags&unix.O_PATH != 0 && o.flags&^pathFlags != 0,
		o.mode&^0o7777 != 0, !creates && o.mode != 0,
		o.resolve&unix.RESOLVE_BENEATH != 0 && o.resolve&unix.RESOLVE_IN_ROOT != 0:
		return o, unix.EINVAL
	case o.resolve&resolveCached != 0:
		return o, unix.EAGAIN // always allowed: the caller tries again without
	}
	return o, nil
}

// resolveCached is RESOLVE_CACHED.
const resolveCached = 0x20

func (o opening) has(bit uint64) bool { return o.flags&bit == bit }

func (o opening) reads() bool  { return o.flags&unix.O_ACCMODE != unix.O_WRONLY }
func (o opening) writes() bool { return o.flags&unix.O_ACCMODE != unix.O_RDONLY }

// needs is rights.ForOpen without what no mount can tell at open: an open file
// without Seek or Fsync is refused these calls, not the opening.
func (o opening) needs() rights.Set {
	return rights.ForOpen(rights.OpenMode{
		Read: o.reads(), Write: o.writes(), Truncate: o.has(unix.O_TRUNC), Append: true,
		Path: o.has(unix.O_PATH), Tmpfile: o.has(unix.O_TMPFILE),
	})
}

// needsToMake is needs for a file that is made with O_EXCL: there is nothing in
// it to cut.
func (o opening) needsToMake() rights.Set {
	n := o.needs()
	n.Set(rights.Create)
	n.Clear(rights.Ftruncate)
	return n
}

// needsOf is needs for an object of this mode: only regular files are cut.
func (o opening) needsOf(mode uint32) rights.Set {
	n := o.needs()
	if !isType(mode, unix.S_IFREG) {
		n.Clear(rights.Ftruncate)
	}
	return n
}

func opens(a at, decode func(*Call) (opening, error)) Handler {
	return func(c *Call) Result {
		o, err := decode(c)
		if err != nil {
			return Fail(err)
		}
		if o.has(unix.O_TMPFILE) && (!o.writes() || o.has(unix.O_CREAT)) ||
			o.flags&unix.O_TMPFILE&^unix.O_DIRECTORY != 0 && !o.has(unix.O_TMPFILE) {
			return Errno(unix.EINVAL)
		}
		if o.has(unix.O_CREAT) && o.has(unix.O_DIRECTORY) {
			return Errno(unix.EINVAL)
		}
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		fd, err := o.open(c, n)
		if err != nil {
			return Fail(err)
		}
		return FD(fd, o.has(unix.O_CLOEXEC))
	}
}

// open walks n and opens what is there. A name that is to be created is tried
// again when it appears meanwhile.
func (o opening) open(c *Call, n named) (*sys.FD, error) {
	opts := lookup.Options{Follow: !o.has(unix.O_NOFOLLOW), Restrict: o.resolve}
	if o.has(unix.O_CREAT) {
		opts.Mode = lookup.Create
		opts.Follow = opts.Follow && !o.has(unix.O_EXCL)
	}
	for range createTries {
		obj, err := n.find(c, opts)
		if err != nil {
			return nil, err
		}
		fd, again, err := o.take(c, obj)
		obj.Close()
		if !again {
			return fd, err
		}
	}
	return nil, unix.EAGAIN
}

// take opens or creates what the walk found. again says that it changed.
func (o opening) take(c *Call, obj *lookup.Object) (fd *sys.FD, again bool, err error) {
	if o.has(unix.O_CREAT) && strings.HasSuffix(obj.Name, "/") {
		return nil, false, unix.EISDIR
	}
	if obj.FD() < 0 {
		fd, err = o.create(c, obj)
		return fd, err == unix.EEXIST && !o.has(unix.O_EXCL), err
	}
	if o.has(unix.O_CREAT | unix.O_EXCL) {
		return nil, false, unix.EEXIST
	}
	fd, err = o.existing(c, obj)
	return fd, false, err
}

func (o opening) create(c *Call, obj *lookup.Object) (*sys.FD, error) {
	if err := lacks(&obj.Dir, o.needsToMake(), unix.EACCES); err != nil {
		return nil, err
	}
	if obj.Dir.Entry.Kind == plan.Proc {
		return nil, unix.ENOENT
	}
	var n int
	err := c.AsCreator(func() error {
		return sys.Retry(func() (err error) {
			flags := int(o.flags) | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_NOCTTY | unix.O_CLOEXEC
			n, err = unix.Openat(obj.DirFD(), obj.Name, flags, uint32(o.mode))
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
func (o opening) existing(c *Call, obj *lookup.Object) (*sys.FD, error) {
	mode, err := modeOf(obj.FD())
	if err != nil {
		return nil, err
	}
	if err := o.fits(mode); err != nil {
		return nil, err
	}
	if err := o.allowed(c, obj, mode); err != nil {
		return nil, err
	}
	if err := stickyCreate(c, o, obj); err != nil {
		return nil, err
	}
	flags := int(o.flags)&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW) | unix.O_NOCTTY | unix.O_CLOEXEC
	if o.has(unix.O_PATH) {
		// A descriptor without access cannot be put into another process. One
		// for reading can do all that it could, where reading is granted.
		flags = flags&^unix.O_PATH | unix.O_RDONLY | unix.O_NONBLOCK
		if !isType(mode, unix.S_IFDIR) && !isType(mode, unix.S_IFREG) {
			return nil, unix.EACCES
		}
	}
	if err := c.names().beforeOpen(&obj.Place); err != nil {
		return nil, err
	}
	var n int
	name := sys.FDName(obj.FD())
	if isType(mode, unix.S_IFREG) || isType(mode, unix.S_IFDIR) || o.has(unix.O_NONBLOCK) {
		as := c.As
		if o.has(unix.O_TMPFILE) {
			as = c.AsCreator
		}
		err = sys.Retry(func() error {
			return as(func() (err error) { n, err = unix.Open(name, flags, uint32(o.mode)); return err })
		})
	} else {
		c.Yield() // a FIFO waits for its other end
		err = c.Blocking(func() error {
			return c.As(func() (err error) { n, err = unix.Open(name, flags, 0); return err })
		})
	}
	if err != nil {
		return nil, err
	}
	return sys.NewFD(n), nil
}

// fits refuses what no rights can make right.
func (o opening) fits(mode uint32) error {
	switch {
	case isType(mode, unix.S_IFLNK):
		if o.has(unix.O_PATH) {
			// Such a descriptor cannot be handed over. The errno is the one by
			// which tar and cp know that a link's mode cannot be changed.
			return unix.EOPNOTSUPP
		}
		return unix.ELOOP
	case isType(mode, unix.S_IFDIR):
		if o.has(unix.O_CREAT) || o.writes() && !o.has(unix.O_TMPFILE) {
			return unix.EISDIR
		}
	case o.has(unix.O_DIRECTORY):
		return unix.ENOTDIR
	case isType(mode, unix.S_IFSOCK):
		return unix.ENXIO
	}
	return nil
}

// allowed judges an open of an existing object.
func (o opening) allowed(c *Call, obj *lookup.Object, mode uint32) error {
	place := &obj.Place
	if obj.Magic != nil {
		return o.reopens(c, obj, mode)
	}
	if place.Entry != nil && place.Entry.Kind == plan.Proc {
		return o.opensProc(place)
	}
	device := isType(mode, unix.S_IFCHR) || isType(mode, unix.S_IFBLK)
	if device && (place.Entry == nil || place.Entry.Kind != plan.Device) {
		return unix.EACCES // as on a mount without devices
	}
	if device {
		if err := c.ownTerminal(obj.FD()); err != nil {
			return err
		}
	}
	return lacks(place, o.needsOf(mode), unix.EACCES)
}

// reopens judges an open through a link of /proc: it gives no more than the
// descriptor has, or the grant.
func (o opening) reopens(c *Call, obj *lookup.Object, mode uint32) error {
	if !obj.Outside && lacks(&obj.Place, o.needsOf(mode), unix.EACCES) == nil &&
		!isType(mode, unix.S_IFCHR) && !isType(mode, unix.S_IFBLK) {
		return nil
	}
	have, err := c.access(obj.Magic.Name, obj.FD())
	if err != nil {
		return err
	}
	if o.has(unix.O_TRUNC) && isType(mode, unix.S_IFREG) {
		// A descriptor for writing whose grant lacks this cannot be cut either.
		entry, err := c.names().entryOf(obj.FD())
		if err != nil {
			return err
		}
		if entry != nil && !entry.Rights.IsSet(rights.Ftruncate) {
			return unix.EACCES
		}
	}
	if o.has(unix.O_PATH) || o.has(unix.O_TMPFILE) || o.reads() && !have.read || (o.writes() || o.has(unix.O_TRUNC)) && !have.write {
		return unix.EACCES
	}
	return nil
}

// ownTerminal refuses /dev/tty to a caller that has another controlling
// terminal than the supervisor, or none: the kernel would open the
// supervisor's.
func (c *Call) ownTerminal(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
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

// stickyCreate is what fs.protected_fifos and fs.protected_regular say about
// O_CREAT of somebody else's file in a directory like /tmp.
func stickyCreate(c *Call, o opening, obj *lookup.Object) error {
	if !o.has(unix.O_CREAT) || obj.DirFD() < 0 {
		return nil
	}
	var dir, st unix.Stat_t
	if err := unix.Fstat(obj.DirFD(), &dir); err != nil {
		return err
	}
	if err := unix.Fstat(obj.FD(), &st); err != nil {
		return err
	}
	const shared = unix.S_ISVTX | unix.S_IWOTH
	if dir.Mode&shared != shared || st.Uid == dir.Uid {
		return nil
	}
	id, err := c.Credentials()
	if err != nil || st.Uid == id.FSUID {
		return err
	}
	if isType(st.Mode, unix.S_IFREG) && protects("protected_regular") || isType(st.Mode, unix.S_IFIFO) && protects("protected_fifos") {
		return unix.EACCES
	}
	return nil
}
