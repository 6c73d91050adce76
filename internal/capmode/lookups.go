package capmode

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// nameAnswers answers the calls that look names up beneath a directory.
func (w *Warden) nameAnswers() []answer {
	rows := []answer{
		{[]string{"openat"}, openAt},
		{[]string{"openat2"}, openAt2},
		{[]string{"linkat"}, linkAt},
		{[]string{"renameat", "renameat2"}, renameAt},
		{[]string{"name_to_handle_at"}, handleAt},
		{[]string{"fanotify_mark"}, markAt},
		{[]string{"open_by_handle_at", "open_tree", "open_tree_attr", "file_getattr", "file_setattr",
			"setxattrat", "getxattrat", "listxattrat", "removexattrat"}, onlyGlobal},
	}
	for call, n := range nameCalls() {
		rows = append(rows, answer{[]string{call}, n.answer})
	}
	return rows
}

// nameCalls are the calls with one name that make no descriptor.
func nameCalls() map[string]nameCall {
	return map[string]nameCall{
		"newfstatat": {0, 1, atFlags{3, statFlags}, orNull, needing(rights.Fstatat), statAt},
		"statx":      {0, 1, atFlags{2, statFlags}, orNull, needing(rights.Fstatat), statxAt},
		"faccessat":  {0, 1, flagless, named, needing(rights.Fstatat), accessAt},
		"faccessat2": {0, 1, atFlags{3, linkFlags | unix.AT_EACCESS}, named, needing(rights.Fstatat), accessAt},
		"readlinkat": {0, 1, flagless, onlyEmpty, needing(rights.Lookup), readlinkAt},
		"fchmodat":   {0, 1, flagless, named, needing(rights.Fchmodat), chmodAt},
		"fchmodat2":  {0, 1, atFlags{3, linkFlags}, named, needing(rights.Fchmodat), chmodAt},
		"fchownat":   {0, 1, atFlags{4, linkFlags}, named, needing(rights.Fchownat), chownAt},
		"utimensat":  {0, 1, atFlags{3, linkFlags}, onlyNull, needing(rights.Futimesat), utimesAt(supervisor.Timespecs)},
		"futimesat":  {0, 1, flagless, onlyNull, needing(rights.Futimesat), utimesAt(supervisor.Timevals)},
		"mkdirat":    {0, 1, flagless, named, needing(rights.Mkdirat), mkdirAt},
		"mknodat":    {0, 1, flagless, named, mknodNeeds, mknodAt},
		"symlinkat":  {1, 2, flagless, named, needing(rights.Symlinkat), symlinkAt},
		"unlinkat":   {0, 1, atFlags{2, unix.AT_REMOVEDIR}, named, needing(rights.Unlinkat), unlinkAt},
	}
}

// What most calls take of AT_ flags, and those that tell about files.
const (
	linkFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH
	statFlags = linkFlags | unix.AT_NO_AUTOMOUNT | statxSync
)

// onlyGlobal is for calls that are not carried out here: newer than what callers
// can rely on, or none of capability mode's.
func onlyGlobal(c *call) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, c.Fd(0))
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	switch {
	case c.p.table.Mode():
		return supervisor.Errno(eCapMode)
	case !caps.IsFull():
		return supervisor.Errno(eNotCapable)
	}
	return c.goOn(only(c.Fd(0)), "outside capability mode, beneath a directory that is not limited, nothing is refused")
}

const handleFID = 0x200 // AT_HANDLE_FID

// handleAt turns a name into a handle, outside capability mode. Of the flags that came after
// Linux 6.5 it takes the one that changes nothing about the arguments.
func handleAt(c *call) supervisor.Result {
	if c.p.table.Mode() {
		return supervisor.Errno(eCapMode)
	}
	const flags = 4
	known := atFlags{flags, unix.AT_SYMLINK_FOLLOW | unix.AT_EMPTY_PATH | handleFID}
	n := nameCall{dir: 0, name: 1, flags: known, need: needing(rights.Fstatat), do: func(c *call, p *place, name string) (int64, error) {
		f, done, err := target(c, p, name, c.flag(flags, unix.AT_SYMLINK_FOLLOW))
		if err != nil {
			return 0, err
		}
		defer done()
		h, mount, err := unix.NameToHandleAt(f.Int(), "", unix.AT_EMPTY_PATH|int(c.Int(flags))&handleFID)
		if err != nil {
			return 0, err
		}
		room, err := c.Bytes(c.Arg(2), 4)
		if err != nil {
			return 0, err
		}
		head := binary.NativeEndian.AppendUint32(nil, uint32(h.Size()))
		if int(binary.NativeEndian.Uint32(room)) < h.Size() {
			return 0, errors.Join(unix.EOVERFLOW, c.Write(c.Arg(2), head))
		}
		head = binary.NativeEndian.AppendUint32(head, uint32(h.Type()))
		if err := c.Write(c.Arg(2), append(head, h.Bytes()...)); err != nil {
			return 0, err
		}
		return 0, c.Write(c.Arg(3), binary.NativeEndian.AppendUint32(nil, uint32(mount)))
	}}
	return n.answer(c)
}

// markAt is fanotify_mark. The kernel looks the name up again, so beneath a limited
// directory, and in capability mode, there is none.
func markAt(c *call) supervisor.Result {
	const dir, name = 3, 4
	if c.Fd(dir) != unix.AT_FDCWD {
		t := c.table()
		f, caps, err := c.held(t, c.Fd(dir))
		t.Unlock()
		if err != nil {
			return fail(err)
		}
		f.Close()
		if !caps.Rights.IsSet(rights.Fstat) || c.Arg(name) != 0 && (!caps.IsFull() || c.p.table.Mode()) {
			return supervisor.Errno(eNotCapable)
		}
	}
	return judged(c)
}

// target is what a call with one name is done to: what the name means, or the
// descriptor itself for no name.
func target(c *call, p *place, name string, follow bool) (*sys.FD, func(), error) {
	if name == "" {
		return p.FD, func() {}, c.Granted(p.FD)
	}
	f, err := p.object(c, name, follow)
	if err != nil {
		return nil, nil, err
	}
	if err := c.Granted(f); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, func() { f.Close() }, nil
}

func statAt(c *call, p *place, name string) (int64, error) {
	f, done, err := target(c, p, name, !c.flag(3, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil {
		return 0, err
	}
	defer done()
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		return 0, err
	}
	return 0, c.Write(c.Arg(2), sys.Raw(&st))
}

const statxSync = 0x6000 // AT_STATX_SYNC_TYPE

func statxAt(c *call, p *place, name string) (int64, error) {
	f, done, err := target(c, p, name, !c.flag(2, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil {
		return 0, err
	}
	defer done()
	var st unix.Statx_t
	flags := int(c.Int(2))&statxSync | unix.AT_EMPTY_PATH
	if err := sys.Retry(func() error { return unix.Statx(f.Int(), "", flags, int(uint32(c.Int(3))), &st) }); err != nil {
		return 0, err
	}
	return 0, c.Write(c.Arg(4), sys.Raw(&st))
}

func accessAt(c *call, p *place, name string) (int64, error) {
	flags := uint32(0)
	if c.Name == "faccessat2" {
		flags = uint32(c.Int(3))
	}
	f, done, err := target(c, p, name, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
	if err != nil {
		return 0, err
	}
	defer done()
	as := c.AsReal
	if flags&unix.AT_EACCESS != 0 {
		as = c.As
	}
	return 0, as(func() error {
		return unix.Faccessat2(f.Int(), "", uint32(c.Int(2)), unix.AT_EMPTY_PATH|unix.AT_EACCESS)
	})
}

// readlinkAt tells what a link says. What is itself a link the descriptor leads to; those of
// the proc file system, which mean whoever asks, are none here.
func readlinkAt(c *call, p *place, name string) (int64, error) {
	size := c.Int(3)
	if size <= 0 {
		return 0, unix.EINVAL
	}
	f, done := p.FD, func() {}
	if name != "" {
		found, err := p.object(c, name, false)
		if err != nil {
			return 0, err
		}
		f, done = found, func() { found.Close() }
	} else if inProc(f) {
		return 0, unix.ENOENT
	}
	defer done()
	text, err := sys.Readlink(f.Int(), "")
	if err == unix.ENOENT && name != "" {
		err = unix.EINVAL // the errno for an empty name of something that is no link
	}
	if err != nil {
		return 0, err
	}
	text = text[:min(len(text), int(size))]
	return int64(len(text)), c.Write(c.Arg(2), []byte(text))
}

// inProc reports whether f is in the proc file system, or cannot be looked at.
func inProc(f *sys.FD) bool {
	var st unix.Statfs_t
	err := sys.Retry(func() error { return unix.Fstatfs(f.Int(), &st) })
	return err != nil || st.Type == unix.PROC_SUPER_MAGIC
}

// through runs do as the caller with a name that leads to f itself, for calls that
// take no descriptor without access.
func (c *call) through(f *sys.FD, do func(name string) error) error {
	return c.As(func() error { return sys.Retry(func() error { return do(sys.FDName(f.Int())) }) })
}

func chmodAt(c *call, p *place, name string) (int64, error) {
	follow := c.Name == "fchmodat" || !c.flag(3, unix.AT_SYMLINK_NOFOLLOW)
	f, done, err := target(c, p, name, follow)
	if err != nil {
		return 0, err
	}
	defer done()
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return 0, unix.EOPNOTSUPP
	}
	return 0, c.through(f, func(name string) error { return unix.Chmod(name, uint32(c.Int(2))&0o7777) })
}

func chownAt(c *call, p *place, name string) (int64, error) {
	f, done, err := target(c, p, name, !c.flag(4, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil {
		return 0, err
	}
	defer done()
	return 0, c.As(func() error {
		return unix.Fchownat(f.Int(), "", int(c.Int(2)), int(c.Int(3)), unix.AT_EMPTY_PATH)
	})
}

// utimesAt sets times, which read copies. A null name means the descriptor itself, which
// the kernel then takes as futimens does: not without access.
func utimesAt(read func(*supervisor.Call, uint64) ([]unix.Timespec, error)) func(*call, *place, string) (int64, error) {
	return func(c *call, p *place, name string) (int64, error) {
		times, err := read(c.Call, c.Arg(2))
		if err != nil {
			return 0, err
		}
		if c.Arg(1) == 0 {
			if mode, err := unix.FcntlInt(uintptr(p.Int()), unix.F_GETFL, 0); err != nil || mode&unix.O_PATH != 0 {
				return 0, unix.EBADF
			}
		}
		follow := c.Name == "futimesat" || !c.flag(3, unix.AT_SYMLINK_NOFOLLOW)
		f, done, err := target(c, p, name, follow)
		if err != nil {
			return 0, err
		}
		defer done()
		return 0, c.As(func() error { return unix.UtimesNanoAt(f.Int(), "", times, unix.AT_EMPTY_PATH) })
	}
}

func mkdirAt(c *call, p *place, name string) (int64, error) {
	return 0, p.in(c, name, func(dir int, last string) error { return unix.Mkdirat(dir, last, uint32(c.Int(2))) })
}

func mknodAt(c *call, p *place, name string) (int64, error) {
	return 0, p.in(c, name, func(dir int, last string) error {
		return unix.Mknodat(dir, last, uint32(c.Int(2)), int(uint32(c.Int(3))))
	})
}

// symlinkAt makes a link. What it says is looked up by nobody.
func symlinkAt(c *call, p *place, name string) (int64, error) {
	to, err := c.Path(0)
	if err != nil {
		return 0, err
	}
	if to == "" {
		return 0, unix.ENOENT
	}
	return 0, p.in(c, name, func(dir int, last string) error { return unix.Symlinkat(to, dir, last) })
}

func unlinkAt(c *call, p *place, name string) (int64, error) {
	err := p.in(c, name, func(dir int, last string) error { return unix.Unlinkat(dir, last, int(c.Int(2))) })
	if err == unix.EINVAL && c.flag(2, unix.AT_REMOVEDIR) && endsInParent(name) {
		err = unix.ENOTEMPTY // the errno for "..", which was followed
	}
	return 0, err
}

// in runs do, as the caller, with the directory and the last component of name.
func (p *place) in(c *call, name string, do func(dir int, last string) error) error {
	dir, last, err := p.parent(c, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return c.AsCreator(func() error { return sys.Retry(func() error { return do(dir.Int(), last) }) })
}
