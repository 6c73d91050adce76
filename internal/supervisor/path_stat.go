package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

func statHandlers() []answer {
	return []answer{
		{"stat", onObject(at{cwd, 0}, followed, statInto(1))},
		{"lstat", onObject(at{cwd, 0}, notFollowed, statInto(1))},
		{"newfstatat", known(3, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT|syncType,
			onObject(at{0, 1}, atFlags(3), statInto(2)))},
		{"statx", known(2, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT|syncType,
			onObject(at{0, 1}, atFlags(2), statxInto))},
		{"access", onObject(at{cwd, 0}, followed, accesses(1, -1))},
		{"faccessat", onObject(at{0, 1}, followed, accesses(2, -1))},
		{"faccessat2", known(3, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_EACCESS, onObject(at{0, 1}, atFlags(3), accesses(2, 3)))},
		{"readlink", readlinks(at{cwd, 0}, 1, 2)},
		{"readlinkat", readlinks(at{0, 1}, 2, 3)},
		{"statfs", onObject(at{cwd, 0}, followed, statfsInto)},
	}
}

// mayStat asks for Fstat; an own descriptor of something outside may always be
// looked at.
func mayStat(o object) error {
	if o.Outside {
		return nil
	}
	return lacks(&o.Place, rights.Of(rights.Fstat), unix.EACCES)
}

func statInto(buf int) func(*Call, object) error {
	return func(c *Call, o object) error {
		if err := mayStat(o); err != nil {
			return err
		}
		return c.stat(o.fd, c.Arg(buf))
	}
}

func statxInto(c *Call, o object) error {
	if err := mayStat(o); err != nil {
		return err
	}
	return c.statx(o.fd)
}

// statx answers statx, which has one place for its arguments.
func (c *Call) statx(fd int) error {
	var st unix.Statx_t
	flags := int(c.Int(2))&syncType | unix.AT_EMPTY_PATH
	if err := sys.Retry(func() error { return unix.Statx(fd, "", flags, int(uint32(c.Int(3))), &st) }); err != nil {
		return err
	}
	return c.Write(c.Arg(4), sys.Raw(&st))
}

// syncType is AT_STATX_SYNC_TYPE.
const syncType = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

// Mount flags as statfs shows them.
const (
	stReadOnly = 0x1
	stNoSuid   = 0x2
	stNoDev    = 0x4
	stNoExec   = 0x8
	stValid    = 0x20
)

// statfsInto shows the flags the grant would have as a mount.
func statfsInto(c *Call, o object) error {
	if !o.Outside {
		if err := lacks(&o.Place, rights.Of(rights.Fstatfs), unix.EACCES); err != nil {
			return err
		}
	}
	var st unix.Statfs_t
	if err := sys.Retry(func() error { return unix.Fstatfs(o.fd, &st) }); err != nil {
		return err
	}
	flags := st.Flags | stValid | stNoSuid
	if o.ReadOnly() {
		flags |= stReadOnly
	}
	if o.Entry == nil || o.Entry.Kind != plan.Device {
		flags |= stNoDev
	}
	if have := o.Rights(); !have.IsSet(rights.Fexecve) {
		flags |= stNoExec
	}
	st.Flags = flags
	return c.Write(c.Arg(1), sys.Raw(&st))
}

// accesses checks the mode in argument i: the file system's own verdict, and the
// grant's.
func accesses(i, flags int) func(*Call, object) error {
	return func(c *Call, o object) error {
		if err := c.mayAccess(o.fd, i, flags); err != nil {
			return err
		}
		return accessGranted(o, uint32(c.Int(i)))
	}
}

// mayAccess is the file system's verdict about the mode in argument i for the caller's
// real user or, with AT_EACCESS in argument flags, if there is one, for the effective one.
func (c *Call) mayAccess(fd, i, flags int) error {
	mode := uint32(c.Int(i))
	if mode&^7 != 0 {
		return unix.EINVAL
	}
	as := c.AsReal
	if flags >= 0 && c.Int(flags)&unix.AT_EACCESS != 0 {
		as = c.As
	}
	// EACCESS, because the thread's file system ids are whom to ask for;
	// its real ids stay the supervisor's.
	return as(func() error { return unix.Faccessat2(fd, "", mode, unix.AT_EMPTY_PATH|unix.AT_EACCESS) })
}

func accessGranted(o object, mode uint32) error {
	if o.Outside {
		return nil
	}
	typ, err := modeOf(o.fd)
	if err != nil {
		return err
	}
	dir := isType(typ, unix.S_IFDIR)
	if o.Entry != nil && o.Entry.Kind == plan.Proc {
		return accessProc(&o.Place, mode)
	}
	if mode&unix.W_OK != 0 {
		need := rights.Of(rights.Write)
		if dir && !o.ReadOnly() {
			need = rights.Set{} // each way of changing a directory has a right of its own
		}
		if err := lacks(&o.Place, need, unix.EACCES); err != nil {
			return err
		}
	}
	var need rights.Set
	if mode&unix.R_OK != 0 {
		need.Set(rights.Read)
	}
	if mode&unix.X_OK != 0 && isType(typ, unix.S_IFREG) {
		need.Set(rights.Fexecve)
	}
	return lacks(&o.Place, need, unix.EACCES)
}

// readlinks answers with the text of a link as it reads inside the sandbox.
func readlinks(a at, buf, size int) Handler {
	return func(c *Call) Result {
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		room := c.Int(size)
		if room <= 0 {
			return Errno(unix.EINVAL)
		}
		text, err := linkText(c, n)
		if err != nil {
			return Fail(err)
		}
		if len(text) > int(room) {
			text = text[:room]
		}
		if err := c.Write(c.Arg(buf), []byte(text)); err != nil {
			return Fail(err)
		}
		return Value(int64(len(text)))
	}
}

func linkText(c *Call, n named) (string, error) {
	obj, err := n.find(c, lookup.Options{})
	if err != nil {
		return "", err
	}
	defer obj.Close()
	if obj.Entry != nil && obj.Entry.Kind == plan.Proc {
		return (&procView{c: c, p: c.names()}).text(obj.Proc, obj.FD())
	}
	mode, err := modeOf(obj.FD())
	if err != nil {
		return "", err
	}
	if !isType(mode, unix.S_IFLNK) {
		return "", unix.EINVAL
	}
	return sys.Readlink(obj.FD(), "")
}
