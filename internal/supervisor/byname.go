package supervisor

import (
	"golang.org/x/sys/unix"
)

// nameHandlers answers calls that take a name under the namespaces engine,
// where the kernel carries out most of them itself. These ask when a grant
// withholds a right that no mount and no Landlock rule can withhold.
func nameHandlers() []answer {
	return []answer{
		{"chmod", onName(at{cwd, 0}, followed, toChmod, chmodTo(1))},
		{"fchmodat", onName(at{0, 1}, followed, toChmod, chmodTo(2))},
		{"fchmodat2", known(3, linkFlags, onName(at{0, 1}, atFlags(3), toChmod, chmodTo(2)))},
		{"chown", onName(at{cwd, 0}, followed, toChown, chownTo(1))},
		{"lchown", onName(at{cwd, 0}, notFollowed, toChown, chownTo(1))},
		{"fchownat", known(4, linkFlags, onName(at{0, 1}, atFlags(4), toChown, chownTo(2)))},
		{"utime", onName(at{cwd, 0}, followed, toSetTimes, timesTo(1, secondsPair))},
		{"utimes", onName(at{cwd, 0}, followed, toSetTimes, timesTo(1, Timevals))},
		{"futimesat", onNameOrFD(at{0, 1}, noFlags, toSetTimes, timesTo(2, Timevals))},
		{"utimensat", known(3, linkFlags, onNameOrFD(at{0, 1}, atFlags(3), toSetTimes, timesTo(2, Timespecs)))},
		{"truncate", onName(at{cwd, 0}, followed, toTruncate, truncateTo)},
		{"stat", onName(at{cwd, 0}, followed, toStat, statTo(1))},
		{"lstat", onName(at{cwd, 0}, notFollowed, toStat, statTo(1))},
		{"newfstatat", known(3, linkFlags|unix.AT_NO_AUTOMOUNT|syncType, onName(at{0, 1}, atFlags(3), toStat, statTo(2)))},
		{"statx", known(2, linkFlags|unix.AT_NO_AUTOMOUNT|syncType, onName(at{0, 1}, atFlags(2), toStat, statxTo))},
		{"access", onName(at{cwd, 0}, followed, toStat, accessTo(1, -1))},
		{"faccessat", onName(at{0, 1}, followed, toStat, accessTo(2, -1))},
		{"faccessat2", known(3, linkFlags|unix.AT_EACCESS, onName(at{0, 1}, atFlags(3), toStat, accessTo(2, 3)))},
		{"statfs", onName(at{cwd, 0}, followed, toStatfs, statfsTo(1))},

		{"inotify_add_watch", watchCall},

		{"setxattr", nameAttr(at{cwd, 0}, followed, setValue, 1, plainArgs(2, 3, 4))},
		{"lsetxattr", nameAttr(at{cwd, 0}, notFollowed, setValue, 1, plainArgs(2, 3, 4))},
		{"setxattrat", known(2, linkFlags, nameAttr(at{0, 1}, atFlags(2), setValue, 3, structArgs(4, 5)))},
		{"getxattr", nameAttr(at{cwd, 0}, followed, getValue, 1, plainArgs(2, 3, -1))},
		{"lgetxattr", nameAttr(at{cwd, 0}, notFollowed, getValue, 1, plainArgs(2, 3, -1))},
		{"getxattrat", known(2, linkFlags, nameAttr(at{0, 1}, atFlags(2), getValue, 3, structArgs(4, 5)))},
		{"listxattr", nameAttr(at{cwd, 0}, followed, listNames, -1, plainArgs(1, 2, -1))},
		{"llistxattr", nameAttr(at{cwd, 0}, notFollowed, listNames, -1, plainArgs(1, 2, -1))},
		{"listxattrat", known(2, linkFlags, nameAttr(at{0, 1}, atFlags(2), listNames, -1, plainArgs(3, 4, -1)))},
		{"removexattr", nameAttr(at{cwd, 0}, followed, removeName, 1, plainArgs(-1, -1, -1))},
		{"lremovexattr", nameAttr(at{cwd, 0}, notFollowed, removeName, 1, plainArgs(-1, -1, -1))},
		{"removexattrat", known(2, linkFlags, nameAttr(at{0, 1}, atFlags(2), removeName, 3, plainArgs(-1, -1, -1)))},
	}
}

// subjectOf finds what n means; with AT_EMPTY_PATH and an empty name, the
// object of the caller's descriptor.
func (c *Call) subjectOf(n named, bits uint64, follow bool) (*subject, error) {
	if n.name == "" && bits&unix.AT_EMPTY_PATH != 0 {
		return c.dirSubject(n.dir)
	}
	var how Walk
	if !follow {
		how = NoFollow
	}
	f, err := c.s.namei.Resolve(c, n.dir, n.name, how)
	if err != nil {
		return nil, err
	}
	f.Parent.Close()
	return &subject{FD: f.Object, entry: f.Entry}, nil
}

// dirSubject is the object of descriptor dir, or the working directory.
func (c *Call) dirSubject(dir int32) (*subject, error) {
	if dir != unix.AT_FDCWD {
		return c.subject(dir)
	}
	fd, err := c.Dir(dir)
	if err != nil {
		return nil, err
	}
	s := &subject{FD: fd}
	if s.entry, err = c.s.namei.EntryOf(fd); err != nil {
		fd.Close()
		return nil, err
	}
	return s, nil
}

// onName makes the handler of a call that does one thing to what a name means.
func onName(a at, flags func(*Call) (uint64, bool), n need, do func(*Call, *subject) (int, error)) Handler {
	return func(c *Call) Result {
		bits, follow := flags(c)
		name, err := a.readEmpty(c, bits)
		if err != nil {
			return Fail(err)
		}
		s, err := c.subjectOf(name, bits, follow)
		if err != nil {
			return Fail(err)
		}
		defer s.Close()
		return run(c, n, s, do)
	}
}

// onNameOrFD is onName for calls in which a null name means the descriptor.
func onNameOrFD(a at, flags func(*Call) (uint64, bool), n need, do func(*Call, *subject) (int, error)) Handler {
	byName := onName(a, flags, n, do)
	return func(c *Call) Result {
		if c.Arg(a.name) != 0 {
			return byName(c)
		}
		if bits, _ := flags(c); bits != 0 {
			return Errno(unix.EINVAL)
		}
		s, err := c.subject(c.Fd(a.dir))
		if err != nil {
			return Fail(err)
		}
		defer s.Close()
		if s.flags&unix.O_PATH != 0 {
			return Errno(unix.EBADF)
		}
		return run(c, n, s, do)
	}
}

func nameAttr(a at, flags func(*Call) (uint64, bool), op attr, nameArg int, args func(*Call) (attrArgs, error)) Handler {
	return func(c *Call) Result {
		bits, follow := flags(c)
		n, err := a.readEmpty(c, bits)
		if err != nil {
			return Fail(err)
		}
		s, err := c.subjectOf(n, bits, follow)
		if err != nil {
			return Fail(err)
		}
		defer s.Close()
		return op.on(c, s, nameArg, args)
	}
}

func timesTo(arg int, read func(*Call, uint64) ([]unix.Timespec, error)) func(*Call, *subject) (int, error) {
	return func(c *Call, s *subject) (int, error) {
		ts, err := read(c, c.Arg(arg))
		if err != nil {
			return 0, err
		}
		return 0, c.As(func() error { return unix.UtimesNanoAt(s.Int(), "", ts, unix.AT_EMPTY_PATH) })
	}
}

func truncateTo(c *Call, s *subject) (int, error) {
	size := int64(c.Arg(1))
	if size < 0 {
		return 0, unix.EINVAL
	}
	return 0, c.truncate(s.Int(), size)
}

func statxTo(c *Call, s *subject) (int, error) { return 0, c.statx(s.Int()) }

func accessTo(arg, flags int) func(*Call, *subject) (int, error) {
	return func(c *Call, s *subject) (int, error) { return 0, c.mayAccess(s.Int(), arg, flags) }
}

func watchCall(c *Call) Result {
	mask := uint32(c.Int(2))
	in, err := c.DupFull(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer in.Close()
	return onName(at{cwd, 1}, func(*Call) (uint64, bool) { return 0, mask&unix.IN_DONT_FOLLOW == 0 }, toWatch,
		func(c *Call, s *subject) (wd int, err error) {
			err = c.file(s.Int(), func(name string) (err error) {
				wd, err = unix.InotifyAddWatch(in.Int(), name, mask&^unix.IN_DONT_FOLLOW)
				return err
			})
			return wd, err
		})(c)
}
