//go:build linux || freebsd

package conformance

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// onLimited is a case of what is done with a descriptor of a file that has rights.
func onLimited(name string, w Want, r []rights.Right, call func(fd int) error) Case {
	return Case{Name: name, Want: w, Make: func(t *T) func() error {
		fd := t.file()
		return func() error { limit(fd, r...); return call(fd) }
	}}
}

// onOpen is onLimited for a descriptor that open makes.
func onOpen(name string, w Want, open func(t *T) int, r []rights.Right, call func(fd int) error) Case {
	return Case{Name: name, Want: w, Make: func(t *T) func() error {
		fd := open(t)
		return func() error { limit(fd, r...); return call(fd) }
	}}
}

// having is the rights that a case leaves.
type having = []rights.Right

// limitCases are of limiting itself, and of which errno comes first.
func limitCases() []Case {
	rw := having{rights.Read, rights.Write}
	readOnly := func(t *T) int { return t.open(t.path("file"), unix.O_RDONLY|unix.O_CREAT) }
	writeOnly := func(t *T) int { return t.open(t.path("file"), unix.O_WRONLY|unix.O_CREAT) }
	cases := []Case{
		{Name: "limits/all rights at first", Want: success, Make: func(t *T) func() error {
			fd := t.file()
			return func() error { return hasRights(fd, everyRight()) }
		}},
		onLimited("limits/rights are told", success, rw, func(fd int) error { return hasRights(fd, rights.Of(rw...)) }),
		onLimited("limits/again with the same", success, rw, func(fd int) error { return lib.LimitFD(fd, rw...) }),
		onLimited("limits/fewer", success, rw, func(fd int) error {
			return all(lib.LimitFD(fd, rights.Read), hasRights(fd, rights.Of(rights.Read)), failing("write", write(fd), notCapable), read(fd))
		}),
		onLimited("limits/none", success, having{}, func(fd int) error {
			return all(hasRights(fd, rights.Set{}), failing("read", read(fd), notCapable), failing("fstat", fstat(fd), notCapable))
		}),
		onLimited("limits/more", notCapable, rw, func(fd int) error { return lib.LimitFD(fd, rights.Read, rights.Seek) }),
		onLimited("limits/others", notCapable, rw, func(fd int) error { return lib.LimitFD(fd, rights.Fstat) }),
		onLimited("limits/more, and nothing changes", success, rw, func(fd int) error {
			err := lib.LimitFD(fd, rights.Read, rights.Seek)
			return all(failing("limit", err, notCapable), hasRights(fd, rights.Of(rw...)), write(fd))
		}),
		onLimited("limits/part of a composite", success, having{rights.Pread}, func(fd int) error {
			return all(lib.LimitFD(fd, rights.SeekTell), hasRights(fd, rights.Of(rights.SeekTell)))
		}),
		onLimited("limits/of an unknown right", is(unix.EINVAL), nil, func(fd int) error { return lib.LimitSetFD(fd, unknownRight()) }),
		{Name: "limits/an unknown right comes before a closed descriptor", Want: is(unix.EINVAL), Make: func(*T) func() error {
			return func() error { return lib.LimitSetFD(950, unknownRight()) }
		}},
		{Name: "limits/a closed descriptor", Want: is(unix.EBADF), Make: func(*T) func() error {
			return func() error { return lib.LimitFD(950, rights.Read) }
		}},
		{Name: "limits/no descriptor", Want: is(unix.EBADF), Make: func(*T) func() error {
			return func() error { return lib.LimitFD(-1, rights.Read) }
		}},
		{Name: "limits/rights of a closed descriptor", Want: is(unix.EBADF), Make: func(*T) func() error {
			return func() error { _, err := lib.RightsFD(950); return err }
		}},
		{Name: "limits/of a file", Want: success, Make: func(t *T) func() error {
			f := need(os.Create(t.path("f")))
			return func() error {
				stop("limit", lib.Limit(f, rights.Write))
				s, err := lib.Rights(f)
				_, writes := f.Write([]byte("x"))
				_, reads := f.Read(make([]byte, 1))
				return all(err, same("rights", s, rights.Of(rights.Write)), writes, failing("read", reads, notCapable))
			}
		}},
		{Name: "limits/in capability mode", In: entered, Want: success, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				return all(read(fd), failing("write", write(fd), notCapable), failing("more", lib.LimitFD(fd, rights.Write), notCapable))
			}
		}},
		{Name: "limits/before capability mode", In: alone, Want: success, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				enter()
				return all(read(fd), failing("write", write(fd), notCapable), hasRights(fd, rights.Of(rights.Read)))
			}
		}},
		{Name: "limits/one descriptor and not another", Want: success, Make: func(t *T) func() error {
			one, other := t.file(), t.file()
			return func() error {
				limit(one, rights.Read)
				return all(write(other), seek(other), failing("write", write(one), notCapable), hasRights(other, everyRight()))
			}
		}},
		{Name: "limits/a copy made before", Want: success, Make: func(t *T) func() error {
			one := t.file()
			other := need(unix.FcntlInt(uintptr(one), unix.F_DUPFD_CLOEXEC, 0))
			return func() error {
				limit(one, rights.Read)
				return all(write(other), hasRights(other, everyRight()), failing("write", write(one), notCapable))
			}
		}},
		{Name: "limits/standard descriptors", In: alone, Want: success, Make: func(*T) func() error {
			return func() error {
				limit(0, rights.Read)
				limit(1, rights.Write)
				return all(failing("fstat", fstat(0), notCapable), failing("read", read(1), notCapable), hasRights(1, rights.Of(rights.Write)))
			}
		}},
		{Name: "limits/a high number", Want: success, Make: func(t *T) func() error {
			fd := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, 700))
			return func() error {
				limit(fd, rights.Read)
				return all(read(fd), failing("write", write(fd), notCapable))
			}
		}},
	}
	cases = append(cases, manyLimits()...)
	return append(cases, []Case{
		onOpen("order/seek on a pipe without the right", notCapable, readEnd, having{rights.Read}, seek),
		onOpen("order/seek on a pipe with the right", is(unix.ESPIPE), readEnd, having{rights.Seek}, seek),
		onOpen("order/read of a file open to be written, without the right", notCapable, writeOnly, having{rights.Write}, read),
		onOpen("order/read of a file open to be written, with the right", is(unix.EBADF), writeOnly, having{rights.Read}, read),
		onOpen("order/write of a file open to be read, without the right", notCapable, readOnly, having{rights.Read}, write),
		onOpen("order/write of a file open to be read, with the right", is(unix.EBADF), readOnly, having{rights.Write}, write),
		onOpen("order/write of nothing without the right", notCapable, (*T).file, having{rights.Read}, func(fd int) error {
			_, err := unix.Write(fd, nil)
			return err
		}),
		onOpen("order/read of nothing without the right", notCapable, (*T).file, having{rights.Write}, func(fd int) error {
			_, err := unix.Read(fd, nil)
			return err
		}),
		onOpen("order/listen on a file without the right", notCapable, (*T).file, having{rights.Read}, func(fd int) error { return unix.Listen(fd, 1) }),
		onOpen("order/listen on a file with the right", is(unix.ENOTSOCK), (*T).file, having{rights.Listen}, func(fd int) error { return unix.Listen(fd, 1) }),
		onOpen("order/a seek from nowhere without the right", notCapable, (*T).file, having{rights.Read}, func(fd int) error {
			_, err := unix.Seek(fd, 0, 99)
			return err
		}),
		onOpen("order/a terminal's ioctl on a file with the right", is(unix.ENOTTY), (*T).file, having{rights.Ioctl}, func(fd int) error {
			_, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
			return err
		}),
		onOpen("order/rights give nothing that the mode does not", is(unix.EBADF), readOnly, having{rights.Read, rights.Write, rights.Seek}, write),
	}...)
}

// unknownRight is a set with a bit that no right has.
func unknownRight() rights.Set {
	words := rights.Of(rights.Read).Words()
	words[1] |= 1 << 50
	return need(rights.FromWords(words[:]))
}

// manyLimits are numbers of descriptors at which a table or a filter could give
// out.
func manyLimits() []Case {
	var cases []Case
	for _, n := range []int{10, 100} {
		cases = append(cases, Case{Name: fmt.Sprintf("limits/%d descriptors", n), In: alone, Want: success, Make: func(t *T) func() error {
			var fds []int
			for range n {
				fds = append(fds, t.file())
			}
			return func() error {
				for i, fd := range fds {
					limit(fd, [2]rights.Right{rights.Read, rights.Write}[i%2])
				}
				for i, fd := range fds {
					got := [2]error{read(fd), write(fd)}
					if err := all(got[i%2], failing("the other", got[1-i%2], notCapable)); err != nil {
						return fmt.Errorf("descriptor %d: %w", fd, err)
					}
				}
				return nil
			}
		}})
	}
	return cases
}
