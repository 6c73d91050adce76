package supervisor

import (
	"errors"
	"strings"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// subject is an object whose metadata is looked at or changed.
type subject struct {
	*sys.FD             // a copy of the caller's descriptor, or O_PATH
	entry   *plan.Entry // nil for what no entry covers; the kernel decides there
	flags   int         // of the caller's descriptor; 0 for a name
	copied  bool        // FD shares the caller's open file
}

// need is what an operation on metadata takes: one of the rights, or the errno.
type need struct {
	anyOf   []rights.Right
	refused unix.Errno
}

// allow judges a subject by the grant it lies under.
func (n need) allow(c *Call, s *subject) error {
	if s.entry == nil {
		return nil
	}
	for _, r := range n.anyOf {
		if s.entry.Rights.IsSet(r) {
			return nil
		}
	}
	c.deny(s.entry, n.anyOf[0], "metadata")
	if n.refused == unix.EPERM && plan.ReadOnly(s.entry.Rights) {
		return unix.EROFS
	}
	return n.refused
}

// onFD makes the handler of a call on descriptor argument 0. A descriptor
// without access (O_PATH) is EBADF to it, unless the call takes such.
func onFD(n need, takesPath bool, do func(*Call, *subject) (int, error)) Handler {
	return func(c *Call) Result {
		s, err := c.subject(c.Fd(0))
		if err != nil {
			return Fail(err)
		}
		defer s.Close()
		if s.flags&unix.O_PATH != 0 && !takesPath {
			return Errno(unix.EBADF)
		}
		return run(c, n, s, do)
	}
}

func run(c *Call, n need, s *subject, do func(*Call, *subject) (int, error)) Result {
	if err := n.allow(c, s); err != nil {
		return Fail(err)
	}
	v, err := do(c, s)
	if err != nil {
		return Fail(err)
	}
	return Value(int64(v))
}

// subject copies the caller's descriptor num and finds the grant it lies under.
func (c *Call) subject(num int32) (*subject, error) {
	s := new(subject)
	fd, err := c.DupFull(num)
	switch {
	case err == nil:
		s.copied = true
		s.flags, err = unix.FcntlInt(uintptr(fd.Int()), unix.F_GETFL, 0)
	case errors.Is(err, errNoGetfd):
		if fd, err = c.Dup(num); err == nil {
			s.flags, err = c.fdFlags(num, fd.Int())
		}
	}
	s.FD = fd
	if err == nil {
		s.entry, err = c.s.namei.EntryOf(fd)
	}
	if err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	return s, nil
}

var (
	toChmod    = need{[]rights.Right{rights.Fchmod}, unix.EPERM}
	toChown    = need{[]rights.Right{rights.Fchown}, unix.EPERM}
	toSetTimes = need{[]rights.Right{rights.Futimes}, unix.EPERM}
	toTruncate = need{[]rights.Right{rights.Ftruncate}, unix.EPERM}
	toStat     = need{[]rights.Right{rights.Fstat}, unix.EACCES}
	toStatfs   = need{[]rights.Right{rights.Fstatfs}, unix.EACCES}
	toWatch    = need{[]rights.Right{rights.InotifyAdd}, unix.EACCES}

	// Without the right to read attributes there are none: programs that copy
	// files take that for an answer.
	toGetAttr    = need{[]rights.Right{rights.ExtattrGet}, unix.EOPNOTSUPP}
	toListAttr   = need{[]rights.Right{rights.ExtattrList}, unix.EOPNOTSUPP}
	toSetAttr    = need{[]rights.Right{rights.ExtattrSet}, unix.EPERM}
	toRemoveAttr = need{[]rights.Right{rights.ExtattrDelete}, unix.EPERM}

	// An access list is a mode, too.
	toGetACL    = need{[]rights.Right{rights.AclGet, rights.ExtattrGet}, unix.EOPNOTSUPP}
	toSetACL    = need{[]rights.Right{rights.AclSet, rights.Fchmod}, unix.EPERM}
	toRemoveACL = need{[]rights.Right{rights.AclDelete, rights.Fchmod}, unix.EPERM}
)

// fdHandlers answers calls on descriptors, under both engines.
func fdHandlers() []answer {
	return []answer{
		{"fchmod", onFD(toChmod, false, chmodTo(1))},
		{"fchown", onFD(toChown, false, chownTo(1))},
		{"fstat", onFD(toStat, true, statTo(1))},
		{"fstatfs", onFD(toStatfs, true, statfsTo(1))},
		{"ftruncate", onFD(toTruncate, false, ftruncateTo)},
		{"fsetxattr", fdAttr(setValue, 1, plainArgs(2, 3, 4))},
		{"fgetxattr", fdAttr(getValue, 1, plainArgs(2, 3, -1))},
		{"flistxattr", fdAttr(listNames, -1, plainArgs(1, 2, -1))},
		{"fremovexattr", fdAttr(removeName, 1, plainArgs(-1, -1, -1))},
		{"flock", flockCall},
	}
}

// file runs f as the caller with a name that leads to the very object behind fd.
func (c *Call) file(fd int, f func(name string) error) error {
	name, err := c.link(fd)
	if err != nil {
		return err
	}
	return c.As(func() error { return sys.Retry(func() error { return f(name) }) })
}

func chmodTo(arg int) func(*Call, *subject) (int, error) {
	return func(c *Call, s *subject) (int, error) {
		return 0, c.chmod(s.Int(), uint32(c.Int(arg)))
	}
}

func (c *Call) chmod(fd int, mode uint32) error {
	typ, err := modeOf(fd)
	if err != nil {
		return err
	}
	if isType(typ, unix.S_IFLNK) {
		return unix.EOPNOTSUPP
	}
	return c.file(fd, func(name string) error { return unix.Chmod(name, mode&0o7777) })
}

func chownTo(arg int) func(*Call, *subject) (int, error) {
	return func(c *Call, s *subject) (int, error) {
		return 0, c.chown(s.Int(), c.Int(arg), c.Int(arg+1))
	}
}

func (c *Call) chown(fd int, uid, gid int32) error {
	return c.As(func() error { return unix.Fchownat(fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH) })
}

func statTo(arg int) func(*Call, *subject) (int, error) {
	return func(c *Call, s *subject) (int, error) {
		return 0, c.stat(s.Int(), c.Arg(arg))
	}
}

func (c *Call) stat(fd int, buf uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return c.Write(buf, sys.Raw(&st))
}

func statfsTo(arg int) func(*Call, *subject) (int, error) {
	return func(c *Call, s *subject) (int, error) {
		var st unix.Statfs_t
		if err := sys.Retry(func() error { return unix.Fstatfs(s.Int(), &st) }); err != nil {
			return 0, err
		}
		return 0, c.Write(c.Arg(arg), sys.Raw(&st))
	}
}

// ftruncateTo needs a descriptor open for writing, which the copy is if the
// caller's is. The caller's limit on file sizes is the caller's alone, so what
// it forbids is refused here.
func ftruncateTo(c *Call, s *subject) (int, error) {
	size := int64(c.Arg(1))
	if size < 0 || !accessOf(s.flags).write {
		return 0, unix.EINVAL
	}
	if !s.copied {
		return 0, c.truncate(s.Int(), size)
	}
	if err := c.mayGrow(s.Int(), size); err != nil {
		return 0, err
	}
	return 0, sys.Retry(func() error { return unix.Ftruncate(s.Int(), size) })
}

func (c *Call) truncate(fd int, size int64) error {
	if err := c.mayGrow(fd, size); err != nil {
		return err
	}
	return c.file(fd, func(name string) error { return unix.Truncate(name, size) })
}

// mayGrow applies the caller's RLIMIT_FSIZE to a new size.
func (c *Call) mayGrow(fd int, size int64) error {
	limit, err := limitOf(c.Proc(), c.TID(), unix.RLIMIT_FSIZE, "Max file size")
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if size > st.Size && uint64(size) > limit.Cur {
		return unix.EFBIG
	}
	return nil
}

// attr is one operation on an extended attribute.
type attr struct {
	plain, acl *need
	do         func(c *Call, s *subject, name string, a attrArgs) (int, error)
}

// needs tells access lists from other attributes.
func (op attr) needs(name string) *need {
	if strings.HasPrefix(name, "system.posix_acl_") {
		return op.acl
	}
	return op.plain
}

func (op attr) on(c *Call, s *subject, nameArg int, args func(*Call) (attrArgs, error)) Result {
	name, err := attrName(c, nameArg)
	if err != nil {
		return Fail(err)
	}
	a, err := args(c)
	if err != nil {
		return Fail(err)
	}
	return run(c, *op.needs(name), s, func(c *Call, s *subject) (int, error) { return op.do(c, s, name, a) })
}

func fdAttr(op attr, nameArg int, args func(*Call) (attrArgs, error)) Handler {
	return func(c *Call) Result {
		s, err := c.subject(c.Fd(0))
		if err != nil {
			return Fail(err)
		}
		defer s.Close()
		if s.flags&unix.O_PATH != 0 {
			return Errno(unix.EBADF)
		}
		return op.on(c, s, nameArg, args)
	}
}

var (
	getValue = attr{&toGetAttr, &toGetACL, func(c *Call, s *subject, name string, a attrArgs) (int, error) {
		return c.intoCaller(s, a, func(file string, buf []byte) (int, error) { return unix.Getxattr(file, name, buf) })
	}}
	listNames = attr{&toListAttr, &toListAttr, func(c *Call, s *subject, _ string, a attrArgs) (int, error) {
		return c.intoCaller(s, a, unix.Listxattr)
	}}
	setValue = attr{&toSetAttr, &toSetACL, func(c *Call, s *subject, name string, a attrArgs) (int, error) {
		if a.size > xattrSizeMax {
			return 0, unix.E2BIG
		}
		value, err := c.Bytes(a.value, int(a.size))
		if err != nil {
			return 0, err
		}
		return 0, c.file(s.Int(), func(file string) error { return unix.Setxattr(file, name, value, a.flags) })
	}}
	removeName = attr{&toRemoveAttr, &toRemoveACL, func(c *Call, s *subject, name string, _ attrArgs) (int, error) {
		return 0, c.file(s.Int(), func(file string) error { return unix.Removexattr(file, name) })
	}}
)

// intoCaller reads into a buffer of the size the caller has and copies what
// came. A size of 0 only asks how much there is.
func (c *Call) intoCaller(s *subject, a attrArgs, read func(string, []byte) (int, error)) (n int, err error) {
	buf := make([]byte, min(a.size, xattrSizeMax))
	err = c.file(s.Int(), func(file string) (err error) { n, err = read(file, buf); return err })
	if err != nil || len(buf) == 0 {
		return n, err
	}
	return n, c.Write(a.value, buf[:n])
}

// flockCall looks whether the grant lets others be locked out. A shared lock
// needs no more than the open file. Refused as on a file system that wants a
// descriptor open for writing.
func flockCall(c *Call) Result {
	how := int(c.Int(1))
	if how&^unix.LOCK_NB != unix.LOCK_EX {
		return Continue("a shared lock, or none: nothing was looked at but registers")
	}
	fd, err := c.DupFull(c.Fd(0))
	copied := err == nil
	if errors.Is(err, errNoGetfd) {
		fd, err = c.Dup(c.Fd(0))
	}
	if err != nil {
		return Fail(err)
	}
	defer fd.Close()
	entry, err := c.s.namei.EntryOf(fd)
	if err != nil {
		return Fail(err)
	}
	if entry != nil && !entry.Rights.IsSet(rights.Flock) {
		c.deny(entry, rights.Flock, "lock")
		return Errno(unix.EBADF)
	}
	if !copied {
		return Continue("descriptors cannot be copied here; who swaps one in between locks another file that it holds " +
			"open, and locks are advisory")
	}
	return Fail(c.lock(fd, how))
}

// lock locks the caller's open file through our copy of its descriptor: such a
// lock is the open file's, and stays when the copy is closed. It was judged, so
// no other descriptor that comes under the number meanwhile is locked.
func (c *Call) lock(fd *sys.FD, how int) error {
	err := sys.Retry(func() error { return unix.Flock(fd.Int(), how|unix.LOCK_NB) })
	if err != unix.EWOULDBLOCK || how&unix.LOCK_NB != 0 {
		return err
	}
	c.Yield()
	return c.Blocking(func() error { return unix.Flock(fd.Int(), how) })
}
