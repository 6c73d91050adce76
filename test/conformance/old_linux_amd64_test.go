package conformance

import "golang.org/x/sys/unix"

// oldDrivers are of calls that only old architectures have.
func oldDrivers() []driver {
	return []driver{
		{op: "getdents", make: onDirAsFD(func(fd int) error { return try(unix.SYS_GETDENTS, uintptr(fd), at(&[1024]byte{}), 1024) })},
		{op: "futimesat", form: "a name", when: []string{"a path is given"}, asks: true,
			make: onDir(func(dir int) error { return try(unix.SYS_FUTIMESAT, uintptr(dir), text("file"), 0) })},
		{op: "futimesat", form: "no name", when: []string{"no path is given"}, make: asDir((*T).file, func(fd int) error {
			return try(unix.SYS_FUTIMESAT, uintptr(fd), 0, 0)
		})},
		{op: "epoll_wait", make: func(*T) call {
			return onFD(need(unix.EpollCreate1(unix.EPOLL_CLOEXEC)), func(fd int) error { return epollWait(unix.SYS_EPOLL_WAIT, fd) })
		}},
		{op: "signalfd", when: []string{"the mask of an existing descriptor changes"}, make: func(*T) call {
			return onFD(signals(), func(fd int) error { return try(unix.SYS_SIGNALFD, uintptr(fd), at(&unix.Sigset_t{}), 8) })
		}},
		{op: "dup2", form: "the old call", asks: true, make: onFile(func(fd int) error { return try(unix.SYS_DUP2, uintptr(fd), uintptr(200+fd)) })},
	}
}

// oldPathCalls name files by paths alone.
func oldPathCalls() map[string]func(path, other uintptr) error {
	return map[string]func(path, other uintptr) error{
		"open":   func(p, _ uintptr) error { return try(unix.SYS_OPEN, p, unix.O_RDONLY, 0) },
		"creat":  func(_, o uintptr) error { return try(unix.SYS_CREAT, o, 0o600) },
		"stat":   func(p, _ uintptr) error { return try(unix.SYS_STAT, p, at(&unix.Stat_t{})) },
		"lstat":  func(p, _ uintptr) error { return try(unix.SYS_LSTAT, p, at(&unix.Stat_t{})) },
		"access": func(p, _ uintptr) error { return try(unix.SYS_ACCESS, p, 0) },
		"chmod":  func(p, _ uintptr) error { return try(unix.SYS_CHMOD, p, 0o600) },
		"chown": func(p, _ uintptr) error {
			return try(unix.SYS_CHOWN, p, uintptr(unix.Geteuid()), uintptr(unix.Getegid()))
		},
		"lchown": func(p, _ uintptr) error {
			return try(unix.SYS_LCHOWN, p, uintptr(unix.Geteuid()), uintptr(unix.Getegid()))
		},
		"utime":    func(p, _ uintptr) error { return try(unix.SYS_UTIME, p, 0) },
		"utimes":   func(p, _ uintptr) error { return try(unix.SYS_UTIMES, p, 0) },
		"mkdir":    func(_, o uintptr) error { return try(unix.SYS_MKDIR, o, 0o700) },
		"mknod":    func(_, o uintptr) error { return try(unix.SYS_MKNOD, o, unix.S_IFIFO|0o600, 0) },
		"symlink":  func(p, o uintptr) error { return try(unix.SYS_SYMLINK, p, o) },
		"link":     func(p, o uintptr) error { return try(unix.SYS_LINK, p, o) },
		"rename":   func(p, o uintptr) error { return try(unix.SYS_RENAME, p, o) },
		"unlink":   func(p, _ uintptr) error { return try(unix.SYS_UNLINK, p) },
		"rmdir":    func(p, _ uintptr) error { return try(unix.SYS_RMDIR, p) },
		"readlink": func(p, _ uintptr) error { return try(unix.SYS_READLINK, p, at(&[99]byte{}), 99) },
	}
}

// oldUntried are operations that this architecture has.
var oldUntried = map[string]string{}

func oldDup2(from, to int) error { return try(unix.SYS_DUP2, uintptr(from), uintptr(to)) }
