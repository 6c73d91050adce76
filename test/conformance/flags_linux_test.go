package conformance

import (
	"fmt"

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
