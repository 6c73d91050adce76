package conformance

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// raw makes a system call by its number.
func raw(nr uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}

// try is raw without the result.
func try(nr uintptr, args ...uintptr) error {
	_, err := raw(nr, args...)
	return err
}

// at returns the address of something that stays where it is until the process
// ends.
func at[V any](v *V) uintptr {
	pinned.Lock()
	defer pinned.Unlock()
	pinned.Pin(v)
	return uintptr(unsafe.Pointer(v))
}

// pinned holds what system calls are given by address.
var pinned struct {
	sync.Mutex
	runtime.Pinner
}

// serial makes names that nothing else has.
var serial atomic.Int32

// text returns the address of a C string.
func text(s string) uintptr {
	b := append([]byte(s), 0)
	return at(&b[0])
}

// iovec returns the address of an array of one vector of n bytes.
func iovec(n int) uintptr {
	b := make([]byte, n)
	v := &unix.Iovec{Base: &b[0]}
	at(&b[0])
	v.SetLen(n)
	return at(v)
}

func setCur(l *unix.Rlimit, n int) { l.Cur = uint64(n) }

// everyRight is all rights.
func everyRight() rights.Set { return rights.All() }

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// The ioctl commands that every descriptor has.
const (
	fionreadCommand = unix.TIOCINQ
	fionbioCommand  = 0x5421
	fioclexCommand  = 0x5451
)

func systemDrivers() []driver {
	return slices.Concat(vectorDrivers(), copyDrivers(), openat2Drivers(), systemNameDrivers(), systemMetadataDrivers(),
		systemFcntlDrivers(), waitDrivers(), queueDrivers(), systemSocketDrivers(), pidfdDrivers(), oldDrivers())
}

func vectorDrivers() []driver {
	minusOne := ^uintptr(0)
	const moves = "RWF_NOAPPEND, or a flag that is not known to leave the offset alone"
	lacking := success.or(is(unix.EOPNOTSUPP)) // the kernel may not have the flag
	appended := func(flags uintptr) func(*T) call {
		return func(t *T) call {
			fd := t.file()
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND)
			stop("append", err)
			return onFD(fd, func(fd int) error { return try(unix.SYS_PWRITEV2, uintptr(fd), iovec(4), 1, minusOne, minusOne, flags) })
		}
	}
	vector := func(nr uintptr, rest ...uintptr) func(*T) call {
		return onFile(func(fd int) error { return try(nr, append([]uintptr{uintptr(fd), iovec(4), 1}, rest...)...) })
	}
	return []driver{
		{op: "readv", make: vector(unix.SYS_READV)},
		{op: "writev", make: vector(unix.SYS_WRITEV)},
		{op: "preadv", make: vector(unix.SYS_PREADV)},
		{op: "pwritev", make: vector(unix.SYS_PWRITEV)},
		{op: "pread64", make: onFile(func(fd int) error { _, err := unix.Pread(fd, make([]byte, 4), 9); return err })},
		{op: "pwrite64", make: onFile(func(fd int) error { _, err := unix.Pwrite(fd, make([]byte, 4), 9); return err })},
		{op: "preadv2", form: "at the offset", make: vector(unix.SYS_PREADV2, minusOne, minusOne, 0)},
		{op: "preadv2", form: "at an offset", when: []string{"the offset is not -1"}, make: vector(unix.SYS_PREADV2, 1, 0, 0)},
		{op: "preadv2", form: "with a new flag", when: []string{moves}, want: &lacking,
			make: vector(unix.SYS_PREADV2, minusOne, minusOne, 1<<30)},
		{op: "pwritev2", form: "at the offset", make: vector(unix.SYS_PWRITEV2, minusOne, minusOne, 0)},
		{op: "pwritev2", form: "at an offset", when: []string{"the offset is not -1 and RWF_APPEND is not set"},
			make: vector(unix.SYS_PWRITEV2, 1, 0, 0)},
		{op: "pwritev2", form: "to append", make: vector(unix.SYS_PWRITEV2, 1, 0, unix.RWF_APPEND)},
		{op: "pwritev2", form: "at the end", make: appended(0)},
		{op: "pwritev2", form: "before the end", when: []string{moves}, want: &lacking, make: appended(unix.RWF_NOAPPEND)},
		{op: "pwritev2", form: "with a new flag", when: []string{moves}, want: &lacking, make: appended(1 << 30)},
		{op: "pwritev2", form: "in sync", when: []string{"RWF_SYNC or RWF_DSYNC"},
			make: vector(unix.SYS_PWRITEV2, minusOne, minusOne, unix.RWF_DSYNC)},
		{op: "getdents64", make: onDirAsFD(func(fd int) error { _, err := unix.Getdents(fd, make([]byte, 1024)); return err })},
		{op: "fdatasync", make: onFile(unix.Fdatasync)},
		{op: "syncfs", make: onFile(unix.Syncfs)},
		{op: "sync_file_range", make: onFile(func(fd int) error { return unix.SyncFileRange(fd, 0, 100, 0) })},
		{op: "fallocate", make: onFile(func(fd int) error { return unix.Fallocate(fd, 0, 0, 8192) })},
		{op: "readahead", make: onFile(func(fd int) error { return try(unix.SYS_READAHEAD, uintptr(fd), 0, 100) })},
	}
}

// copying is a driver of a call from one descriptor to another.
func copying(op, form string, when []string, from, to func(t *T) int, do func(in, out int) error) driver {
	return driver{op: op, form: form, when: when, make: func(t *T) call {
		in, out := from(t), to(t)
		return call{fds: map[string]int{"in": in, "out": out}, do: func() error { return do(in, out) }}
	}}
}

// iocb is of linux/aio_abi.h.
type iocb struct {
	_      [2]uint64
	opcode uint16
	_      int16
	fd     uint32
	buf    uint64
	nbytes uint64
	_      [3]uint64
}

// submitting is a driver of io_submit.
func submitting(form string, opcode uint16, when string) driver {
	return driver{op: "io_submit", form: form, when: []string{when}, asks: true, make: func(t *T) call {
		var ctx uintptr
		stop("io_setup", try(unix.SYS_IO_SETUP, 1, at(&ctx)))
		fd := t.file()
		if opcode == 5 {
			fd = readEnd(t)
		}
		return onFD(fd, func(fd int) error {
			buf := make([]byte, 4)
			c := &iocb{opcode: opcode, fd: uint32(fd), buf: uint64(at(&buf[0])), nbytes: 4}
			switch opcode {
			case 2, 3:
				c.buf, c.nbytes = 0, 0
			case 5:
				c.buf, c.nbytes = unix.POLLIN, 0
			}
			at(c)
			return try(unix.SYS_IO_SUBMIT, ctx, 1, at(&c))
		})
	}}
}

func copyDrivers() []driver {
	offset := []string{"its offset is given"}
	return []driver{
		copying("copy_file_range", "at the offsets", nil, (*T).file, (*T).file, func(in, out int) error {
			_, err := unix.CopyFileRange(in, nil, out, nil, 4, 0)
			return err
		}),
		copying("copy_file_range", "at offsets", offset, (*T).file, (*T).file, func(in, out int) error {
			var from, to int64
			_, err := unix.CopyFileRange(in, &from, out, &to, 4, 0)
			return err
		}),
		copying("splice", "between pipes", nil, readEnd, writeEnd, func(in, out int) error {
			_, err := unix.Splice(in, nil, out, nil, 4, 0)
			return err
		}),
		{op: "splice", form: "from an offset", when: offset, make: func(t *T) call {
			in, out := t.file(), writeEnd(t)
			return call{fds: map[string]int{"in": in, "out": out}, do: func() error {
				var from int64
				_, err := unix.Splice(in, &from, out, nil, 4, 0)
				return err
			}}
		}, only: "in"},
		{op: "splice", form: "to an offset", when: offset, make: func(t *T) call {
			in, out := readEnd(t), t.file()
			return call{fds: map[string]int{"in": in, "out": out}, do: func() error {
				var to int64
				_, err := unix.Splice(in, nil, out, &to, 4, 0)
				return err
			}}
		}, only: "out"},
		copying("sendfile", "", nil, (*T).file, writeEnd, func(in, out int) error {
			_, err := unix.Sendfile(out, in, nil, 4)
			return err
		}),
		copying("tee", "", nil, readEnd, writeEnd, func(in, out int) error {
			_, err := unix.Tee(in, out, 4, 0)
			return err
		}),
		{op: "vmsplice", form: "into a pipe", when: []string{"memory goes into the pipe"}, asks: true, make: func(t *T) call {
			return onFD(writeEnd(t), func(fd int) error { return try(unix.SYS_VMSPLICE, uintptr(fd), iovec(4), 1, 0) })
		}},
		{op: "vmsplice", form: "out of a pipe", when: []string{"the pipe goes into memory"}, asks: true, make: func(t *T) call {
			return onFD(readEnd(t), func(fd int) error { return try(unix.SYS_VMSPLICE, uintptr(fd), iovec(4), 1, 0) })
		}},
		submitting("a read", 0, "a read"),
		submitting("a write", 1, "a write"),
		submitting("an fsync", 2, "an fsync"),
		submitting("a poll", 5, "a poll"),
	}
}

// opening is a driver of openat2.
func opening(form string, how unix.OpenHow, name string, when ...string) driver {
	return driver{op: "openat2", form: form, when: when, asks: true, make: onDir(func(dir int) error {
		return open2(dir, name, how)
	})}
}

func openat2Drivers() []driver {
	return []driver{
		opening("to read", unix.OpenHow{Flags: unix.O_RDONLY}, "file", whenRead),
		opening("to read beneath", unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_BENEATH}, "sub/../file", whenRead),
		opening("to write", unix.OpenHow{Flags: unix.O_WRONLY}, "file", whenWrite, whenSeek),
		opening("to create", unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND, Mode: 0o600}, "new", whenWrite, whenCreate),
		opening("to truncate", unix.OpenHow{Flags: unix.O_RDWR | unix.O_TRUNC}, "file", whenRead, whenWrite, whenTrunc),
		opening("in sync", unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DSYNC}, "file", whenRead, whenSync),
		opening("as a place", unix.OpenHow{Flags: unix.O_PATH}, "file", whenRead),
		opening("nameless", unix.OpenHow{Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o600}, "sub", whenRead, whenWrite, whenSeek, whenCreate),
		openMode("as a place", unix.O_PATH, "file", whenRead),
		openMode("nameless", unix.O_TMPFILE|unix.O_RDWR, "sub", whenRead, whenWrite, whenSeek, whenCreate),
		openMode("to read in data sync", unix.O_RDONLY|unix.O_DSYNC, "file", whenRead, whenSync),
	}
}

// making is a driver of mknodat.
func making(form string, mode uint32, when string, root bool) driver {
	return driver{op: "mknodat", form: form, when: []string{when}, asks: true, root: root, make: onDir(func(dir int) error {
		return unix.Mknodat(dir, "new", mode|0o600, int(unix.Mkdev(1, 3)))
	})}
}

// renaming is a driver of renameat2.
func renaming(form, to string, flags uint, root bool, when ...string) driver {
	return driver{op: "renameat2", form: form, when: when, asks: true, root: root, make: onDirs(func(from, dir int) error {
		return unix.Renameat2(from, "file", dir, to, flags)
	})}
}

func systemNameDrivers() []driver {
	const name, noName = "the path is not empty", "the path is empty"
	status := func(fd int, path string, flags int) error {
		return unix.Statx(fd, path, flags, unix.STATX_ALL, new(unix.Statx_t))
	}
	var st unix.Stat_t
	return []driver{
		{op: "newfstatat", form: "a name", when: []string{name}, asks: true, make: onDir(func(dir int) error { return unix.Fstatat(dir, "sub/file", &st, 0) })},
		{op: "newfstatat fstatat", form: "no name", when: []string{noName}, asks: true, make: asDir((*T).file, func(fd int) error {
			return unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH)
		})},
		{op: "statx", form: "a name", when: []string{name}, asks: true, make: onDir(func(dir int) error { return status(dir, "file", 0) })},
		{op: "statx", form: "no name", when: []string{noName}, asks: true, make: asDir((*T).file, func(fd int) error { return status(fd, "", unix.AT_EMPTY_PATH) })},
		{op: "faccessat2", form: "a name", when: []string{name}, asks: true, make: onDir(func(dir int) error { return unix.Faccessat2(dir, "file", unix.R_OK, 0) })},
		{op: "faccessat2", form: "no name", when: []string{noName}, asks: true, make: asDir((*T).file, func(fd int) error {
			return unix.Faccessat2(fd, "", unix.R_OK, unix.AT_EMPTY_PATH)
		})},
		{op: "fchmodat2", asks: true, make: onDir(func(dir int) error { return try(unix.SYS_FCHMODAT2, uintptr(dir), text("file"), 0o640, 0) })},
		making("a FIFO", unix.S_IFIFO, "a FIFO", false),
		making("a file", unix.S_IFREG, "a regular file", false),
		making("a socket", unix.S_IFSOCK, "a socket", false),
		making("a device", unix.S_IFCHR, "a device", true),
		renaming("to a new name", "new", 0, false),
		renaming("over a file", "file", 0, false, "the new name exists and RENAME_NOREPLACE is not set"),
		renaming("over nothing", "new", unix.RENAME_NOREPLACE, false),
		renaming("exchange", "file", unix.RENAME_EXCHANGE, false, "RENAME_EXCHANGE"),
		renaming("whiteout", "new", unix.RENAME_WHITEOUT, true, "RENAME_WHITEOUT"),
		{op: "name_to_handle_at", asks: true, make: onDir(func(dir int) error { _, _, err := unix.NameToHandleAt(dir, "file", 0); return err })},
		{op: "execveat", form: "a name", when: []string{"the path is not empty"}, asks: true, make: func(t *T) call {
			dir, path := t.folder()
			stop("write", os.WriteFile(path+"/program", exits(), 0o700))
			return call{fds: map[string]int{"dir": dir}, do: func() error { return runAt(dir, "program", 0) }}
		}},
		{op: "execveat fexecve", form: "no name", asks: true, make: func(t *T) call {
			fd := t.program(exits())
			return call{fds: map[string]int{"dir": fd, "fd": fd}, do: func() error { return runAt(fd, "", unix.AT_EMPTY_PATH) }}
		}},
	}
}

// asDir is a call on a descriptor that the table calls a directory.
func asDir(open func(t *T) int, do func(fd int) error) func(*T) call {
	return func(t *T) call {
		fd := open(t)
		return call{fds: map[string]int{"dir": fd}, do: func() error { return do(fd) }}
	}
}

func systemMetadataDrivers() []driver {
	const name = "user.capsicum"
	labelled := func(t *T) int {
		fd := t.file()
		stop("fsetxattr", unix.Fsetxattr(fd, name, []byte("x"), 0))
		return fd
	}
	attr := func(op string, do func(fd int) error) driver {
		return driver{op: op, make: func(t *T) call { return onFD(labelled(t), do) }}
	}
	return []driver{
		{op: "cachestat", make: onFile(func(fd int) error {
			return try(unix.SYS_CACHESTAT, uintptr(fd), at(&[2]uint64{}), at(&[5]uint64{}), 0)
		})},
		{op: "utimensat futimens futimes", form: "no name", when: []string{"no path is given"}, make: func(t *T) call {
			fd := t.file()
			return call{fds: map[string]int{"dir": fd, "fd": fd}, do: func() error { return try(unix.SYS_UTIMENSAT, uintptr(fd), 0, 0, 0) }}
		}},
		attr("fgetxattr", func(fd int) error { _, err := unix.Fgetxattr(fd, name, make([]byte, 9)); return err }),
		attr("fsetxattr", func(fd int) error { return unix.Fsetxattr(fd, name, []byte("y"), 0) }),
		attr("flistxattr", func(fd int) error { _, err := unix.Flistxattr(fd, make([]byte, 99)); return err }),
		attr("fremovexattr", func(fd int) error { return unix.Fremovexattr(fd, name) }),
	}
}

func systemFcntlDrivers() []driver {
	const leases, signals = "F_GETLEASE or F_SETLEASE", "F_GETSIG or F_SETSIG"
	closed := func(t *T) int {
		stop("write", os.WriteFile(t.path("leased"), nil, 0o600))
		return t.open(t.path("leased"), unix.O_RDONLY)
	}
	sealed := func(*T) int { return need(unix.MemfdCreate("sealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)) }
	folder := func(t *T) int { fd, _ := t.folder(); return fd }
	owner := func(form string, cmd int) driver {
		return driver{op: "fcntl", form: form, when: []string{whenMask}, make: func(t *T) call {
			return onFD(aSocket(t), func(fd int) error {
				return try(unix.SYS_FCNTL, uintptr(fd), uintptr(cmd), at(&[2]int32{ownerProcess, int32(unix.Getpid())}))
			})
		}}
	}
	return []driver{
		owner("F_GETOWN_EX", unix.F_GETOWN_EX),
		owner("F_SETOWN_EX", unix.F_SETOWN_EX),
		lock("F_OFD_GETLK", unix.F_OFD_GETLK),
		lock("F_OFD_SETLK", unix.F_OFD_SETLK),
		lock("F_OFD_SETLKW", unix.F_OFD_SETLKW),
		control("F_GETLEASE", unix.F_GETLEASE, 0, leases, closed),
		control("F_SETLEASE", unix.F_SETLEASE, unix.F_RDLCK, leases, closed),
		control("F_GETSIG", unix.F_GETSIG, 0, signals, aSocket),
		control("F_SETSIG", unix.F_SETSIG, 0, signals, aSocket),
		control("F_NOTIFY", unix.F_NOTIFY, fileChanges, "F_NOTIFY", folder),
		control("F_GETPIPE_SZ", unix.F_GETPIPE_SZ, 0, "F_GETPIPE_SZ", readEnd),
		control("F_SETPIPE_SZ", unix.F_SETPIPE_SZ, 4096, "F_SETPIPE_SZ", readEnd),
		control("F_GET_SEALS", unix.F_GET_SEALS, 0, "F_GET_SEALS", sealed),
		control("F_ADD_SEALS", unix.F_ADD_SEALS, unix.F_SEAL_GROW, "F_ADD_SEALS", sealed),
		{op: "dup3", asks: true, make: onFile(func(fd int) error { return unix.Dup3(fd, 200+fd, unix.O_CLOEXEC) })},
		{op: "close_range closefrom", make: func(t *T) call {
			// The highest of all, so that nothing else is closed.
			const far = 900
			stop("dup3", unix.Dup3(t.file(), far, unix.O_CLOEXEC))
			return onFD(far, func(fd int) error { return unix.CloseRange(uint(fd), uint(fd), 0) })
		}},
		{op: "fadvise64 posix_fadvise", make: onFile(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_NORMAL) })},
	}
}

func waitDrivers() []driver {
	epoll := func(*T) int { return need(unix.EpollCreate1(unix.EPOLL_CLOEXEC)) }
	timer := func(*T) int { return need(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)) }
	spec := func() uintptr { return at(&unix.ItimerSpec{Value: unix.Timespec{Sec: 1000}}) }
	timing := func(op, form string, when []string, do func(fd int) error) driver {
		return driver{op: op, form: form, when: when, make: func(t *T) call { return onFD(timer(t), do) }}
	}
	return []driver{
		{op: "ppoll", asks: true, denied: &pollDenied, make: func(t *T) call { return onFD(readEnd(t), ppollOne) }},
		{op: "pselect6 pselect", asks: true, make: func(t *T) call { return onFD(readEnd(t), pselectOne) }},
		{op: "epoll_ctl", make: func(t *T) call {
			fd, target := epoll(t), readEnd(t)
			return call{fds: map[string]int{"fd": fd, "target": target}, do: func() error {
				return unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, target, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(target)})
			}}
		}},
		{op: "epoll_pwait", make: func(t *T) call {
			return onFD(epoll(t), func(fd int) error { return epollWait(unix.SYS_EPOLL_PWAIT, fd) })
		}},
		{op: "epoll_pwait2", make: func(t *T) call {
			return onFD(epoll(t), func(fd int) error {
				return try(unix.SYS_EPOLL_PWAIT2, uintptr(fd), at(&unix.EpollEvent{}), 1, at(&unix.Timespec{}), 0, 8)
			})
		}},
		timing("timerfd_settime", "", nil, func(fd int) error { return try(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, spec(), 0) }),
		timing("timerfd_settime", "with the old value", []string{"the old value is wanted"}, func(fd int) error {
			return try(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, spec(), spec())
		}),
		timing("timerfd_gettime", "", nil, func(fd int) error { return try(unix.SYS_TIMERFD_GETTIME, uintptr(fd), spec()) }),
		{op: "signalfd4", when: []string{"the mask of an existing descriptor changes"}, make: func(t *T) call {
			return onFD(signals(), func(fd int) error { _, err := unix.Signalfd(fd, new(unix.Sigset_t), unix.SFD_CLOEXEC); return err })
		}},
		{op: "inotify_add_watch", lacks: "dir", make: func(t *T) call {
			fd := need(unix.InotifyInit1(unix.IN_CLOEXEC))
			return onFD(fd, func(fd int) error { _, err := unix.InotifyAddWatch(fd, t.Dir, unix.IN_CREATE); return err })
		}},
		{op: "inotify_rm_watch", make: func(t *T) call {
			fd := need(unix.InotifyInit1(unix.IN_CLOEXEC))
			w := need(unix.InotifyAddWatch(fd, t.Dir, unix.IN_CREATE))
			return onFD(fd, func(fd int) error { _, err := unix.InotifyRmWatch(fd, uint32(w)); return err })
		}},
		watching("a directory", unix.FAN_MARK_ADD, false, "FAN_MARK_ADD"),
		watching("a name", unix.FAN_MARK_ADD, true, "FAN_MARK_ADD", "a path is given"),
		watching("no longer", unix.FAN_MARK_REMOVE, false, "FAN_MARK_REMOVE or FAN_MARK_FLUSH"),
	}
}

func signals() int { return need(unix.Signalfd(-1, new(unix.Sigset_t), unix.SFD_CLOEXEC)) }

func epollWait(nr uintptr, fd int) error {
	return try(nr, uintptr(fd), at(&unix.EpollEvent{}), 1, 0, 0, 8)
}

func ppollOne(fd int) error {
	list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Ppoll(list, &unix.Timespec{}, nil)
	return pollResult(n, err, list[0].Revents)
}

func pselectOne(fd int) error {
	var set unix.FdSet
	set.Set(fd)
	n, err := unix.Pselect(fd+1, &set, nil, nil, &unix.Timespec{}, nil)
	if err == nil && n != 1 {
		return fmt.Errorf("pselect6 says %d, want 1", n)
	}
	return err
}

// watching is a driver of fanotify_mark.
func watching(form string, flags uint, name bool, when ...string) driver {
	return driver{op: "fanotify_mark", form: form, when: when, asks: name, make: func(t *T) call {
		fd := need(unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, unix.O_RDONLY))
		dir, _ := t.folder()
		if flags == unix.FAN_MARK_REMOVE {
			stop("fanotify_mark", unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_MODIFY, dir, ""))
		}
		path := ""
		if name {
			path = "sub"
		}
		return call{fds: map[string]int{"fd": fd, "dir": dir}, do: func() error {
			return unix.FanotifyMark(fd, flags, unix.FAN_MODIFY, dir, path)
		}}
	}}
}

// queue returns a new message queue with a message in it.
func queue(*T) int {
	attr := [8]int64{unix.O_NONBLOCK, 4, 64}
	name := text(fmt.Sprintf("capsicum.%d.%d", os.Getpid(), serial.Add(1)))
	fd := need(raw(unix.SYS_MQ_OPEN, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600, at(&attr)))
	stop("mq_unlink", try(unix.SYS_MQ_UNLINK, name))
	stop("mq_timedsend", try(unix.SYS_MQ_TIMEDSEND, fd, text("hello"), 5, 1, 0))
	return int(fd)
}

func queueDrivers() []driver {
	on := func(op string, do func(fd uintptr) error) driver {
		return driver{op: op, make: func(t *T) call { return onFD(queue(t), func(fd int) error { return do(uintptr(fd)) }) }}
	}
	return []driver{
		on("mq_timedsend mq_send", func(fd uintptr) error { return try(unix.SYS_MQ_TIMEDSEND, fd, text("hello"), 5, 1, 0) }),
		on("mq_timedreceive mq_receive", func(fd uintptr) error { return try(unix.SYS_MQ_TIMEDRECEIVE, fd, at(&[64]byte{}), 64, 0, 0) }),
		on("mq_notify", func(fd uintptr) error { return try(unix.SYS_MQ_NOTIFY, fd, 0) }),
		on("mq_getsetattr mq_getattr mq_setattr", func(fd uintptr) error { return try(unix.SYS_MQ_GETSETATTR, fd, 0, at(&[8]int64{})) }),
	}
}

// mmsghdr is of sys/socket.h.
type mmsghdr struct {
	hdr unix.Msghdr
	_   [8]byte
}

// messages returns the address of an array of one message.
func messages(to *unix.RawSockaddrInet4) uintptr {
	m := &mmsghdr{}
	buf := []byte("x")
	v := &unix.Iovec{Base: &buf[0]}
	v.SetLen(1)
	m.hdr.Iov, m.hdr.Iovlen = v, 1
	if to != nil {
		m.hdr.Name, m.hdr.Namelen = (*byte)(unsafe.Pointer(to)), unix.SizeofSockaddrInet4
	}
	return at(m)
}

func systemSocketDrivers() []driver {
	return []driver{
		{op: "accept4", asks: true, make: onSocket(listener, func(fd int) error { return try(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC) })},
		{op: "accept", form: "the old call", asks: true, make: onSocket(listener, func(fd int) error { return try(unix.SYS_ACCEPT, uintptr(fd), 0, 0) })},
		{op: "sendmmsg", form: "without an address", asks: true, make: onSocket(aSocket, func(fd int) error {
			return try(unix.SYS_SENDMMSG, uintptr(fd), messages(nil), 1, 0)
		})},
		addressed("sendmmsg", true, func(fd int, to unix.Sockaddr) error {
			port := to.(*unix.SockaddrInet4).Port
			a := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(port>>8 | port<<8), Addr: [4]byte{127, 0, 0, 1}}
			return try(unix.SYS_SENDMMSG, uintptr(fd), messages(a), 1, 0)
		}),
		{op: "recvmmsg", asks: true, make: onSocket(aSocket, func(fd int) error {
			return try(unix.SYS_RECVMMSG, uintptr(fd), messages(nil), 1, unix.MSG_DONTWAIT, 0)
		})},
	}
}

func pidfdDrivers() []driver {
	own := func(*T) int { return need(unix.PidfdOpen(os.Getpid(), 0)) }
	return []driver{
		{op: "pidfd_send_signal", make: func(t *T) call {
			return onFD(own(t), func(fd int) error { return unix.PidfdSendSignal(fd, 0, nil, 0) })
		}},
		{op: "waitid", when: []string{"P_PIDFD"}, make: func(t *T) call {
			_, pidfd := need2(startPidfd(script{}))
			return onFD(pidfd, func(fd int) error { return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED, nil) })
		}},
	}
}

func need2[A, B any](a A, b B, err error) (A, B) {
	stop("prepare", err)
	return a, b
}

// untriedOperations gives the reason for each operation that nothing tries here.
var untriedOperations = map[string]string{
	"getdirentries posix_fallocate fspacectl chflagsat mkfifoat funlinkat fchroot fpathconf pathconf fchflags " +
		"extattr_get_fd extattr_set_fd extattr_list_fd extattr_delete_fd acl_get_fd acl_set_fd acl_delete_fd_np acl_valid_fd_np " +
		"mac_get_fd mac_set_fd kevent inotify_add_watch_at bindat connectat sctp_peeloff " +
		"pdgetpid pdkill pdwait pdwait4 pddupfd mkfifo": "Linux has no such call; its libc makes others, or nothing does it",
	"aio_read aio_write aio_fsync lio_listio": "Linux's libc makes the plain calls in other threads",
	"aio_poll": "it is a form of io_submit, which is tried",
	"sem_getvalue sem_post sem_wait sem_trywait sem_timedwait":        "semaphores of Linux are memory, without a descriptor",
	"cap_rights_limit cap_rights_get cap_ioctls_limit cap_ioctls_get": "the chapter limits tries it",
	"cap_fcntls_limit cap_fcntls_get":                                 "the chapter limits tries it",
	"pidfd_open":                                                      "it takes no descriptor; the chapter capability-mode tries it",
	"pidfd_getfd":                                                     "it is refused whatever the rights; the chapter inheritance tries it",
}

// untriedNeeds gives the reason for each condition that nothing tries here.
var untriedNeeds = map[string]string{
	"openat: O_SHLOCK or O_EXLOCK":  "Linux has no such flags",
	"openat2: O_SHLOCK or O_EXLOCK": "Linux has no such flags",
	"openat: O_EXEC or O_SEARCH":    "Linux has no such flags",
	"openat2: O_EXEC or O_SEARCH":   "Linux has no such flags",
	"send: an address is given":     "it takes no address",
	"faccessat: the path is empty":  "the call has no flags on Linux; faccessat2 is tried",
}

// ownerProcess is F_OWNER_PID.
const ownerProcess = 1

// fileChanges is DN_MODIFY of F_NOTIFY.
const fileChanges = 2
