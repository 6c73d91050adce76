package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

func systemLookupCases() []Case {
	var cases []Case
	for _, s := range situations() {
		cases = append(cases, openat2Cases(s)...)
		cases = append(cases, magicCases(s)...)
	}
	cases = append(cases, namelessCases()...)
	cases = append(cases, flagCases()...)
	cases = append(cases, linkCases()...)
	cases = append(cases, endCases()...)
	cases = append(cases, mountCases()...)
	return append(cases, []Case{
		{Name: "lookup/openat2 from the working directory", In: entered, Want: capMode, Static: &refused, Make: func(*T) func() error {
			return func() error { return open2(unix.AT_FDCWD, "file", unix.OpenHow{}) }
		}},
		{Name: "lookup/a directory moved while names are looked up from it", In: alone, Want: success, Static: &either, Make: movedAway},
		{Name: "lookup/a link that changes while it is followed", In: alone, Want: success, Static: &either, Make: changingLink},
	}...)
}

// mountCases are of calls that have to do with mounts, which no right permits. Where
// nothing is limited the kernel has some other answer to such arguments.
func mountCases() []Case {
	const setFD = 5 // FSCONFIG_SET_FD
	calls := map[string]func(dir, other uintptr) error{
		"fspick":        func(dir, _ uintptr) error { return try(unix.SYS_FSPICK, dir, 0, 0) },
		"fsmount":       func(dir, _ uintptr) error { return try(unix.SYS_FSMOUNT, dir, 0, 0) },
		"fsconfig":      func(dir, _ uintptr) error { return try(unix.SYS_FSCONFIG, dir, 0, 0, 0, 0) },
		"fsconfig with": func(dir, other uintptr) error { return try(unix.SYS_FSCONFIG, other, setFD, 0, 0, dir) },
		"mount_setattr": func(dir, _ uintptr) error { return try(unix.SYS_MOUNT_SETATTR, dir, 0, 0, 0, 0) },
		"move_mount":    func(dir, other uintptr) error { return try(unix.SYS_MOVE_MOUNT, dir, 0, other, 0, 0) },
		"move_mount to": func(dir, other uintptr) error { return try(unix.SYS_MOVE_MOUNT, other, 0, dir, 0, 0) },
		"quotactl_fd":   func(dir, _ uintptr) error { return try(unix.SYS_QUOTACTL_FD, dir, 0, 0, 0) },
	}
	var cases []Case
	for _, name := range sortedKeys(calls) {
		for _, limited := range []bool{false, true} {
			want, which := is(unix.EINVAL, unix.EFAULT, unix.EPERM, unix.EBADF, unix.ENOTBLK, unix.ENOSYS), "an unlimited directory"
			if limited {
				want, which = notCapable, "a limited directory"
			}
			cases = append(cases, Case{Name: "lookup/mounts: " + name + " " + which, Want: want, Make: func(t *T) func() error {
				dir, _ := t.folder()
				other := t.file()
				return func() error {
					if limited {
						limitSet(dir, allBut(rights.Seek))
					}
					return calls[name](uintptr(dir), uintptr(other))
				}
			}})
		}
	}
	return cases
}

// namelessCases are of *at calls on a descriptor itself, which need its own rights.
func namelessCases() []Case {
	var cases []Case
	add := func(name string, lacking rights.Right, call func(fd, dir int) error) {
		for _, p := range []phase{plain, entered} {
			where := map[phase]string{plain: "", entered: " in capability mode"}[p]
			for _, lacks := range []bool{false, true} {
				want, set, how := success, everyRight(), "with every right"
				if lacks {
					want, set, how = notCapable, allBut(lacking), fmt.Sprintf("without %v", lacking)
				}
				cases = append(cases, Case{Name: "lookup/no name: " + name + where + " " + how, In: p, Want: want, Static: ptr(want.or(refused)), Make: func(t *T) func() error {
					fd := t.file()
					dir, _ := t.folder()
					return func() error { limitSet(fd, set); return call(fd, dir) }
				}})
			}
		}
	}
	add("fchownat", rights.Fchown, func(fd, _ int) error { return unix.Fchownat(fd, "", -1, -1, unix.AT_EMPTY_PATH) })
	add("fchmodat2", rights.Fchmod, func(fd, _ int) error {
		return try(unix.SYS_FCHMODAT2, uintptr(fd), text(""), 0o600, unix.AT_EMPTY_PATH)
	})
	add("utimensat", rights.Futimes, func(fd, _ int) error { return unix.UtimesNanoAt(fd, "", make([]unix.Timespec, 2), unix.AT_EMPTY_PATH) })
	add("statx", rights.Fstat, func(fd, _ int) error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, new(unix.Statx_t)) })
	add("statx without a pointer", rights.Fstat, func(fd, _ int) error {
		return try(unix.SYS_STATX, uintptr(fd), 0, unix.AT_EMPTY_PATH, 0, at(new(unix.Statx_t)))
	})
	add("fstatat", rights.Fstat, func(fd, _ int) error { return unix.Fstatat(fd, "", new(unix.Stat_t), unix.AT_EMPTY_PATH) })
	return append(cases, Case{Name: "lookup/no name: linkat without linkat_source", Want: notCapable, Static: &refused, Make: func(t *T) func() error {
		fd := t.file()
		dir, _ := t.folder()
		return func() error {
			limitSet(fd, allBut(rights.LinkatSource))
			return unix.Linkat(fd, "", dir, "new", unix.AT_EMPTY_PATH)
		}
	}})
}

// open2 opens by openat2, again where the kernel gave up because of a rename by anybody,
// as other tests make them all the time.
func open2(dir int, name string, how unix.OpenHow) error {
	how.Flags |= unix.O_CLOEXEC
	err := error(unix.EAGAIN)
	for tries := 0; err == unix.EAGAIN && tries < 1000; tries++ {
		var fd int
		if fd, err = unix.Openat2(dir, name, &how); err == nil {
			err = unix.Close(fd)
		}
	}
	return err
}

// openat2Cases are lookups by openat2, which has rules of its own.
func openat2Cases(s situation) []Case {
	leaves, beneath := success, is(unix.EXDEV)
	if s.held {
		leaves, beneath = notCapable, is(unix.EXDEV).or(notCapable)
	}
	open := func(why, name string, w Want, how unix.OpenHow) Case {
		return openCase("lookup/"+s.name+": openat2 "+why, s, w, func(dir int, path string) error { return open2(dir, expand(name, path), how) })
	}
	return []Case{
		open("beneath", "sub/file", success, unix.OpenHow{}),
		open("by way of ..", "../NAME.out", leaves, unix.OpenHow{}),
		open("by a link that leaves", "out", leaves, unix.OpenHow{}),
		open("by an absolute link", "abs", leaves, unix.OpenHow{}),
		open("told to stay beneath", "../NAME.out", beneath, unix.OpenHow{Resolve: unix.RESOLVE_BENEATH}),
		open("told to follow no link", "near", is(unix.ELOOP), unix.OpenHow{Resolve: unix.RESOLVE_NO_SYMLINKS}),
		open("with an unknown flag", "file", is(unix.EINVAL), unix.OpenHow{Resolve: 1 << 40}),
	}
}

// magicCases are lookups in /proc, whose links lead to open files.
func magicCases(s situation) []Case {
	leaves := success
	if s.held {
		leaves = notCapable.or(capMode)
	}
	cases := []Case{}
	ways := map[string]int{"to read": unix.O_RDONLY, "to write": unix.O_RDWR, "as a place": unix.O_PATH}
	for _, why := range sortedKeys(ways) {
		cases = append(cases, Case{Name: "lookup/" + s.name + ": a magic link " + why, In: s.in, Want: leaves, Static: s.static, Make: func(t *T) func() error {
			proc, fd := t.open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY), t.file()
			return func() error { s.limit(proc); return openAt(proc, fmt.Sprint(fd), ways[why]) }
		}})
	}
	links := map[string]string{"root": "root/etc/passwd", "working directory": "cwd/.", "program": "exe"}
	for _, why := range sortedKeys(links) {
		cases = append(cases, Case{Name: "lookup/" + s.name + ": the magic link of the " + why, In: s.in, Want: leaves, Static: s.static, Make: func(t *T) func() error {
			proc := t.open("/proc/self", unix.O_RDONLY|unix.O_DIRECTORY)
			return func() error { s.limit(proc); return openAt(proc, links[why], unix.O_RDONLY) }
		}})
	}
	cases = append(cases, Case{Name: "lookup/" + s.name + ": from an O_PATH descriptor", In: s.in, Want: success, Static: s.static, Make: func(t *T) func() error {
		_, path := t.folder()
		dir := t.open(path, unix.O_PATH|unix.O_DIRECTORY)
		return func() error { s.limit(dir); return openAt(dir, "sub/file", unix.O_RDONLY) }
	}})
	return cases
}

// movedAway looks up x/../../secret from a directory while x moves in and out of
// it: whoever trusts names climbs out.
func movedAway(t *T) func() error {
	top := t.path("top")
	stop("mkdir", os.MkdirAll(top+"/held/x/y", 0o700))
	stop("mkdir", os.MkdirAll(top+"/away", 0o700))
	stop("write", os.WriteFile(top+"/secret", []byte("x"), 0o600))
	dir := t.open(top+"/held", unix.O_RDONLY|unix.O_DIRECTORY)
	return func() error {
		limit(dir, rights.Lookup, rights.Read)
		var done atomic.Bool
		defer done.Store(true)
		go func() {
			for !done.Load() {
				_ = os.Rename(top+"/held/x/y", top+"/away/y")
				_ = os.Rename(top+"/away/y", top+"/held/x/y")
			}
		}()
		return neverOpens(dir, "x/y/../../../secret", "x/y/../../secret")
	}
}

// changingLink looks up a link that leads beneath and outside in turn.
func changingLink(t *T) func() error {
	dir, path := t.folder()
	out := filepath.Base(path) + ".out"
	stop("write", os.WriteFile(path+".out", []byte("outside"), 0o600))
	return func() error {
		limit(dir, rights.Lookup, rights.Read)
		var done atomic.Bool
		defer done.Store(true)
		go func() {
			for !done.Load() {
				for _, target := range []string{"file", "../" + out} {
					_ = os.Symlink(target, path+"/next")
					_ = os.Rename(path+"/next", path+"/turning")
				}
			}
		}()
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
			fd, err := unix.Openat(dir, "turning", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			var first [1]byte
			if n, err := unix.Read(fd, first[:]); err != nil || n != 1 || first[0] != '0' {
				return fmt.Errorf("the file that was opened begins with %q: %v", first, err)
			}
			_ = unix.Close(fd)
		}
		return nil
	}
}

// neverOpens tries names for a while.
func neverOpens(dir int, names ...string) error {
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		for _, name := range names {
			if err := openAt(dir, name, unix.O_RDONLY); err == nil {
				return fmt.Errorf("%s was opened", name)
			}
		}
	}
	return nil
}
