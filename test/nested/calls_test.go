//go:build linux

package nested

import (
	"fmt"
	"os"
	"os/exec"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/procdesc"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

func policyRO() rights.Set  { return policy.RO }
func policyRWX() rights.Set { return policy.RWX }

// call is one thing that a victim tries. Each has a directory of its own.
type call struct {
	name   string
	do     func(*here) error
	place  string // where, if not in the tree
	alone  bool   // done for nobody: the library refuses it, or it is by a global name
	never  bool   // nobody may
	always bool   // whatever is granted
	only   string // the engine under which it may ever be
}

// opened is a call that opens a name, and does something to the file.
func opened(name, file string, flags int, do func(fd int) error) call {
	return call{name: name, do: func(h *here) error {
		fd, err := unix.Openat(h.dir, file, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return do(fd)
	}}
}

func nothing(int) error { return nil }

func reads(fd int) error {
	_, err := unix.Read(fd, make([]byte, 1))
	return err
}

func writes(fd int) error {
	_, err := unix.Write(fd, []byte("x"))
	return err
}

func lists(fd int) error {
	_, err := unix.Getdents(fd, make([]byte, 4096))
	return err
}

func cuts(fd int) error { return unix.Ftruncate(fd, 0) }

// on is a call on the victim's file, which it opened before.
func on(name string, do func(fd int) error) call {
	return call{name: name, do: func(h *here) error {
		if h.wfile >= 0 {
			return do(h.wfile)
		}
		return do(h.file)
	}}
}

// at is a call with the victim's directory.
func at(name string, do func(h *here) error) call { return call{name: name, do: do} }

func calls() []call {
	var list []call
	list = append(list, openCalls()...)
	list = append(list, lookCalls()...)
	list = append(list, changeCalls()...)
	list = append(list, nameCalls()...)
	list = append(list, fileCalls()...)
	return append(list, outsideCalls()...)
}

func openCalls() []call {
	return []call{
		opened("open to read", "f", unix.O_RDONLY, reads),
		opened("open to write", "f", unix.O_WRONLY, writes),
		opened("open for both", "f", unix.O_RDWR, writes),
		opened("open to append", "f", unix.O_WRONLY|unix.O_APPEND, writes),
		opened("open and cut", "f", unix.O_WRONLY|unix.O_TRUNC, nothing),
		opened("open to read and cut", "f", unix.O_RDONLY|unix.O_TRUNC, nothing),
		opened("open, then cut", "f", unix.O_RDWR, cuts),
		opened("create", "new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, writes),
		opened("create what is there", "f", unix.O_WRONLY|unix.O_CREAT, writes),
		opened("open a nameless file", ".", unix.O_RDWR|unix.O_TMPFILE, writes),
		opened("open a directory", "d", unix.O_RDONLY|unix.O_DIRECTORY, lists),
		opened("open by a link", "l", unix.O_RDONLY, reads),
		opened("open a place", "f", unix.O_PATH, nothing),
		opened("open a pipe to read", "p", unix.O_RDONLY, nothing),
		opened("open a pipe to write", "p", unix.O_RDWR, writes),
		at("openat2", func(h *here) error {
			fd, err := unix.Openat2(h.dir, "f", &unix.OpenHow{Flags: unix.O_RDWR | unix.O_CLOEXEC})
			if err == nil {
				err = writes(fd)
			}
			return err
		}),
		at("open in a directory that was opened", func(h *here) error {
			d, err := unix.Openat(h.dir, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			_, err = unix.Openat(d, "new", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			return err
		}),
	}
}

func lookCalls() []call {
	look := func(mode uint32, flags int) func(h *here) error {
		return func(h *here) error { return unix.Faccessat2(h.dir, "f", mode, flags) }
	}
	return []call{
		at("fstatat", func(h *here) error { return unix.Fstatat(h.dir, "f", new(unix.Stat_t), 0) }),
		at("fstatat of the directory", func(h *here) error { return unix.Fstatat(h.dir, "", new(unix.Stat_t), unix.AT_EMPTY_PATH) }),
		at("fstatat of the file", func(h *here) error { return unix.Fstatat(h.file, "", new(unix.Stat_t), unix.AT_EMPTY_PATH) }),
		at("statx", func(h *here) error { return unix.Statx(h.dir, "f", 0, unix.STATX_ALL, new(unix.Statx_t)) }),
		at("access to read", look(unix.R_OK, unix.AT_EACCESS)),
		at("access to write", look(unix.W_OK, unix.AT_EACCESS)),
		at("access to execute", func(h *here) error { return unix.Faccessat2(h.dir, "program", unix.X_OK, 0) }),
		at("readlinkat", func(h *here) error { _, err := unix.Readlinkat(h.dir, "l", make([]byte, 64)); return err }),
		{name: "name_to_handle_at", only: "namespaces", do: func(h *here) error {
			_, _, err := unix.NameToHandleAt(h.dir, "f", 0)
			return err
		}},
	}
}

func changeCalls() []call {
	times := []unix.Timespec{{Sec: 1}, {Sec: 2}}
	return []call{
		at("fchmodat", func(h *here) error { return unix.Fchmodat(h.dir, "f", 0o600, 0) }),
		at("fchmodat2", func(h *here) error { return unix.Fchmodat(h.dir, "f", 0o600, unix.AT_SYMLINK_NOFOLLOW) }),
		at("fchmodat of the directory", func(h *here) error { return fchmodat2(h.dir, "", 0o700, unix.AT_EMPTY_PATH) }),
		at("fchownat", func(h *here) error { return unix.Fchownat(h.dir, "f", -1, unix.Getegid(), 0) }),
		at("fchownat of the file", func(h *here) error { return unix.Fchownat(h.file, "", -1, unix.Getegid(), unix.AT_EMPTY_PATH) }),
		at("utimensat", func(h *here) error { return unix.UtimesNanoAt(h.dir, "f", times, 0) }),
		at("utimensat of the file", func(h *here) error { return unix.UtimesNanoAt(h.file, "", times, unix.AT_EMPTY_PATH) }),
		at("utimensat of no name", func(h *here) error { return utimens(h.file, &times[0]) }),
	}
}

func nameCalls() []call {
	return []call{
		at("mkdirat", func(h *here) error { return unix.Mkdirat(h.dir, "new", 0o755) }),
		at("mkdirat further in", func(h *here) error { return unix.Mkdirat(h.dir, "d/in/new", 0o755) }),
		at("mknodat a file", func(h *here) error { return unix.Mknodat(h.dir, "new", unix.S_IFREG|0o644, 0) }),
		at("mknodat a pipe", func(h *here) error { return unix.Mknodat(h.dir, "new", unix.S_IFIFO|0o644, 0) }),
		at("mknodat a socket", func(h *here) error { return unix.Mknodat(h.dir, "new", unix.S_IFSOCK|0o644, 0) }),
		{name: "mknodat a device", never: true, do: func(h *here) error {
			return unix.Mknodat(h.dir, "new", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
		}},
		at("symlinkat", func(h *here) error { return unix.Symlinkat("/etc/passwd", h.dir, "new") }),
		at("unlinkat", func(h *here) error { return unix.Unlinkat(h.dir, "g", 0) }),
		at("unlinkat a directory", func(h *here) error { return unix.Unlinkat(h.dir, "d/in", unix.AT_REMOVEDIR) }),
		at("linkat", func(h *here) error { return unix.Linkat(h.dir, "f", h.dir, "new", 0) }),
		at("linkat within", func(h *here) error { return unix.Linkat(h.dir, "f", h.dir, "d/new", 0) }),
		{name: "linkat a held file", alone: true, only: "namespaces", do: func(h *here) error {
			return unix.Linkat(h.file, "", h.dir, "new", unix.AT_EMPTY_PATH)
		}},
		{name: "linkat across", never: true, do: func(h *here) error { return unix.Linkat(h.dir, "f", h.other, "new", 0) }},
		at("renameat", func(h *here) error { return unix.Renameat(h.dir, "g", h.dir, "new") }),
		at("renameat over a file", func(h *here) error { return unix.Renameat(h.dir, "f", h.dir, "g") }),
		at("renameat within", func(h *here) error { return unix.Renameat(h.dir, "g", h.dir, "d/new") }),
		at("renameat exchange", func(h *here) error { return unix.Renameat2(h.dir, "f", h.dir, "g", unix.RENAME_EXCHANGE) }),
		{name: "renameat across", never: true, do: func(h *here) error { return unix.Renameat(h.dir, "g", h.other, "new") }},
		{name: "renameat into", never: true, do: func(h *here) error { return unix.Renameat(h.other, "g", h.dir, "new") }},
	}
}

func fileCalls() []call {
	return []call{
		on("fstat", func(fd int) error { return unix.Fstat(fd, new(unix.Stat_t)) }),
		on("fstatfs", func(fd int) error { return unix.Fstatfs(fd, new(unix.Statfs_t)) }),
		on("ftruncate", func(fd int) error { return unix.Ftruncate(fd, 1) }),
		on("fchmod", func(fd int) error { return unix.Fchmod(fd, 0o600) }),
		on("fchown", func(fd int) error { return unix.Fchown(fd, -1, unix.Getegid()) }),
		on("fgetxattr", func(fd int) error { _, err := unix.Fgetxattr(fd, "user.one", nil); return err }),
		on("flistxattr", func(fd int) error { _, err := unix.Flistxattr(fd, nil); return err }),
		on("fsetxattr", func(fd int) error { return unix.Fsetxattr(fd, "user.two", []byte("2"), 0) }),
		on("fremovexattr", func(fd int) error { return unix.Fremovexattr(fd, "user.one") }),
		on("flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }),
		on("dup and write", func(fd int) error {
			n, err := unix.Dup(fd)
			if err == nil {
				err = writes(n)
			}
			return err
		}),
		{name: "watch", alone: true, do: func(h *here) error {
			n, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err == nil {
				_, err = unix.InotifyAddWatch(n, h.path+"/f", unix.IN_MODIFY)
			}
			return err
		}},
		{name: "execute", do: executes},
	}
}

// executes executes the program of the tree, in a child, by a descriptor.
func executes(h *here) error {
	fd, err := unix.Openat(h.dir, "program", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "program")
	defer f.Close()
	p, err := procdesc.StartFile(f, &exec.Cmd{Args: []string{"program"}, Env: []string{}})
	if err != nil {
		return err
	}
	exit, err := p.Wait()
	if err == nil && exit.Status != 0 {
		err = fmt.Errorf("it ended with %#x", exit.Status)
	}
	return err
}

// outsideCalls are about what is nobody's tree: names that no grant has, and what is
// the supervisor's own.
func outsideCalls() []call {
	const anywhere = "/"
	var list []call
	refused := func(place, name string, flags int) call {
		return call{name: "open " + place + " " + name, place: place, never: true, do: func(h *here) error {
			fd, err := unix.Openat(h.dir, name, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
			if err == nil {
				err = unix.Fstat(fd, new(unix.Stat_t))
			}
			return err
		}}
	}
	for _, name := range []string{"etc/shadow", "root", "home", "new"} {
		list = append(list, refused(anywhere, name, unix.O_RDONLY))
	}
	for _, place := range []string{anywhere, "/dev"} {
		c := refused(place, "new", unix.O_WRONLY|unix.O_CREAT)
		c.name += " to make it"
		list = append(list, c)
	}
	for _, name := range []string{"1/environ", "1/mem", "1/root/etc", "1/cwd/etc", "1/fd/3", "1/exe", "1/maps", "keys", "kcore", "sysrq-trigger"} {
		list = append(list, refused("/proc", name, unix.O_RDONLY))
	}
	for _, name := range []string{"sys/kernel/core_pattern", "sys/kernel/hostname", "sys/vm/overcommit_memory", "1/oom_score_adj", "1/mem"} {
		c := refused("/proc", name, unix.O_WRONLY)
		c.name += " to write"
		list = append(list, c)
	}
	list = append(list,
		call{name: "write past the tree by a global name", alone: true, never: true, do: func(h *here) error {
			return unix.Renameat(h.dir, "g", unix.AT_FDCWD, h.path+"/../../../../outside/new")
		}},
		call{name: "link past the tree by a global name", alone: true, never: true, do: func(h *here) error {
			return unix.Linkat(unix.AT_FDCWD, h.path+"/../../../../outside/f", h.dir, "new", 0)
		}},
		call{name: "open past the tree by an absolute name", alone: true, never: true, do: func(h *here) error {
			_, err := unix.Openat(h.dir, h.path+"/../../../../outside/f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return err
		}},
		call{name: "control a terminal's device", place: "/dev", always: true, do: func(h *here) error {
			fd, err := unix.Openat(h.dir, "null", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				_, err = unix.IoctlGetTermios(fd, unix.TCGETS)
			}
			if err == unix.ENOTTY {
				err = nil
			}
			return err
		}},
	)
	return list
}

func fchmodat2(dir int, name string, mode uint32, flags int) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, e := unix.Syscall6(unix.SYS_FCHMODAT2, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(mode), uintptr(flags), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func utimens(fd int, times *unix.Timespec) error {
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
