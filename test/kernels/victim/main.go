// Command victim does one thing, and says "ok" or the name of the errno that it
// met. The checks of test/kernels run it unconfined and confined; it is static
// and makes plain system calls, so it needs nothing of the machine it is on.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// actions are what the first argument may be. One that misses an argument
// panics, which no check takes for a denial.
var actions = map[string]func(args []string) error{
	"read":     func(a []string) error { return opened(a[0], unix.O_RDONLY) },
	"write":    func(a []string) error { return opened(a[0], unix.O_WRONLY|unix.O_APPEND) },
	"create":   func(a []string) error { return opened(a[0], unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL) },
	"list":     list,
	"stat":     func(a []string) error { var st unix.Stat_t; return unix.Stat(a[0], &st) },
	"statx":    func(a []string) error { return statx(a[0]) },
	"access":   func(a []string) error { return unix.Faccessat2(unix.AT_FDCWD, a[0], unix.R_OK, unix.AT_EACCESS) },
	"chmod":    func(a []string) error { return unix.Chmod(a[0], 0o600) },
	"utimes":   func(a []string) error { return unix.Utimes(a[0], nil) },
	"cut":      func(a []string) error { return opened(a[0], unix.O_WRONLY|unix.O_TRUNC) },
	"cut2":     cut2,
	"fcut":     fcut,
	"truncate": func(a []string) error { return unix.Truncate(a[0], 1) },
	"unlink":   func(a []string) error { return unix.Unlink(a[0]) },
	"mkdir":    func(a []string) error { return unix.Mkdir(a[0], 0o755) },
	"rename":   func(a []string) error { return unix.Rename(a[0], a[1]) },
	"link":     func(a []string) error { return unix.Link(a[0], a[1]) },
	"symlink":  func(a []string) error { return unix.Symlink(a[0], a[1]) },
	"chdir":    chdir,
	"exec":     func(a []string) error { return unix.Exec(a[0], a, nil) },
	"tmpfile":  func(a []string) error { return opened(a[0], unix.O_RDWR|unix.O_TMPFILE) },

	"kill":    func(a []string) error { return unix.Kill(number(a[0]), 0) },
	"tgkill":  func(a []string) error { return unix.Tgkill(number(a[0]), number(a[0]), 0) },
	"pidfd":   pidfd,
	"ptrace":  func(a []string) error { return unix.PtraceSeize(number(a[0])) },
	"vmread":  vmRead,
	"group":   func([]string) error { return everyone(0) },
	"all":     func([]string) error { return everyone(-1) },
	"pack":    pack,
	"threads": threads,
	"orphan":  orphan,
	"sleep":   func([]string) error { return pause() },
	"as":      as,

	"serve":    serve,
	"connect":  connect,
	"sendto":   sendTo,
	"chat":     chat,
	"chatter":  chatter,
	"tcp":      tcp,
	"userns":   userNamespace,
	"mounting": mounting,
	"keyring":  keyring,
	"terminal": terminal,
	"named":    named,
}

// files are the descriptors of a program that this one starts.
var files = []*os.File{os.Stdin, os.Stdout, os.Stderr}

func main() {
	err := actions[os.Args[1]](os.Args[2:])
	if err == nil {
		fmt.Println("ok")
		return
	}
	var errno unix.Errno
	if name := ""; errors.As(err, &errno) {
		if name = unix.ErrnoName(errno); name != "" {
			fmt.Println(name)
		}
	}
	fmt.Fprintln(os.Stderr, "victim:", os.Args[1:], err)
	os.Exit(1)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func opened(name string, flags int) error {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// cut2 has the flag where no filter sees it.
func cut2(a []string) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, a[0], &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_TRUNC | unix.O_CLOEXEC})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func fcut(a []string) error {
	fd, err := unix.Open(a[0], unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open before cutting: %v", err) // no denial of the kind wanted
	}
	return unix.Ftruncate(fd, 1)
}

func list(a []string) error {
	entries, err := os.ReadDir(a[0])
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return err
}

func statx(name string) error {
	var st unix.Statx_t
	return unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &st)
}

// chdir enters a directory and opens a name relative to it.
func chdir(a []string) error {
	if err := unix.Chdir(a[0]); err != nil {
		return err
	}
	if wd, err := unix.Getwd(); err != nil || wd != a[0] {
		return fmt.Errorf("working directory %q: %w", wd, errors.Join(err, unix.EIO))
	}
	return opened(a[1], unix.O_RDONLY)
}

func mounting(a []string) error {
	if err := unix.Mount("none", a[0], "tmpfs", 0, ""); err != nil {
		return err
	}
	return unix.Unmount(a[0], unix.MNT_DETACH)
}

func keyring([]string) error {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_SESSION_KEYRING, true)
	return err
}

// terminal makes a pseudo terminal and opens its other end by name.
func terminal([]string) error {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return err
	}
	return opened("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY)
}

// named prints the host's name.
func named([]string) error {
	name, err := os.Hostname()
	fmt.Println(name)
	return err
}
