package supervisor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// opState is what operations of one victim share.
type opState struct {
	sock  int
	socks []int
	file  int
	child int
	wait  chan error
}

// victimOps carries out one operation after the other and prints what each one
// said: "ok", a number, a text, or the name of an errno.
func victimOps(args []string) int {
	runtime.LockOSThread()
	st := &opState{sock: -1, file: -1}
	for _, line := range args {
		words := strings.Fields(line)
		op, ok := ops[words[0]]
		if !ok {
			fmt.Println("no such operation:", line)
			continue
		}
		answer, err := op(st, append(words[1:], "", "", ""))
		switch {
		case err != nil:
			var e unix.Errno
			if errors.As(err, &e) {
				answer = unix.ErrnoName(e)
			} else {
				answer = err.Error()
			}
		case answer == "":
			answer = "ok"
		}
		fmt.Println(answer)
	}
	return 0
}

type op func(*opState, []string) (string, error)

// plain makes an operation that has nothing to tell.
func plain(f func(*opState, []string) error) op {
	return func(st *opState, a []string) (string, error) { return "", f(st, a) }
}

func opNumber(s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(err)
	}
	return int(n)
}

// unixAddr is the bytes of an address; "@x" is an abstract name, "" none.
func unixAddr(name string) []byte {
	raw := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	switch {
	case name == "":
		return raw
	case name[0] == '@':
		return append(append(raw, 0), name[1:]...)
	}
	raw = append(raw, name...)
	if len(raw) < unix.SizeofSockaddrUnix {
		raw = append(raw, 0)
	}
	return raw
}

func connectTo(fd int, name string) error { return sys.RawConnect(fd, unixAddr(name)) }

// meet connects to names, many times, from before they are bound.
func meet(prefix string) error {
	for i := range 300 {
		name := prefix + strconv.Itoa(i)
		met := make(chan error)
		go func() {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			for err == nil {
				if err = connectTo(fd, name); err == unix.ENOENT || err == unix.ECONNREFUSED {
					err = nil
					continue
				}
				break
			}
			met <- errors.Join(err, unix.Close(fd))
		}()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(sys.RawBind(fd, unixAddr(name)), unix.Listen(fd, 1), <-met, unix.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

func addressOf(call uintptr, fd int) (string, error) {
	buf := make([]byte, sys.SockaddrMax)
	n := uint32(len(buf))
	_, _, e := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return "", e
	}
	name := string(buf[2:n])
	if name != "" && name[0] == 0 {
		return "@" + name[1:], nil
	}
	return strings.TrimRight(name, "\x00"), nil
}

var ops = map[string]op{
	"socket": plain(func(st *opState, a []string) (err error) {
		family := map[string]int{"unix": unix.AF_UNIX, "inet": unix.AF_INET}[a[0]]
		typ := map[string]int{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM}[a[1]]
		st.sock, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
		st.socks = append(st.socks, st.sock)
		return err
	}),
	"connect": plain(func(st *opState, a []string) error { return connectTo(st.sock, a[0]) }),
	"connect-len": plain(func(st *opState, a []string) error {
		raw := append(unixAddr(a[0]), make([]byte, 200)...)
		_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(st.sock), uintptr(unsafe.Pointer(&raw[0])), uintptr(opNumber(a[1])))
		return failure(e)
	}),
	"connect-addr": plain(func(st *opState, a []string) error {
		_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(st.sock), uintptr(opNumber(a[0])), uintptr(opNumber(a[1])))
		return failure(e)
	}),
	"connect-fd":     plain(func(_ *opState, a []string) error { return connectTo(opNumber(a[0]), a[1]) }),
	"connect-unspec": plain(func(st *opState, _ []string) error { return sys.RawConnect(st.sock, make([]byte, 16)) }),
	"connect-inet": plain(func(st *opState, _ []string) error {
		return unix.Connect(st.sock, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
	}),
	"connect-auto": plain(func(st *opState, _ []string) error {
		name, err := addressOf(unix.SYS_GETSOCKNAME, st.socks[len(st.socks)-2])
		if err != nil {
			return err
		}
		return connectTo(st.sock, name)
	}),
	"bind-inet": plain(func(st *opState, _ []string) error { return unix.Bind(st.sock, &unix.SockaddrInet4{}) }),
	"bind":      plain(func(st *opState, a []string) error { return sys.RawBind(st.sock, unixAddr(a[0])) }),
	"listen":    plain(func(st *opState, _ []string) error { return unix.Listen(st.sock, 16) }),
	"meet":      plain(func(_ *opState, a []string) error { return meet(a[0]) }),
	"name":      func(st *opState, _ []string) (string, error) { return addressOf(unix.SYS_GETSOCKNAME, st.sock) },
	"peer":      func(st *opState, _ []string) (string, error) { return addressOf(unix.SYS_GETPEERNAME, st.sock) },
	"nonblock":  plain(func(st *opState, _ []string) error { return unix.SetNonblock(st.sock, true) }),
	"read": func(st *opState, _ []string) (string, error) {
		buf := make([]byte, 100)
		n, err := unix.Read(st.sock, buf)
		return string(buf[:max(n, 0)]), err
	},
	// Every socket lives on under another number.
	"dupclose": plain(func(st *opState, _ []string) error {
		for i, fd := range st.socks {
			n, err := unix.Dup(fd)
			if err != nil {
				return err
			}
			unix.Close(fd)
			st.socks[i] = n
		}
		return nil
	}),
	"closeall": plain(func(st *opState, _ []string) error {
		for _, fd := range st.socks {
			unix.Close(fd)
		}
		st.socks = nil
		return nil
	}),
	"background-connect": plain(func(st *opState, a []string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		st.wait = make(chan error, 1)
		go func() { st.wait <- connectTo(fd, a[0]) }()
		time.Sleep(50 * time.Millisecond)
		return err
	}),
	"background-wait": plain(func(st *opState, _ []string) error { return <-st.wait }),

	"sendto": sendtoOp,
	"sendto-big": func(st *opState, a []string) (string, error) {
		return sendtoOp(st, []string{a[0], strings.Repeat("x", 2<<20)})
	},
	"sendmsg": func(st *opState, a []string) (string, error) {
		name := unixAddr(a[0])
		if a[0] == "-" {
			name = nil
		}
		n, err := sys.RawSendmsg(st.sock, name, []byte(a[1]), nil, 0)
		return strconv.Itoa(n), err
	},
	"sendmsg-fd": func(st *opState, _ []string) (string, error) {
		null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(null)
		n, err := sys.RawSendmsg(st.sock, nil, []byte("f"), unix.UnixRights(null), 0)
		return strconv.Itoa(n), err
	},
	"sendmsg-creds": plain(func(st *opState, _ []string) error {
		cred := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())})
		_, err := sys.RawSendmsg(st.sock, nil, []byte("c"), cred, 0)
		return err
	}),
	"sendmmsg": sendmmsgOp,

	"open": plain(func(st *opState, a []string) (err error) {
		flags := map[string]int{"r": unix.O_RDONLY, "rw": unix.O_RDWR, "path": unix.O_PATH}[a[1]]
		st.file, err = unix.Open(a[0], flags|unix.O_CLOEXEC, 0)
		return err
	}),
	"openat2": plain(openat2Op),
	"reopen": plain(func(st *opState, a []string) error {
		return openat2Op(st, append([]string{"/proc/self/fd/" + strconv.Itoa(st.file)}, a...))
	}),
	// The mode of a file without a name.
	"tmpfile": func(_ *opState, a []string) (string, error) {
		fd, err := unix.Openat2(unix.AT_FDCWD, a[0], &unix.OpenHow{Flags: unix.O_TMPFILE | unix.O_RDWR | unix.O_CLOEXEC, Mode: 0o666})
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		return fmt.Sprintf("%o %d", st.Mode&0o7777, st.Uid), err
	},
	"nofile": plain(func(*opState, []string) error {
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3})
	}),
	"pipe": plain(func(st *opState, _ []string) error {
		var p [2]int
		err := unix.Pipe2(p[:], unix.O_CLOEXEC)
		st.file = p[0]
		return err
	}),
	"fchmod":     plain(func(st *opState, a []string) error { return unix.Fchmod(st.file, mode(a[0])) }),
	"fchmod-num": plain(func(_ *opState, a []string) error { return unix.Fchmod(opNumber(a[0]), 0o600) }),
	"fchown":     plain(func(st *opState, _ []string) error { return unix.Fchown(st.file, -1, -1) }),
	"ftruncate":  plain(func(st *opState, a []string) error { return unix.Ftruncate(st.file, int64(opNumber(a[0]))) }),
	"fsetxattr":  plain(func(st *opState, a []string) error { return unix.Fsetxattr(st.file, a[0], []byte("v"), 0) }),
	"fgetxattr": func(st *opState, a []string) (string, error) {
		n, err := unix.Fgetxattr(st.file, a[0], make([]byte, 10))
		return strconv.Itoa(n), err
	},
	"setxattr": plain(func(_ *opState, a []string) error { return unix.Setxattr(a[0], a[1], []byte("v"), 0) }),
	"flock": plain(func(st *opState, a []string) error {
		how := map[string]int{"ex": unix.LOCK_EX, "sh": unix.LOCK_SH, "un": unix.LOCK_UN}[a[0]]
		return unix.Flock(st.file, how)
	}),
	"chmod":    plain(func(_ *opState, a []string) error { return unix.Fchmodat(unix.AT_FDCWD, a[0], mode(a[1]), 0) }),
	"chown":    plain(func(_ *opState, a []string) error { return unix.Fchownat(unix.AT_FDCWD, a[0], opNumber(a[1]), -1, 0) }),
	"truncate": plain(func(_ *opState, a []string) error { return unix.Truncate(a[0], int64(opNumber(a[1]))) }),
	"utimes":   plain(func(_ *opState, a []string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, a[0], nil, 0) }),
	"futimes": plain(func(st *opState, _ []string) error {
		_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(st.file), 0, 0, 0, 0, 0)
		return failure(e)
	}),
	"mode": func(_ *opState, a []string) (string, error) {
		info, err := os.Lstat(a[0])
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%o %d", info.Mode()&fs.ModePerm, info.Sys().(*syscall.Stat_t).Uid), nil
	},
	"rename": plain(func(_ *opState, a []string) error { return os.Rename(a[0], a[1]) }),
	"chdir":  plain(func(_ *opState, a []string) error { return os.Chdir(a[0]) }),
	"umask":  plain(func(_ *opState, a []string) error { unix.Umask(int(mode(a[0]))); return nil }),

	"kill": plain(func(st *opState, a []string) error { return unix.Kill(st.target(a[0]), unix.Signal(opNumber(a[1]))) }),
	"tgkill": plain(func(st *opState, a []string) error {
		return unix.Tgkill(st.target(a[0]), st.target(a[0]), unix.Signal(opNumber(a[1])))
	}),
	"pidfd": plain(func(st *opState, a []string) error {
		fd, err := unix.PidfdOpen(st.target(a[0]), 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.PidfdSendSignal(fd, unix.Signal(opNumber(a[1])), nil, 0)
	}),
	"child": plain(func(st *opState, _ []string) (err error) {
		st.child, err = syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, nil)
		return err
	}),
	"ignore": plain(func(_ *opState, a []string) error { signal.Ignore(syscall.Signal(opNumber(a[0]))); return nil }),
	"reap": func(st *opState, _ []string) (string, error) {
		var ws unix.WaitStatus
		_, err := unix.Wait4(st.child, &ws, 0, nil)
		return strconv.Itoa(int(ws.Signal())), err
	},
}

func (st *opState) target(word string) int {
	switch word {
	case "self":
		return os.Getpid()
	case "child":
		return st.child
	case "group":
		return 0
	}
	return opNumber(word)
}

func mode(octal string) uint32 {
	n, err := strconv.ParseUint(octal, 8, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

func failure(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func sendtoOp(st *opState, a []string) (string, error) {
	raw, data := unixAddr(a[0]), []byte(a[1])
	n, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(st.sock), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), 0,
		uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)))
	return strconv.Itoa(int(n)), failure(e)
}

// mmsghdr64 is struct mmsghdr.
type mmsghdr64 struct {
	msg unix.Msghdr
	len uint32
}

func sendmmsgOp(st *opState, a []string) (string, error) {
	raw, data := unixAddr(a[0]), []byte(a[1])
	iov := unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	var list [2]mmsghdr64
	for i := range list {
		list[i].msg = unix.Msghdr{Name: &raw[0], Namelen: uint32(len(raw)), Iov: &iov}
		list[i].msg.SetIovlen(1)
	}
	n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(st.sock), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), 0, 0, 0)
	if e == 0 && (list[0].len != uint32(len(data)) || list[1].len != uint32(len(data))) {
		return "wrong lengths", nil
	}
	return strconv.Itoa(int(n)), failure(e)
}

// openat2Op opens and closes. The descriptor must be of the name, or of a third word.
func openat2Op(_ *opState, a []string) error {
	how := map[string]unix.OpenHow{
		"read": {Flags: unix.O_RDONLY}, "trunc": {Flags: unix.O_WRONLY | unix.O_TRUNC}, "path": {Flags: unix.O_PATH},
		"creat": {Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, Mode: 0o600},
		"make":  {Flags: unix.O_RDWR | unix.O_CREAT | unix.O_NONBLOCK, Mode: 0o600},
		"excl":  {Flags: unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, Mode: 0o600},
		"own":   {Flags: unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW, Mode: 0o600},
		"notmp": {Flags: unix.O_RDWR | unix.O_TMPFILE&^unix.O_DIRECTORY, Mode: 0o600},
	}[a[1]]
	how.Flags |= unix.O_CLOEXEC
	fd, err := unix.Openat2(unix.AT_FDCWD, a[0], &how)
	if err != nil {
		return err
	}
	want := a[0]
	if a[2] != "" {
		want = a[2]
	}
	if link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err != nil || link != want {
		return fmt.Errorf("descriptor of %q: %w", link, err)
	}
	return unix.Close(fd)
}
