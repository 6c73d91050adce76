//go:build linux || freebsd

package conformance

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// fcntls are the commands that a mask governs.
func fcntls() []struct {
	name string
	bit  rights.Fcntls
	call func(fd int) error
} {
	number := func(cmd, arg int) func(fd int) error {
		return func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), cmd, arg); return err }
	}
	return []struct {
		name string
		bit  rights.Fcntls
		call func(fd int) error
	}{
		{"F_GETFL", rights.FcntlGetfl, number(unix.F_GETFL, 0)},
		{"F_SETFL", rights.FcntlSetfl, number(unix.F_SETFL, unix.O_RDWR)},
		{"F_GETOWN", rights.FcntlGetown, number(unix.F_GETOWN, 0)},
		{"F_SETOWN", rights.FcntlSetown, number(unix.F_SETOWN, unix.Getpid())},
	}
}

func fcntlCases() []Case {
	mask := func(name string, w Want, call func(fd int) error) Case {
		return Case{Name: "fcntl/" + name, Want: w, Make: func(t *T) func() error { fd := aSocket(t); return func() error { return call(fd) } }}
	}
	to := func(fd int, m rights.Fcntls) { stop("limit fcntls", lib.LimitFcntlsFD(fd, m)) }
	is := func(fd int, m rights.Fcntls) error {
		got, err := lib.FcntlsFD(fd)
		return all(err, same("fcntls", got, m))
	}
	cases := []Case{
		mask("all at first", success, func(fd int) error { return is(fd, rights.FcntlAll) }),
		mask("a mask is told", success, func(fd int) error { to(fd, rights.FcntlGetfl); return is(fd, rights.FcntlGetfl) }),
		mask("again with the same", success, func(fd int) error { to(fd, rights.FcntlGetfl); to(fd, rights.FcntlGetfl); return nil }),
		mask("more", notCapable, func(fd int) error {
			to(fd, rights.FcntlGetfl)
			return lib.LimitFcntlsFD(fd, rights.FcntlGetfl|rights.FcntlSetfl)
		}),
		mask("more, and nothing changes", success, func(fd int) error {
			to(fd, rights.FcntlGetfl)
			return all(failing("limit", lib.LimitFcntlsFD(fd, rights.FcntlSetfl), notCapable), is(fd, rights.FcntlGetfl))
		}),
		mask("an unknown command", invalid, func(fd int) error { return lib.LimitFcntlsFD(fd, 1) }),
		mask("a command outside the mask's", invalid, func(fd int) error { return lib.LimitFcntlsFD(fd, rights.FcntlAll|1<<unix.F_SETLK) }),
		{Name: "fcntl/of a closed descriptor", Want: badFD, Make: func(*T) func() error {
			return func() error { return lib.LimitFcntlsFD(950, 0) }
		}},
		{Name: "fcntl/mask of a closed descriptor", Want: badFD, Make: func(*T) func() error {
			return func() error { _, err := lib.FcntlsFD(950); return err }
		}},
		mask("none after the right is gone", success, func(fd int) error {
			limitSet(fd, allBut(rights.Fcntl))
			return all(is(fd, 0), lib.LimitFcntlsFD(fd, 0), failing("more", lib.LimitFcntlsFD(fd, rights.FcntlGetfl), notCapable))
		}),
		mask("a mask leaves the rights", success, func(fd int) error {
			to(fd, 0)
			return all(hasRights(fd, everyRight()), failing("F_GETFL", fcntls()[0].call(fd), notCapable))
		}),
		mask("a mask outlives a limit of rights", success, func(fd int) error {
			to(fd, rights.FcntlGetfl)
			limit(fd, rights.Fcntl, rights.Read)
			return all(is(fd, rights.FcntlGetfl), fcntls()[0].call(fd), failing("F_SETFL", fcntls()[1].call(fd), notCapable))
		}),
		mask("F_GETFD and F_SETFD need nothing", success, func(fd int) error {
			limit(fd)
			_, get := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			_, set := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
			return all(get, set)
		}),
		mask("locks need no mask", success, func(fd int) error {
			return nil
		}),
	}
	cases[len(cases)-1].Make = func(t *T) func() error {
		fd := t.file()
		return func() error {
			limit(fd, rights.Flock)
			return all(unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}), failing("write", write(fd), notCapable))
		}
	}
	for _, p := range []phase{plain, entered} {
		where := map[phase]string{plain: "", entered: " in capability mode"}[p]
		for _, permitted := range fcntls() {
			for _, tried := range fcntls() {
				want := notCapable
				if tried.bit == permitted.bit {
					want = success
				}
				c := mask(tried.name+" with "+permitted.name+where, want, func(fd int) error { to(fd, permitted.bit); return tried.call(fd) }).in(p)
				if p == entered && tried.bit == permitted.bit && tried.bit == rights.FcntlSetown {
					c = c.expect(success, capMode) // its own number is that of a child's parent
				}
				cases = append(cases, c)
			}
		}
	}
	return cases
}

var invalid, badFD = is(unix.EINVAL), is(unix.EBADF)

func ioctlCases() []Case {
	list := func(name string, w Want, call func(fd int) error) Case {
		return Case{Name: "ioctl/" + name, Want: w, Make: func(t *T) func() error { fd := readEnd(t); return func() error { return call(fd) } }}
	}
	to := func(fd int, cmds ...uint) { stop("limit ioctls", lib.LimitIoctlsFD(fd, cmds...)) }
	is := func(fd int, cmds ...uint) error {
		got, limited, err := lib.IoctlsFD(fd)
		return all(err, same("limited", limited, true), same("ioctls", fmt.Sprint(got), fmt.Sprint(append([]uint{}, cmds...))))
	}
	nonblock := func(fd int) error { return unix.IoctlSetPointerInt(fd, fionbioCommand, 1) }
	cloexec := func(fd int) error { return unix.IoctlSetInt(fd, fioclexCommand, 0) }
	const read, nbio = fionreadCommand, fionbioCommand
	long := make([]uint, 257)
	for i := range long {
		long[i] = uint(i + 1)
	}
	cases := []Case{
		list("all at first", success, func(fd int) error {
			_, limited, err := lib.IoctlsFD(fd)
			return all(err, same("limited", limited, false), fionread(fd), nonblock(fd))
		}),
		list("a list is told", success, func(fd int) error { to(fd, read, nbio); return is(fd, read, nbio) }),
		list("a command on the list", success, func(fd int) error { to(fd, read); return fionread(fd) }),
		list("a command off the list", notCapable, func(fd int) error { to(fd, read); return nonblock(fd) }),
		list("an empty list", notCapable, func(fd int) error { to(fd); return fionread(fd) }),
		list("an empty list is told", success, func(fd int) error { to(fd); return is(fd) }),
		list("an unlisted command that the device has not", notCapable, func(fd int) error {
			to(fd, read)
			_, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
			return err
		}),
		list("fewer", success, func(fd int) error {
			to(fd, read, nbio)
			to(fd, nbio)
			return all(is(fd, nbio), nonblock(fd), failing("FIONREAD", fionread(fd), notCapable))
		}),
		list("more", notCapable, func(fd int) error { to(fd, read); return lib.LimitIoctlsFD(fd, read, nbio) }),
		list("others", notCapable, func(fd int) error { to(fd, read); return lib.LimitIoctlsFD(fd, nbio) }),
		list("more, and nothing changes", success, func(fd int) error {
			to(fd, read)
			return all(failing("limit", lib.LimitIoctlsFD(fd, nbio), notCapable), is(fd, read), fionread(fd))
		}),
		list("the same twice is more", notCapable, func(fd int) error { to(fd, read); return lib.LimitIoctlsFD(fd, read, read) }),
		list("the same in another order", success, func(fd int) error { to(fd, read, nbio); to(fd, nbio, read); return is(fd, nbio, read) }),
		list("256 commands", success, func(fd int) error { to(fd, long[:256]...); return is(fd, long[:256]...) }),
		list("257 commands", invalid, func(fd int) error { return lib.LimitIoctlsFD(fd, long...) }),
		{Name: "ioctl/257 commands come before a closed descriptor", Want: invalid, Make: func(*T) func() error {
			return func() error { return lib.LimitIoctlsFD(950, long...) }
		}},
		{Name: "ioctl/of a closed descriptor", Want: badFD, Make: func(*T) func() error {
			return func() error { return lib.LimitIoctlsFD(950, read) }
		}},
		{Name: "ioctl/list of a closed descriptor", Want: badFD, Make: func(*T) func() error {
			return func() error { _, _, err := lib.IoctlsFD(950); return err }
		}},
		list("a list leaves the rights", success, func(fd int) error { to(fd); return hasRights(fd, everyRight()) }),
		list("none after the right is gone", success, func(fd int) error {
			limitSet(fd, allBut(rights.Ioctl))
			return all(is(fd), lib.LimitIoctlsFD(fd), failing("more", lib.LimitIoctlsFD(fd, read), notCapable), failing("FIONREAD", fionread(fd), notCapable))
		}),
		list("a list is gone with the right", success, func(fd int) error {
			to(fd, read)
			limitSet(fd, allBut(rights.Ioctl))
			return all(is(fd), failing("FIONREAD", fionread(fd), notCapable))
		}),
		list("a list outlives a limit of rights", success, func(fd int) error {
			to(fd, read)
			limit(fd, rights.Ioctl)
			return all(is(fd, read), fionread(fd), failing("FIONBIO", nonblock(fd), notCapable))
		}),
		list("FIOCLEX needs the right", notCapable, func(fd int) error { limitSet(fd, allBut(rights.Ioctl)); return cloexec(fd) }),
		list("FIOCLEX needs the list", notCapable, func(fd int) error { to(fd, read); return cloexec(fd) }),
		list("FIONBIO needs the right", notCapable, func(fd int) error { limitSet(fd, allBut(rights.Ioctl)); return nonblock(fd) }),
		list("a command on the list in capability mode", success, func(fd int) error { to(fd, read); return fionread(fd) }).in(entered),
		list("a command off the list in capability mode", notCapable, func(fd int) error { to(fd, read); return nonblock(fd) }).in(entered),
		list("the other half of a word", notCapable, func(fd int) error { to(fd, nbio+1); return nonblock(fd) }),
	}
	return append(cases, systemIoctlCases()...)
}

// mmapCases are of mappings; which rights each protection needs is in the chapter
// rights.
func mmapCases() []Case {
	mapped := func(fd, prot, flags int) ([]byte, error) { return unix.Mmap(fd, 0, 4096, prot, flags) }
	then := func(name string, w Want, r having, prot, flags int, do func(fd int, m []byte) error) Case {
		c := onOpen("mmap/"+name, w, (*T).file, r, func(fd int) error {
			m, err := mapped(fd, prot, flags)
			stop("mmap", err)
			return do(fd, m)
		})
		c.Static = ptr(w.or(refused))
		return c
	}
	raise := func(prot int) func(int, []byte) error {
		return func(_ int, m []byte) error { return unix.Mprotect(m, prot) }
	}
	const shared, private = unix.MAP_SHARED, unix.MAP_PRIVATE
	const r, w, x = unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC
	higher := is(unix.EACCES).or(notCapable)
	return []Case{
		then("what is mapped is there", success, having{rights.MmapR}, r, shared, func(_ int, m []byte) error { return same("byte", m[0], 0) }),
		then("memory that is written to reaches the file", success, having{rights.MmapRW, rights.Pread}, r|w, shared, func(fd int, m []byte) error {
			m[5] = 7
			b := make([]byte, 1)
			_, err := unix.Pread(fd, b, 5)
			return all(err, same("byte", b[0], 7))
		}),
		then("memory of its own reaches no file", success, having{rights.MmapR, rights.Pread}, r|w, private, func(fd int, m []byte) error {
			m[5] = 7
			b := make([]byte, 1)
			_, err := unix.Pread(fd, b, 5)
			return all(err, same("byte", b[0], 0))
		}),
		then("mprotect to write what was mapped to read", higher, having{rights.MmapR}, r, shared, raise(r|w)),
		then("mprotect to write what was mapped to read, with the right", success, having{rights.MmapRW}, r, shared, raise(r|w)),
		then("mprotect to execute what was mapped to read", higher, having{rights.MmapR}, r, shared, raise(r|x)),
		then("mprotect to execute what was mapped to read, with the right", success, having{rights.MmapRX}, r, shared, raise(r|x)),
		then("mprotect to execute what was mapped privately", higher, having{rights.MmapR}, r, private, raise(r|x)),
		then("mprotect to read what was mapped to nothing", higher, having{rights.Mmap}, unix.PROT_NONE, shared, raise(r)),
		then("mprotect to write a private mapping", success, having{rights.MmapR}, r, private, raise(r|w)),
		then("mprotect to read less", success, having{rights.MmapRW}, r|w, shared, raise(r)),
		then("a later limit leaves the mapping", success, having{rights.MmapRW}, r|w, shared, func(fd int, m []byte) error {
			limit(fd)
			m[0] = 1
			return failing("mmap", func() error { _, err := mapped(fd, r, shared); return err }(), notCapable)
		}),
		then("mprotect by a right that was had at the mapping", success, having{rights.MmapRW}, r, shared, func(fd int, m []byte) error {
			limit(fd)
			return unix.Mprotect(m, r|w)
		}),
		onOpen("mmap/anonymous memory with a limited descriptor", success, (*T).file, having{}, func(fd int) error {
			_, err := mapped(-1, r|w, private|unix.MAP_ANON)
			return err
		}),
		onOpen("mmap/anonymous memory may be executed", success, (*T).file, having{}, func(int) error {
			m, err := mapped(-1, r|w, private|unix.MAP_ANON)
			stop("mmap", err)
			return unix.Mprotect(m, r|x)
		}),
		onOpen("mmap/in capability mode", notCapable, (*T).file, having{rights.MmapR}, func(fd int) error { _, err := mapped(fd, r|w, shared); return err }).in(entered),
		onOpen("mmap/as before after the same limit again", success, func(t *T) int {
			return t.open(t.path("again"), unix.O_RDONLY|unix.O_CREAT)
		}, having{rights.MmapR}, func(fd int) error { limit(fd, rights.MmapR); _, err := mapped(fd, r, shared); return err }),
		onOpen("mmap/beyond the mode of the file", is(unix.EACCES), func(t *T) int {
			return t.open(t.path("ro"), unix.O_RDONLY|unix.O_CREAT)
		}, having{rights.MmapRW}, func(fd int) error { _, err := mapped(fd, r|w, shared); return err }),
	}
}
