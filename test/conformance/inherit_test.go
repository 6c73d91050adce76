//go:build linux || freebsd

package conformance

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// copies are the ways to make another number for a descriptor.
func copies() map[string]func(fd int) (int, error) {
	return map[string]func(fd int) (int, error){
		"dup":             unix.Dup,
		"dup2":            func(fd int) (int, error) { return 300 + fd, dup2(fd, 300+fd) },
		"dup3":            func(fd int) (int, error) { return 300 + fd, unix.Dup3(fd, 300+fd, unix.O_CLOEXEC) },
		"F_DUPFD":         func(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 300) },
		"F_DUPFD_CLOEXEC": func(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 300) },
	}
}

// derived is a case of a descriptor that comes from a limited one: the static form
// cannot tell what it has, and does not make it.
func derived(name string, make func(t *T) func() error) Case {
	return Case{Name: "inheritance/" + name, Want: success, Static: &refused, Make: make}
}

func inheritanceCases() []Case {
	var cases []Case
	ways := copies()
	for _, name := range sortedKeys(ways) {
		cases = append(cases, copyCases(name, ways[name])...)
	}
	cases = append(cases, acceptCases()...)
	cases = append(cases, passingCases()...)
	cases = append(cases, numberCases()...)
	cases = append(cases, lowestCases()...)
	return append(cases, systemInheritanceCases()...)
}

// copyCases are of one way to make a copy.
func copyCases(name string, another func(fd int) (int, error)) []Case {
	two := rights.Of(rights.Read, rights.Seek)
	limited := func(t *T) func() int {
		fd := t.file()
		return func() int { limitSet(fd, two); return fd }
	}
	copied := func(fd int) int {
		to, err := another(fd)
		stop(name, err)
		return to
	}
	return []Case{
		derived(name+": rights", func(t *T) func() error {
			fd := limited(t)
			return func() error { return hasRights(copied(fd()), two) }
		}),
		derived(name+": enforced", func(t *T) func() error {
			fd := limited(t)
			return func() error {
				to := copied(fd())
				return all(read(to), seek(to), failing("write", write(to), notCapable), failing("fstat", fstat(to), notCapable))
			}
		}),
		derived(name+": enforced in capability mode", func(t *T) func() error {
			fd := limited(t)
			return func() error {
				from := fd()
				enter()
				to := copied(from)
				return all(read(to), failing("write", write(to), notCapable), hasRights(to, two))
			}
		}).in(alone),
		derived(name+": the copy limited, not the original", func(t *T) func() error {
			fd := limited(t)
			return func() error {
				from := fd()
				to := copied(from)
				limit(to, rights.Read)
				return all(hasRights(from, two), seek(from), failing("seek the copy", seek(to), notCapable), hasRights(to, rights.Of(rights.Read)))
			}
		}),
		derived(name+": the original limited, not the copy", func(t *T) func() error {
			fd := limited(t)
			return func() error {
				from := fd()
				to := copied(from)
				limit(from, rights.Read)
				return all(hasRights(to, two), seek(to), failing("seek the original", seek(from), notCapable))
			}
		}),
		derived(name+": ioctls and fcntls", func(t *T) func() error {
			fd := readEnd(t)
			return func() error {
				stop("limit ioctls", lib.LimitIoctlsFD(fd, fionreadCommand))
				stop("limit fcntls", lib.LimitFcntlsFD(fd, rights.FcntlGetfl))
				to := copied(fd)
				return all(hasCommands(to, []uint{fionreadCommand}, rights.FcntlGetfl), fionread(to),
					failing("FIONBIO", unix.IoctlSetPointerInt(to, fionbioCommand, 1), notCapable))
			}
		}),
		derived(name+": of a copy", func(t *T) func() error {
			fd := limited(t)
			return func() error {
				first := copied(fd())
				second, err := unix.Dup(first)
				stop("dup", err)
				return all(hasRights(second, two), failing("write", write(second), notCapable))
			}
		}),
		{Name: "inheritance/" + name + ": of an unlimited descriptor", Want: success, Static: &either, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				to := copied(fd)
				return all(hasRights(to, everyRight()), write(to), seek(to))
			}
		}},
		{Name: "inheritance/" + name + ": of a closed descriptor", Want: is(unix.EBADF), Make: func(*T) func() error {
			return func() error { _, err := another(950); return err }
		}},
	}
}

func (c Case) in(p phase) Case {
	c.In = p
	return c
}

// hasCommands returns an error unless fd has exactly these commands.
func hasCommands(fd int, ioctls []uint, fcntls rights.Fcntls) error {
	got, limited, err := lib.IoctlsFD(fd)
	if err != nil {
		return err
	}
	mask, err := lib.FcntlsFD(fd)
	return all(err, same("fcntls", mask, fcntls), same("ioctls limited", limited, true), same("ioctls", fmt.Sprint(got), fmt.Sprint(ioctls)))
}

// acceptCases are of a connection that comes from a listener.
func acceptCases() []Case {
	// The package unix asks for a socket option after getsockname.
	union := rights.Of(rights.Accept, rights.Read, rights.Getsockname, rights.Getsockopt)
	accepted := func(fd int) int {
		to, err := acceptOne(fd)
		stop("accept", err)
		return to
	}
	return []Case{
		derived("accept: rights", func(t *T) func() error {
			fd := listener(t)
			return func() error {
				limitSet(fd, union)
				return hasRights(accepted(fd), union)
			}
		}),
		derived("accept: enforced", func(t *T) func() error {
			fd := listener(t)
			return func() error {
				limitSet(fd, union)
				to := accepted(fd)
				_, name := unix.Getsockname(to)
				_, peer := unix.Getpeername(to)
				return all(name, failing("getpeername", peer, notCapable), failing("write", write(to), notCapable))
			}
		}),
		derived("accept: in capability mode", func(t *T) func() error {
			fd := listener(t)
			return func() error {
				limitSet(fd, union)
				enter()
				to := accepted(fd)
				return all(hasRights(to, union), failing("write", write(to), notCapable))
			}
		}).in(alone),
		{Name: "inheritance/accept: from an unlimited listener", Want: success, Static: &either, Make: func(t *T) func() error {
			fd := listener(t)
			return func() error {
				to := accepted(fd)
				return all(hasRights(to, everyRight()), write(to))
			}
		}},
	}
}

// pass sends descriptors over a socket and returns what comes out.
func pass(from, to int, fds ...int) []int {
	stop("sendmsg", unix.Sendmsg(from, []byte("x"), unix.UnixRights(fds...), nil, 0))
	return receive(to)
}

func receive(from int) []int {
	control := make([]byte, unix.CmsgSpace(4*8))
	_, n, _, _, err := unix.Recvmsg(from, make([]byte, 1), control, 0)
	stop("recvmsg", err)
	messages, err := unix.ParseSocketControlMessage(control[:n])
	stop("parse", err)
	if len(messages) != 1 {
		stop("receive", fmt.Errorf("%d control messages came, want 1", len(messages)))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	stop("parse", err)
	return fds
}

// wires returns a pair of sockets without messages.
func wires() (a, b int) {
	p := need(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0))
	return p[0], p[1]
}

// passingCases are of descriptors sent over sockets.
func passingCases() []Case {
	two := rights.Of(rights.Read, rights.Seek)
	cases := []Case{
		derived("SCM_RIGHTS: differently limited copies", func(t *T) func() error {
			a, b := wires()
			one := t.file()
			other := need(unix.Dup(one))
			return func() error {
				limitSet(one, two)
				limit(other, rights.Write)
				got := pass(a, b, one, other)
				return all(hasRights(got[0], two), hasRights(got[1], rights.Of(rights.Write)), write(got[1]), failing("write", write(got[0]), notCapable))
			}
		}),
		derived("SCM_RIGHTS: ioctls and fcntls", func(t *T) func() error {
			a, b := wires()
			fd := readEnd(t)
			return func() error {
				stop("limit ioctls", lib.LimitIoctlsFD(fd, fionreadCommand))
				stop("limit fcntls", lib.LimitFcntlsFD(fd, rights.FcntlGetfl))
				got := pass(a, b, fd)
				return all(hasCommands(got[0], []uint{fionreadCommand}, rights.FcntlGetfl), fionread(got[0]))
			}
		}),
		derived("SCM_RIGHTS: a message under way when the process limits", func(t *T) func() error {
			a, b := wires()
			fd := t.file()
			return func() error {
				stop("sendmsg", unix.Sendmsg(a, []byte("x"), unix.UnixRights(fd), nil, 0))
				limitSet(fd, two)
				got := receive(b)
				return all(hasRights(got[0], everyRight()), write(got[0]))
			}
		}),
		{Name: "inheritance/SCM_RIGHTS: unlimited", Want: success, Static: &either, Make: func(t *T) func() error {
			a, b := wires()
			fd := t.file()
			return func() error {
				got := pass(a, b, fd)
				return all(hasRights(got[0], everyRight()), write(got[0]))
			}
		}},
	}
	for _, p := range []phase{plain, entered} {
		name := map[phase]string{plain: "", entered: " in capability mode"}[p]
		cases = append(cases, derived("SCM_RIGHTS: rights"+name, func(t *T) func() error {
			a, b := wires()
			fd := t.file()
			return func() error {
				limitSet(fd, two)
				got := pass(a, b, fd)
				return all(hasRights(got[0], two), read(got[0]), failing("write", write(got[0]), notCapable))
			}
		}).in(p))
	}
	return cases
}

// madeAgain limits what open returns, closes it, and has it returned again under the same
// number, one of those that no filter is stacked for.
func madeAgain(open func() int, use func(int) error) error {
	fd := open()
	for fd < 300 {
		fd = open()
	}
	limit(fd, rights.Fstat)
	stop("close", unix.Close(fd))
	got := open()
	return all(same("number", got, fd), use(got), hasRights(got, everyRight()))
}

// numberCases are of numbers that are used again. Each has its own process, for
// the static form refuses a number for good.
func numberCases() []Case {
	own := func(name string, make func(t *T) func() error) Case {
		return Case{Name: "inheritance/" + name, In: alone, Want: success, Static: &either, Make: make}
	}
	return []Case{
		own("a limited number closed and used again", func(t *T) func() error {
			fd, other := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, 400)), t.file()
			return func() error {
				limit(fd, rights.Read)
				stop("close", unix.Close(fd))
				got, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, fd)
				stop("dup", err)
				return all(write(got), seek(got), hasRights(got, everyRight()))
			}
		}),
		own("a limited number closed, and the same file opened there", func(t *T) func() error {
			path := t.path("again")
			stop("write", os.WriteFile(path, []byte("text"), 0o600))
			open := func() int { return need(unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)) }
			return func() error { return madeAgain(open, read) }
		}),
		own("an unlimited descriptor over a limited number", func(t *T) func() error {
			fd, other := t.file(), t.file()
			return func() error {
				limit(fd, rights.Read)
				stop("dup2", dup2(other, fd))
				return all(write(fd), seek(fd), fstat(fd), hasRights(fd, everyRight()))
			}
		}),
		own("a descriptor over a limited number, in capability mode", func(t *T) func() error {
			fd, other := t.file(), t.file()
			return func() error {
				limit(fd, rights.Read)
				enter()
				stop("dup2", dup2(other, fd))
				return all(write(fd), hasRights(fd, everyRight()))
			}
		}),
		{Name: "inheritance/a limited descriptor over an unlimited number", In: alone, Want: success, Static: &refused, Make: func(t *T) func() error {
			fd, other := t.file(), t.file()
			return func() error {
				limit(fd, rights.Read)
				stop("dup2", dup2(fd, other))
				return all(hasRights(other, rights.Of(rights.Read)), read(other), failing("write", write(other), notCapable))
			}
		}},
		own("a descriptor over itself", func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				if err := selfDup2(fd); err != nil {
					return err
				}
				return all(hasRights(fd, rights.Of(rights.Read)), failing("write", write(fd), notCapable))
			}
		}),
		{Name: "inheritance/a limited number that was closed", In: alone, Want: is(unix.EBADF), Static: &closedStatic, Make: func(t *T) func() error {
			fd := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, 400))
			return func() error {
				limit(fd, rights.Read)
				stop("close", unix.Close(fd))
				return write(fd)
			}
		}},
		{Name: "inheritance/rights of a limited number that was closed", In: alone, Want: is(unix.EBADF), Make: func(t *T) func() error {
			fd := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, 400))
			return func() error {
				limit(fd, rights.Read)
				stop("close", unix.Close(fd))
				return all(rightsOf(fd), lib.LimitFD(fd))
			}
		}},
		{Name: "inheritance/a limited number closed twice", In: alone, Want: is(unix.EBADF), Static: &closedStatic, Make: func(t *T) func() error {
			fd := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, 400))
			return func() error {
				limit(fd, rights.Read)
				stop("close", unix.Close(fd))
				return unix.Close(fd)
			}
		}},
		own("a new file takes the lowest number", func(t *T) func() error {
			fd := t.file()
			path := t.path("new")
			return func() error {
				limit(fd, rights.Read)
				stop("close", unix.Close(fd))
				got, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
				stop("open", err)
				return all(write(got), seek(got), hasRights(got, everyRight()))
			}
		}),
	}
}

// lowestCases are of the number that a new descriptor gets: the lowest that is
// free, which programs rely on.
func lowestCases() []Case {
	const hole = 25 // free in every case here, and the lowest that is
	fill := func() {
		for {
			if fd := need(unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)); fd > 30 {
				break
			}
		}
	}
	low := func(name string, open func(t *T) int, make func(fd int) (int, error)) Case {
		return derived("the lowest number: "+name, func(t *T) func() error {
			fd := need(unix.FcntlInt(uintptr(open(t)), unix.F_DUPFD_CLOEXEC, 40))
			fill()
			stop("close", unix.Close(hole))
			return func() error {
				limitSet(fd, allBut(rights.Fchmod))
				got, err := make(fd)
				stop(name, err)
				return same("number", got, hole)
			}
		}).in(alone).sequential()
	}
	return []Case{
		low("dup", (*T).file, unix.Dup),
		low("openat", func(t *T) int { fd, _ := t.folder(); return fd }, func(fd int) (int, error) {
			return unix.Openat(fd, "file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}),
		low("accept", listener, acceptOne),
		low("open after a close of a limited number", (*T).file, func(fd int) (int, error) {
			stop("dup2", dup2(fd, hole-5))
			stop("close", unix.Close(hole-5))
			got, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return got + 5, err
		}),
	}
}

// sequential says that no other thread may make descriptors meanwhile.
func (c Case) sequential() Case {
	c.Quiet = true
	return c
}

// closedStatic is what the static form may say of a number that it refuses for
// good.
var closedStatic = is(unix.EBADF).or(refused)

func rightsOf(fd int) error {
	_, err := lib.RightsFD(fd)
	return err
}
