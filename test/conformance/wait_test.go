//go:build linux || freebsd

package conformance

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// several polls fds, which all have something to be read, and says which of them
// got what.
func several(want []int16, fds ...int) error {
	list := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		list[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	n, err := unix.Poll(list, 0)
	errs := []error{err, same("result of poll", n, len(fds))}
	for i := range list {
		errs = append(errs, same("revents", list[i].Revents, want[i]))
	}
	return all(errs...)
}

// pollFor is poll(2) for a thread that the runtime of Go may signal meanwhile.
func pollFor(list []unix.PollFd, milliseconds int) (int, error) {
	for {
		n, err := unix.Poll(list, milliseconds)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// closed returns the number of no descriptor, below those that there have been:
// Linux's select overlooks numbers beyond its table.
func closed() int {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 250)
	stop("dup", err)
	stop("close", unix.Close(fd))
	return fd
}

func pollCases() []Case {
	on := func(name string, want Want, call func(with, without, free int) error) Case {
		return Case{Name: "poll/" + name, Want: want, Static: ptr(want.or(refused)), Make: func(t *T) func() error {
			with, without, free := readEnd(t), readEnd(t), readEnd(t)
			return func() error {
				limit(with, rights.Event)
				limit(without, rights.Read)
				return call(with, without, free)
			}
		}}
	}
	const in, bad = unix.POLLIN, unix.POLLNVAL
	sets := func(fds ...int) (*unix.FdSet, int) {
		s, highest := new(unix.FdSet), 0
		for _, fd := range fds {
			s.Set(fd)
			highest = max(highest, fd)
		}
		return s, highest + 1
	}
	selecting := func(fds ...int) error {
		s, n := sets(fds...)
		got, err := unix.Select(n, s, nil, nil, &unix.Timeval{})
		return all(err, same("result of select", got, len(fds)))
	}
	cases := []Case{
		on("one with and one without", success, func(with, without, _ int) error { return several([]int16{in, bad}, with, without) }),
		on("one without among others", success, func(with, without, free int) error { return several([]int16{in, bad, in}, free, without, with) }),
		on("one that is closed", success, func(with, _, _ int) error { return several([]int16{in, bad}, with, closed()) }),
		on("one without, and no time to wait", success, func(_, without, _ int) error { return several([]int16{bad}, without) }),
		on("one without ends the wait", success, func(_, without, _ int) error {
			silent := make([]int, 2)
			stop("pipe", unix.Pipe2(silent, unix.O_CLOEXEC))
			list := []unix.PollFd{{Fd: int32(silent[0]), Events: unix.POLLIN}, {Fd: int32(without), Events: unix.POLLIN}}
			begin := time.Now()
			n, err := pollFor(list, 30_000)
			return all(err, same("result of poll", n, 1), same("revents", list[1].Revents, int16(bad)), same("quick", time.Since(begin) < 29*time.Second, true))
		}),
		on("one that is left out with a negative number", success, func(with, without, _ int) error {
			list := []unix.PollFd{{Fd: int32(-without), Events: unix.POLLIN}, {Fd: int32(with), Events: unix.POLLIN}}
			n, err := unix.Poll(list, 0)
			return all(err, same("result of poll", n, 1), same("revents", list[0].Revents, int16(0)))
		}),
		on("a wait that times out", success, func(with, _, _ int) error {
			list := []unix.PollFd{{Fd: int32(with), Events: unix.POLLPRI}}
			begin := time.Now()
			n, err := pollFor(list, 50)
			return all(err, same("result of poll", n, 0), same("waited", time.Since(begin) > 30*time.Millisecond, true))
		}),
		on("a wait that is answered", success, func(_, _, _ int) error {
			p := make([]int, 2)
			stop("pipe", unix.Pipe2(p, unix.O_CLOEXEC))
			limit(p[0], rights.Event)
			go func() { time.Sleep(20 * time.Millisecond); _, _ = unix.Write(p[1], []byte("x")) }()
			list := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN}}
			n, err := pollFor(list, 30_000)
			return all(err, same("result of poll", n, 1))
		}),
		on("select: with", success, func(with, _, free int) error { return selecting(with, free) }),
		on("select: without", notCapable, func(_, without, _ int) error { return selecting(without) }),
		on("select: one without among others", notCapable, func(with, without, free int) error { return selecting(with, free, without) }),
		on("select: one that is closed", badFD, func(with, _, _ int) error { return selecting(with, closed()) }),
		on("select: without, to be written", notCapable, func(_, without, _ int) error {
			s, n := sets(without)
			_, err := unix.Select(n, nil, s, nil, &unix.Timeval{})
			return err
		}),
		on("select: without, beyond the number that counts", success, func(with, without, _ int) error {
			s, _ := sets(with, without)
			n := min(with, without) + 1
			if with > without {
				return nil
			}
			got, err := unix.Select(n, s, nil, nil, &unix.Timeval{})
			return all(err, same("result of select", got, 1))
		}),
		on("in capability mode", success, func(with, without, _ int) error { return several([]int16{in, bad}, with, without) }).in(entered),
		on("select: without, in capability mode", notCapable, func(_, without, _ int) error { return selecting(without) }).in(entered),
		{Name: "poll/unlimited descriptors in capability mode", In: entered, Want: success, Static: &either, Make: func(t *T) func() error {
			fd := readEnd(t)
			return func() error { return several([]int16{in}, fd) }
		}},
		{Name: "poll/Go's own waiting", In: entered, Want: success, Make: func(*T) func() error {
			r, w, err := os.Pipe()
			stop("pipe", err)
			return func() error {
				stop("limit", lib.Limit(r, rights.Read, rights.Event))
				go func() { time.Sleep(20 * time.Millisecond); _, _ = w.Write([]byte("x")) }()
				_, err := r.Read(make([]byte, 1))
				return err
			}
		}},
		{Name: "poll/Go's own deadline", In: entered, Want: success, Make: func(*T) func() error {
			r, _, err := os.Pipe()
			stop("pipe", err)
			return func() error {
				stop("deadline", r.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
				_, err := r.Read(make([]byte, 1))
				return same("timed out", os.IsTimeout(err), true)
			}
		}},
	}
	return append(cases, systemPollCases()...)
}

// socketCases are of sockets; which right each call needs is in the chapter
// rights.
func socketCases() []Case {
	on := func(name string, w Want, static *Want, open func(*T) int, r having, call func(fd int) error) Case {
		c := onOpen("sockets/"+name, w, open, r, call)
		c.Static = static
		return c
	}
	client := having{rights.SockClient}
	udp := func(*T) int { return datagram() }
	far := func() unix.Sockaddr { return loopback(9) }
	return []Case{
		on("a client's composite", success, nil, aSocket, client, func(fd int) error {
			_, name := unix.Getsockname(fd)
			_, peer := unix.Getpeername(fd)
			return all(read(fd), write(fd), name, peer, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1), unix.Shutdown(fd, unix.SHUT_RDWR))
		}),
		on("a client does not listen", notCapable, nil, inet, client, func(fd int) error { return unix.Listen(fd, 1) }),
		on("a client does not bind", notCapable, nil, inet, client, func(fd int) error { return unix.Bind(fd, loopback(0)) }),
		on("a client does not wait", pollDenied, ptr(pollDenied.or(refused)), aSocket, client, pollOne),
		on("a server's composite", success, nil, inet, having{rights.SockServer}, func(fd int) error {
			return all(unix.Bind(fd, loopback(0)), unix.Listen(fd, 1))
		}),
		on("a server does not connect", notCapable, nil, inet, having{rights.SockServer}, func(fd int) error { return unix.Connect(fd, loopback(9)) }),
		on("sendto with an address needs both", notCapable, nil, udp, having{rights.Write}, func(fd int) error { return unix.Sendto(fd, []byte("x"), 0, far()) }),
		on("sendto with an address has both", success, nil, udp, having{rights.Write, rights.Connect}, func(fd int) error { return unix.Sendto(fd, []byte("x"), 0, far()) }),
		on("send without a peer", is(unix.EDESTADDRREQ, unix.ENOTCONN), nil, udp, having{rights.Write}, sendPlain),
		on("recv with the address", success, nil, aSocket, having{rights.Read}, func(fd int) error {
			_, _, err := unix.Recvfrom(fd, make([]byte, 4), unix.MSG_PEEK)
			return err
		}),
		on("read for recv", notCapable, nil, aSocket, having{rights.Write}, func(fd int) error {
			_, _, err := unix.Recvfrom(fd, make([]byte, 4), 0)
			return err
		}),
		on("in capability mode, connected", success, nil, aSocket, client, func(fd int) error { return all(read(fd), write(fd), sendPlain(fd)) }).in(entered),
		on("in capability mode, connect with the right", capMode, nil, inet, client, func(fd int) error { return unix.Connect(fd, loopback(9)) }).in(entered),
		on("in capability mode, connect without the right", capMode, nil, inet, having{}, func(fd int) error { return unix.Connect(fd, loopback(9)) }).in(entered),
		on("in capability mode, bind without the right", capMode, nil, inet, having{}, func(fd int) error { return unix.Bind(fd, loopback(0)) }).in(entered),
		on("in capability mode, an address without the right", capMode, nil, udp, having{rights.Write}, func(fd int) error { return unix.Sendto(fd, []byte("x"), 0, far()) }).in(entered),
		on("in capability mode, a message without an address", success, &either, aSocket, having{rights.Write}, func(fd int) error {
			return unix.Sendmsg(fd, []byte("x"), nil, nil, 0)
		}).in(entered),
		on("in capability mode, listen", success, nil, func(t *T) int {
			fd := inet(t)
			stop("bind", unix.Bind(fd, loopback(0)))
			return fd
		}, having{rights.Listen}, func(fd int) error { return unix.Listen(fd, 1) }).in(entered),
	}
}
