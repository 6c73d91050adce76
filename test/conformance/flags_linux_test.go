package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// target is what calls with flags are about.
type target struct{ dir, fd, place uintptr }

// flagCalls are calls with a name beneath a directory, and flags.
func flagCalls() map[string]func(t target, name string, flags uintptr) error {
	word := func(name string) uintptr {
		if name == "" {
			return 0
		}
		return text(name)
	}
	const none = ^uintptr(0)
	return map[string]func(t target, name string, flags uintptr) error{
		"fstatat": func(t target, name string, flags uintptr) error {
			return unix.Fstatat(int(t.dir), name, new(unix.Stat_t), int(flags))
		},
		"statx": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_STATX, t.dir, word(name), flags, unix.STATX_ALL, at(new(unix.Statx_t)))
		},
		"faccessat2": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_FACCESSAT2, t.dir, word(name), 4, flags)
		},
		"fchmodat2": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_FCHMODAT2, t.dir, word(name), 0o600, flags)
		},
		"fchownat": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_FCHOWNAT, t.dir, word(name), none, none, flags)
		},
		"utimensat": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_UTIMENSAT, t.dir, word(name), 0, flags)
		},
		"linkat": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_LINKAT, t.dir, word(name), t.dir, text("new"), flags)
		},
		"unlinkat": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_UNLINKAT, t.dir, word(name), flags)
		},
		"renameat2": func(t target, name string, flags uintptr) error {
			return try(unix.SYS_RENAMEAT2, t.dir, word(name), t.dir, text("new"), flags)
		},
	}
}

const unknownFlag = 0x8000

// flagCases are of AT_ flags that a call does not take, and of null pointers in place of a
// name. The kernel's answer is the same whoever carries the call out.
func flagCases() []Case {
	var cases []Case
	add := func(name string, w Want, call func(t target) error) {
		for _, p := range []phase{plain, entered} {
			where := map[phase]string{plain: "", entered: " in capability mode"}[p]
			cases = append(cases, Case{Name: "lookup/flags: " + name + where, In: p, Want: w, Static: ptr(w.or(refused)), Make: func(t *T) func() error {
				dir, _ := t.folder()
				fd, place := t.file(), t.open(t.Dir, unix.O_PATH)
				return func() error {
					for _, held := range []int{dir, fd, place} {
						limitSet(held, allBut(rights.Fexecve))
					}
					return call(target{uintptr(dir), uintptr(fd), uintptr(place)})
				}
			}})
		}
	}
	calls := flagCalls()
	for _, name := range sortedKeys(calls) {
		add(name+" with one that is unknown", is(unix.EINVAL), func(t target) error { return calls[name](t, "file", unknownFlag) })
		add(name+" with none", success, func(t target) error { return calls[name](t, "file", 0) })
	}
	for _, name := range []string{"fstatat", "statx", "fchmodat2", "fchownat", "utimensat"} {
		add(name+" with another call's", is(unix.EINVAL), func(t target) error { return calls[name](t, "file", unix.AT_REMOVEDIR) })
	}
	for _, name := range []string{"fstatat", "statx", "faccessat2", "fchmodat2", "fchownat", "utimensat"} {
		want := success
		if name == "fchmodat2" {
			want = is(unix.EOPNOTSUPP)
		}
		add(name+" of a link", want, func(t target) error { return calls[name](t, "near", unix.AT_SYMLINK_NOFOLLOW) })
	}
	add("statx that forces and forbids to ask a server", is(unix.EINVAL), func(t target) error { return calls["statx"](t, "file", 0x6000) })
	add("fstatat that does", success, func(t target) error { return calls["fstatat"](t, "file", 0x6000|unix.AT_NO_AUTOMOUNT) })
	add("faccessat2 for the effective user", success, func(t target) error { return calls["faccessat2"](t, "file", unix.AT_EACCESS) })
	for _, name := range []string{"faccessat2", "fchmodat2", "fchownat"} {
		add(name+" with a null pointer", is(unix.EFAULT), func(t target) error { return calls[name](target{dir: t.fd}, "", unix.AT_EMPTY_PATH) })
	}
	add("utimensat with a null pointer", success, func(t target) error { return try(unix.SYS_UTIMENSAT, t.fd, 0, 0, 0) })
	others := map[string]uintptr{"no name": unix.AT_EMPTY_PATH, "no link": unix.AT_SYMLINK_NOFOLLOW, "nothing known": unknownFlag}
	for _, name := range sortedKeys(others) {
		add("utimensat with a null pointer and the flag for "+name, is(unix.EINVAL), func(t target) error {
			return try(unix.SYS_UTIMENSAT, t.fd, 0, 0, others[name])
		})
	}
	add("utimensat of an O_PATH descriptor with a null pointer", is(unix.EBADF), func(t target) error {
		return try(unix.SYS_UTIMENSAT, t.place, 0, 0, 0)
	})
	// The second is one of Linux 6.12, by which more is written than otherwise.
	for name, flag := range []int{unknownFlag, 1} {
		cases = append(cases, Case{Name: fmt.Sprint("lookup/flags: name_to_handle_at with unknown one ", name), Want: is(unix.EINVAL), Static: ptr(is(unix.EINVAL).or(refused)), Make: func(t *T) func() error {
			dir, _ := t.folder()
			return func() error {
				limitSet(dir, allBut(rights.Fexecve))
				_, _, err := unix.NameToHandleAt(dir, "file", flag)
				return err
			}
		}})
	}
	return cases
}

// linkCases are of linkat of a descriptor itself, in capability mode.
func linkCases() []Case {
	in := func(name string, w Want, link func(dir int) error) Case {
		return Case{Name: "lookup/linkat of " + name, In: entered, Want: w, Static: ptr(w.or(refused)), Make: func(t *T) func() error {
			dir, _ := t.folder()
			return func() error { return link(dir) }
		}}
	}
	open := func(dir int, name string, flags int) int {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0o600)
		stop("open", err)
		return fd
	}
	itself := func(fd, dir int) error { return unix.Linkat(fd, "", dir, "new", unix.AT_EMPTY_PATH) }
	// Root may give everything a name.
	unlessRoot := is(unix.ENOENT)
	if os.Geteuid() == 0 {
		unlessRoot = success
	}
	return []Case{
		in("a file without a name", success, func(dir int) error {
			fd := open(dir, ".", unix.O_TMPFILE|unix.O_RDWR)
			return all(itself(fd, dir), openAt(dir, "new", unix.O_RDONLY))
		}),
		in("a file without a name, to where there is something", is(unix.EEXIST), func(dir int) error {
			return unix.Linkat(open(dir, ".", unix.O_TMPFILE|unix.O_RDWR), "", dir, "file", unix.AT_EMPTY_PATH)
		}),
		in("a file without a name, with no right to", notCapable, func(dir int) error {
			fd := open(dir, ".", unix.O_TMPFILE|unix.O_RDWR)
			limitSet(fd, allBut(rights.LinkatSource))
			return itself(fd, dir)
		}),
		in("a file without a name, without the flag", is(unix.ENOENT), func(dir int) error {
			return unix.Linkat(open(dir, ".", unix.O_TMPFILE|unix.O_RDWR), "", dir, "new", 0)
		}),
		in("a file that has a name", unlessRoot, func(dir int) error { return itself(open(dir, "file", unix.O_RDWR), dir) }),
		in("a file that is not to be read", unlessRoot, func(dir int) error { return itself(open(dir, ".", unix.O_TMPFILE|unix.O_WRONLY), dir) }),
		in("a directory", is(unix.ENOENT, unix.EPERM), func(dir int) error { return itself(dir, dir) }),
	}
}

// endCases are of names whose last component is special, and of links that are held.
func endCases() []Case {
	held := func(name string, w Want, r having, link func(path string) string) Case {
		return Case{Name: "lookup/no name: readlinkat of " + name, In: entered, Want: w, Static: ptr(w.or(refused)), Make: func(t *T) func() error {
			_, path := t.folder()
			fd := t.open(link(path), unix.O_PATH|unix.O_NOFOLLOW)
			return func() error {
				if r != nil {
					limit(fd, r...)
				}
				buf := make([]byte, 100)
				n, err := unix.Readlinkat(fd, "", buf)
				return all(err, same("text", string(buf[:max(n, 0)]), "sub/file"))
			}
		}}
	}
	near := func(path string) string { return path + "/near" }
	cases := []Case{
		held("a link", success, nil, near),
		held("a link, with the right", success, having{rights.Lookup}, near),
		held("a link, without the right", notCapable, having{rights.Read}, near),
		held("no link", is(unix.ENOENT), nil, func(path string) string { return path + "/file" }),
		held("who asks", is(unix.ENOENT), nil, func(string) string { return "/proc/self" }),
	}
	for name, want := range map[string]Want{"sub/..": is(unix.ENOTEMPTY), "sub/../": is(unix.ENOTEMPTY), "sub/.": is(unix.EINVAL), "no/..": is(unix.ENOENT)} {
		cases = append(cases, Case{Name: "lookup/a directory removed by the name " + name, In: entered, Want: want, Static: ptr(want.or(refused)), Make: func(t *T) func() error {
			dir, _ := t.folder()
			return func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) }
		}})
	}
	slices.SortFunc(cases, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return cases
}
