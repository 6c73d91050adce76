package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// operate carries out one line: a verb and its arguments.
func operate(line string) string {
	f := strings.Fields(line)
	op, ok := operations[f[0]]
	if !ok {
		return "no such operation"
	}
	for i, a := range f {
		if a == `""` {
			f[i] = ""
		}
	}
	return op(f[1:])
}

func num(s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(err)
	}
	return int(n)
}

var openBits = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR, "creat": unix.O_CREAT, "excl": unix.O_EXCL, "trunc": unix.O_TRUNC,
	"append": unix.O_APPEND, "dir": unix.O_DIRECTORY, "nofollow": unix.O_NOFOLLOW, "path": unix.O_PATH, "tmp": unix.O_TMPFILE, "nonblock": unix.O_NONBLOCK,
}

func bits(s string) int {
	n := 0
	for _, b := range strings.Split(s, "|") {
		v, ok := openBits[b]
		if !ok {
			panic(b)
		}
		n |= v
	}
	return n
}

func simple(f func(a []string) error) func([]string) string {
	return func(a []string) string { return errnoName(f(a)) }
}

func str(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	return uintptr(unsafe.Pointer(p))
}

var operations map[string]func([]string) string

func init() { operations = allOperations() } // some carry out others

func allOperations() map[string]func([]string) string {
	return map[string]func([]string) string{
		"read": func(a []string) string {
			fd, err := unix.Open(a[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return errnoName(err)
			}
			defer unix.Close(fd)
			buf := make([]byte, 1<<16)
			n, err := unix.Read(fd, buf)
			if err != nil {
				return errnoName(err)
			}
			return "text:" + strings.TrimSpace(string(buf[:n]))
		},
		"open": func(a []string) string {
			fd, err := unix.Open(a[1], bits(a[0])|unix.O_CLOEXEC, 0o666)
			if err == nil {
				unix.Close(fd)
			}
			return errnoName(err)
		},
		"tmpfile": func(a []string) string { // says the mode of a file without a name
			fd, err := unix.Open(a[0], unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
			if err != nil {
				return errnoName(err)
			}
			defer unix.Close(fd)
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return errnoName(err)
			}
			return fmt.Sprintf("%o", st.Mode&0o7777)
		},
		"fsize": simple(func(a []string) error { // where the file system, and not a signal, says that it is too large
			signal.Ignore(unix.SIGXFSZ)
			return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(num(a[0])), Max: unix.RLIM_INFINITY})
		}),
		"keep": func(a []string) string { // leaves the descriptor open and says its number
			fd, err := unix.Open(a[1], bits(a[0]), 0o666)
			if err != nil {
				return errnoName(err)
			}
			return strconv.Itoa(fd)
		},
		"close": simple(func(a []string) error { return unix.Close(num(a[0])) }),
		"readat": func(a []string) string {
			fd, err := unix.Openat(num(a[0]), a[1], unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return errnoName(err)
			}
			defer unix.Close(fd)
			buf := make([]byte, 4096)
			n, err := unix.Read(fd, buf)
			if err != nil {
				return errnoName(err)
			}
			return "text:" + string(buf[:n])
		},
		"openat2": func(a []string) string {
			how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: uint64(num(a[0]))}
			fd, err := unix.Openat2(num(a[1]), a[2], &how)
			if err == nil {
				unix.Close(fd)
			}
			return errnoName(err)
		},
		"write": func(a []string) string {
			fd, err := unix.Open(a[1], bits(a[0])|unix.O_CLOEXEC, 0o666)
			if err != nil {
				return errnoName(err)
			}
			defer unix.Close(fd)
			_, err = unix.Write(fd, []byte(a[2]))
			return errnoName(err)
		},
		"list": func(a []string) string {
			d, err := os.ReadDir(a[0])
			if err != nil {
				return errnoName(err)
			}
			var names []string
			for _, e := range d {
				names = append(names, e.Name())
			}
			sort.Strings(names)
			return strings.Join(names, " ")
		},
		"size": func(a []string) string {
			var st unix.Stat_t
			if err := unix.Stat(a[0], &st); err != nil {
				return errnoName(err)
			}
			return strconv.FormatInt(st.Size, 10)
		},
		"mode": func(a []string) string {
			var st unix.Stat_t
			if err := unix.Lstat(a[0], &st); err != nil {
				return errnoName(err)
			}
			return fmt.Sprintf("%o", st.Mode)
		},
		"times": func(a []string) string {
			var st unix.Stat_t
			if err := unix.Lstat(a[0], &st); err != nil {
				return errnoName(err)
			}
			return fmt.Sprintf("%d.%d %d", st.Atim.Sec, st.Atim.Nsec, st.Mtim.Sec)
		},
		"stat":  simple(func(a []string) error { return unix.Stat(a[0], new(unix.Stat_t)) }),
		"lstat": simple(func(a []string) error { return unix.Lstat(a[0], new(unix.Stat_t)) }),
		"fstatat": simple(func(a []string) error {
			return unix.Fstatat(num(a[0]), a[1], new(unix.Stat_t), num(a[2]))
		}),
		"statx": func(a []string) string {
			var st unix.Statx_t
			if err := unix.Statx(num(a[0]), a[1], num(a[2]), unix.STATX_BASIC_STATS, &st); err != nil {
				return errnoName(err)
			}
			return fmt.Sprintf("%o %d", st.Mode, st.Size)
		},
		"access":     simple(func(a []string) error { return unix.Access(a[0], uint32(num(a[1]))) }),
		"faccessat2": simple(func(a []string) error { return unix.Faccessat2(unix.AT_FDCWD, a[0], uint32(num(a[1])), num(a[2])) }),
		"readlink": func(a []string) string {
			buf := make([]byte, 4096)
			n, err := unix.Readlink(a[0], buf)
			if err != nil {
				return errnoName(err)
			}
			return "->" + string(buf[:n])
		},
		"statfs": simple(func(a []string) error { return unix.Statfs(a[0], new(unix.Statfs_t)) }),
		"chdir":  simple(func(a []string) error { return unix.Chdir(a[0]) }),
		"fchdir": simple(func(a []string) error { return unix.Fchdir(num(a[0])) }),
		"getcwd": func([]string) string {
			buf := make([]byte, 4096)
			n, err := unix.Getcwd(buf)
			if err != nil {
				return errnoName(err)
			}
			return string(buf[:n-1])
		},
		"mkdir":  simple(func(a []string) error { return unix.Mkdir(a[0], 0o777) }),
		"rmdir":  simple(func(a []string) error { return unix.Rmdir(a[0]) }),
		"unlink": simple(func(a []string) error { return unix.Unlink(a[0]) }),
		"rename": simple(func(a []string) error { return unix.Rename(a[0], a[1]) }),
		"exchange": simple(func(a []string) error {
			return unix.Renameat2(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], unix.RENAME_EXCHANGE)
		}),
		"noreplace": simple(func(a []string) error {
			return unix.Renameat2(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], unix.RENAME_NOREPLACE)
		}),
		"link":      simple(func(a []string) error { return unix.Link(a[0], a[1]) }),
		"linkat":    simple(func(a []string) error { return unix.Linkat(num(a[0]), a[1], unix.AT_FDCWD, a[2], num(a[3])) }),
		"symlink":   simple(func(a []string) error { return unix.Symlink(a[0], a[1]) }),
		"mkfifo":    simple(func(a []string) error { return unix.Mkfifo(a[0], 0o666) }),
		"mksock":    simple(func(a []string) error { return unix.Mknod(a[0], unix.S_IFSOCK|0o666, 0) }),
		"mkdev":     simple(func(a []string) error { return unix.Mknod(a[0], unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }),
		"chmod":     simple(func(a []string) error { return unix.Chmod(a[0], uint32(num(a[1]))) }),
		"fchmodat2": simple(func(a []string) error { return unix.Fchmodat(unix.AT_FDCWD, a[0], uint32(num(a[1])), num(a[2])) }),
		"chown":     simple(func(a []string) error { return unix.Chown(a[0], num(a[1]), num(a[2])) }),
		"lchown":    simple(func(a []string) error { return unix.Lchown(a[0], num(a[1]), num(a[2])) }),
		"utimens": simple(func(a []string) error {
			ts := []unix.Timespec{{Sec: int64(num(a[1])), Nsec: 7}, {Sec: int64(num(a[2]))}}
			return unix.UtimesNanoAt(unix.AT_FDCWD, a[0], ts, num(a[3]))
		}),
		"futimens": simple(func(a []string) error {
			ts := [2]unix.Timespec{{Sec: 11, Nsec: 7}, {Sec: 12}}
			_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(num(a[0])), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
			return asError(e)
		}),
		"utimes":   simple(func(a []string) error { return unix.Utimes(a[0], []unix.Timeval{{Sec: 5, Usec: 6}, {Sec: 7}}) }),
		"touch":    simple(func(a []string) error { return unix.Utimes(a[0], nil) }),
		"truncate": simple(func(a []string) error { return unix.Truncate(a[0], int64(num(a[1]))) }),
		"setxattr": simple(func(a []string) error { return unix.Setxattr(a[0], a[1], []byte(a[2]), 0) }),
		"getxattr": func(a []string) string {
			buf := make([]byte, 100)
			n, err := unix.Getxattr(a[0], a[1], buf)
			if err != nil {
				return errnoName(err)
			}
			return "text:" + string(buf[:n])
		},
		"listxattr": func(a []string) string {
			n, err := unix.Listxattr(a[0], nil)
			if err != nil {
				return errnoName(err)
			}
			return strconv.Itoa(n)
		},
		"lgetxattr":   simple(func(a []string) error { _, err := unix.Lgetxattr(a[0], a[1], nil); return err }),
		"removexattr": simple(func(a []string) error { return unix.Removexattr(a[0], a[1]) }),
		"inotify": func(a []string) string {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
			if err != nil {
				return errnoName(err)
			}
			defer unix.Close(fd)
			if _, err := unix.InotifyAddWatch(fd, a[0], unix.IN_ATTRIB|unix.IN_CREATE); err != nil {
				return errnoName(err)
			}
			if len(a) > 1 {
				if got := operate(strings.Join(a[1:], " ")); got != "ok" {
					return got
				}
			}
			n, err := unix.Read(fd, make([]byte, 4096))
			if err == unix.EAGAIN {
				return "no event"
			}
			return fmt.Sprint("event ", n > 0)
		},
		"handle": simple(func(a []string) error { _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, a[0], 0); return err }),
		"exec": func(a []string) string {
			c := exec.Command(a[0])
			c.Path = a[0] // no search
			c.Env = []string{}
			c.Stdin = strings.NewReader("") // no /dev/null here
			out, err := c.CombinedOutput()
			if err != nil {
				return errnoName(err)
			}
			return "ran:" + strings.TrimSpace(string(out))
		},
		"umask": func(a []string) string { return fmt.Sprintf("%o", unix.Umask(num(a[0]))) },
		"pid":   func([]string) string { return strconv.Itoa(os.Getpid()) },
		"badptr": func([]string) string {
			const nowhere = 0x1000
			end, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return errnoName(err)
			}
			copy(end[4092:], "/abc") // no terminator before the page that goes away
			page := uintptr(unsafe.Pointer(&end[0]))
			if _, _, e := unix.Syscall(unix.SYS_MUNMAP, page+4096, 4096, 0); e != 0 {
				return errnoName(e)
			}
			_, _, a := unix.Syscall6(unix.SYS_OPENAT, ^uintptr(99), nowhere, 0, 0, 0, 0)
			_, _, b := unix.Syscall6(unix.SYS_OPENAT, ^uintptr(99), page+4092, 0, 0, 0, 0)
			_, _, c := unix.Syscall6(unix.SYS_NEWFSTATAT, ^uintptr(99), str("/"), nowhere, 0, 0, 0)
			_, _, d := unix.Syscall(unix.SYS_GETCWD, nowhere, 100, 0)
			return fmt.Sprint(errnoName(a), " ", errnoName(b), " ", errnoName(c), " ", errnoName(d))
		},
		"setsid":  simple(func([]string) error { _, err := unix.Setsid(); return err }),
		"environ": func([]string) string { return thread(func() string { return operate("read /proc/self/environ") }) },
		"threadstat": func([]string) string {
			return thread(func() string {
				got := operate("read /proc/thread-self/stat")
				want := fmt.Sprintf("text:%d (", unix.Gettid())
				return fmt.Sprint(strings.HasPrefix(got, want))
			})
		},
		"rlimit": func([]string) string {
			set := unix.Rlimit{Cur: 77, Max: 78}
			err := unix.Setrlimit(unix.RLIMIT_LOCKS, &set)
			var got, old unix.Rlimit
			err2 := unix.Getrlimit(unix.RLIMIT_LOCKS, &got)
			err3 := unix.Prlimit(0, unix.RLIMIT_LOCKS, &set, &old)
			return fmt.Sprintf("%s %s %s, read %v %v", errnoName(err), errnoName(err2), errnoName(err3), got.Cur == ^uint64(0), old.Cur == ^uint64(0))
		},
		"walk": func(a []string) string {
			n := 0
			err := filepath.WalkDir(a[0], func(_ string, _ os.DirEntry, err error) error { n++; return err })
			return fmt.Sprint(n, " ", errnoName(err))
		},
		"flip":  flip,
		"time":  timed2,
		"fork":  forkCwd,
		"fifos": fifos,
		"swap":  swap,

		"lockswap": lockSwap,
		"lockwait": lockWait,
	}
}

func asError(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// thread runs f on a fresh thread.
func thread(f func() string) string {
	c := make(chan string)
	go func() {
		runtime.LockOSThread() // the main goroutine keeps the main thread
		defer runtime.UnlockOSThread()
		c <- f()
	}()
	return <-c
}

// flip changes a name in memory between two values from one thread while others
// use it, and counts what they got: "good bad denied".
func flip(a []string) string {
	good, bad := a[1], a[2]
	size := max(len(good), len(bad)) + 1
	shared, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return errnoName(err)
	}
	set := func(s string) {
		b := make([]byte, size)
		copy(b, s)
		copy(shared, b)
	}
	set(good)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
				set(bad)
				set(good)
			}
		}
	}()
	marker := a[3]
	ok, hit, denied := 0, 0, 0
	for end := time.Now().Add(time.Duration(num(a[4])) * time.Millisecond); time.Now().Before(end); {
		switch got := flipped[a[0]](uintptr(unsafe.Pointer(&shared[0]))); {
		case got == "":
			denied++
		case strings.Contains(got, marker):
			ok++
		default:
			hit++
		}
	}
	close(stop)
	wg.Wait()
	return fmt.Sprintf("%v %d %v", ok > 0, hit, denied > 0)
}

// flipped are calls on a name at an address. They return something about the
// object they reached, "" if they were denied.
var flipped = map[string]func(uintptr) string{
	"open": func(p uintptr) string {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, ^uintptr(99), p, unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if e != 0 {
			return ""
		}
		defer unix.Close(int(fd))
		b := make([]byte, 64)
		n, _ := unix.Read(int(fd), b)
		return string(b[:n])
	},
	"stat": func(p uintptr) string {
		var st unix.Stat_t
		if _, _, e := unix.Syscall6(unix.SYS_NEWFSTATAT, ^uintptr(99), p, uintptr(unsafe.Pointer(&st)), 0, 0, 0); e != 0 {
			return ""
		}
		return fmt.Sprintf("ino%d.", st.Ino)
	},
	"readlink": func(p uintptr) string {
		b := make([]byte, 200)
		n, _, e := unix.Syscall6(unix.SYS_READLINKAT, ^uintptr(99), p, uintptr(unsafe.Pointer(&b[0])), 200, 0, 0)
		if e != 0 {
			return ""
		}
		return string(b[:n])
	},
	"chmod": func(p uintptr) string {
		if _, _, e := unix.Syscall(unix.SYS_FCHMODAT, ^uintptr(99), p, 0o640); e != 0 {
			return ""
		}
		return "done"
	},
	"truncate": func(p uintptr) string {
		if _, _, e := unix.Syscall(unix.SYS_TRUNCATE, p, 3, 0); e != 0 {
			return ""
		}
		return "done"
	},
}

// timed2 is the mean time of a call in nanoseconds.
func timed2(a []string) string {
	n := num(a[1])
	start := time.Now()
	for range n {
		switch a[0] {
		case "open":
			if fd, err := unix.Open(a[2], unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				unix.Close(fd)
			}
		case "stat":
			unix.Stat(a[2], new(unix.Stat_t))
		}
	}
	return strconv.FormatInt(time.Since(start).Nanoseconds()/int64(n), 10)
}

// forkCwd asks a child, whose own child outlives it, for the working directory.
func forkCwd([]string) string {
	c := exec.Command(os.Getenv("PATH_TEST_EXE"))
	c.Env = append(os.Environ(), stageEnv+"=serve")
	c.Stdin = strings.NewReader("getcwd\nchdir ..\ngetcwd\n")
	out, err := c.CombinedOutput()
	if err != nil {
		return errnoName(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// fifos opens a FIFO on one thread, whose other end nobody has until a file was opened
// on another.
func fifos(a []string) string {
	opened := make(chan error, 1)
	go func() {
		fd, err := unix.Open(a[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		opened <- err
	}()
	time.Sleep(20 * time.Millisecond)
	for range 50 {
		if got := operate("read " + a[1]); !strings.HasPrefix(got, "text:") {
			return got
		}
	}
	fd, err := unix.Open(a[0], unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoName(err)
	}
	defer unix.Close(fd)
	if err := <-opened; err != nil {
		return errnoName(err)
	}
	return "ok"
}
