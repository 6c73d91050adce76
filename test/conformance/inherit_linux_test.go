package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// selfDup2 makes a descriptor a copy of itself, which dup3 calls an error.
func selfDup2(fd int) error { return oldDup2(fd, fd) }

// acceptOne is accept without what the package unix asks of the listener besides.
func acceptOne(fd int) (int, error) {
	n, _, e := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

func systemInheritanceCases() []Case {
	cases := []Case{
		{Name: "inheritance/dup3 of a descriptor over itself", Want: is(unix.EINVAL), Static: ptr(is(unix.EINVAL).or(refused)), Make: func(t *T) func() error {
			fd := t.file()
			return func() error { limit(fd, rights.Read); return unix.Dup3(fd, fd, 0) }
		}},
		{Name: "inheritance/pidfd_getfd of a limited descriptor", Want: refused, Make: func(t *T) func() error {
			self, fd := need(unix.PidfdOpen(os.Getpid(), 0)), t.file()
			return func() error {
				limit(fd, rights.Read)
				_, err := unix.PidfdGetfd(self, fd, 0)
				return err
			}
		}},
		{Name: "inheritance/close_range over limited numbers", In: alone, Want: success, Static: &either, Make: func(t *T) func() error {
			low := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, 400))
			high := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD_CLOEXEC, low+1))
			other := t.file()
			return func() error {
				limit(low, rights.Read)
				limit(high, rights.Read)
				stop("close_range", unix.CloseRange(uint(low), uint(high), 0))
				stop("dup2", dup2(other, high))
				return all(write(high), hasRights(high, everyRight()), failing("low", rightsOf(low), is(unix.EBADF)))
			}
		}},
		{Name: "inheritance/close_range with CLOEXEC closes nothing", In: alone, Want: success, Static: &either, Make: func(t *T) func() error {
			fd := need(unix.FcntlInt(uintptr(t.file()), unix.F_DUPFD, 400))
			return func() error {
				limit(fd, rights.Read)
				stop("close_range", unix.CloseRange(uint(fd), uint(fd), unix.CLOSE_RANGE_CLOEXEC))
				return all(read(fd), failing("write", write(fd), notCapable))
			}
		}},
		statically(Case{Name: "inheritance/a copy of an O_PATH descriptor", Want: success, Make: func(t *T) func() error {
			fd := t.open(t.Dir, unix.O_PATH)
			return func() error {
				limitSet(fd, allBut(rights.Seek))
				_, err := unix.Dup(fd)
				return err
			}
		}}, notCapable),
		{Name: "inheritance/an O_PATH descriptor", Want: success, Make: func(t *T) func() error {
			fd := t.open(t.Dir, unix.O_PATH)
			return func() error {
				limit(fd, rights.Fstat)
				return all(hasRights(fd, rights.Of(rights.Fstat)), fstat(fd))
			}
		}},
	}
	cases = append(cases, forkCases()...)
	cases = append(cases, execCases()...)
	return append(cases, sendBetweenProcesses()...)
}

// forkCases are of processes that are copies.
func forkCases() []Case {
	buf := func() uintptr { return at(&[8]byte{}) }
	reads := func(fd int) step { return call6(unix.SYS_READ, uintptr(fd), buf(), 4) }
	writes := func(fd int) step { return call6(unix.SYS_WRITE, uintptr(fd), buf(), 4) }
	limited := func(name string, w Want, call func(fd int) error) Case {
		return Case{Name: "inheritance/" + name, Want: w, Make: func(t *T) func() error {
			fd := t.file()
			return func() error { limit(fd, rights.Read); return call(fd) }
		}}
	}
	return []Case{
		limited("fork: with the right", success, func(fd int) error { return forked(reads(fd)) }),
		limited("fork: without the right", notCapable, func(fd int) error { return forked(writes(fd)) }),
		limited("fork: in a grandchild", notCapable, func(fd int) error {
			var p [2]int
			stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
			pid, err := start(0, 0, script{report: p[1], steps: []step{
				{nr: unix.SYS_CLONE, args: [6]uintptr{uintptr(unix.SIGCHLD)}, split: true}, writes(fd),
			}})
			stop("fork", err)
			stop("wait", wait(pid)) // its child goes on without it
			var code [1]byte
			if _, err := unix.Read(p[0], code[:]); err != nil {
				return err
			}
			return unix.Errno(code[0])
		}),
		{Name: "inheritance/fork: a copy made in the child", Want: notCapable, Static: &refused, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				return forked(call6(unix.SYS_DUP, uintptr(fd)), step{nr: unix.SYS_WRITE, args: [6]uintptr{0, buf(), 4}, take: 1})
			}
		}},
		limited("fork: a later limit of the parent is its own", success, func(fd int) error {
			var p [2]int
			stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
			pid, err := start(0, 0, script{steps: []step{reads(p[0]), reads(fd)}})
			stop("fork", err)
			limit(fd)
			_, err = unix.Write(p[1], []byte("go!!"))
			return all(err, wait(pid), failing("the parent's read", read(fd), notCapable))
		}),
		{Name: "inheritance/clone with CLONE_FILES: a later limit is both's", In: alone, Want: notCapable, Static: &either, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				var p [2]int
				stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
				pid, err := start(unix.CLONE_FILES, 0, script{steps: []step{reads(p[0]), writes(fd)}})
				stop("fork", err)
				defer func() { _ = unix.Kill(pid, unix.SIGKILL) }() // it waits for the limit
				limit(fd, rights.Read)
				_, err = unix.Write(p[1], []byte("go!!"))
				return all(err, wait(pid))
			}
		}},
		{Name: "inheritance/clone with CLONE_FILES in capability mode: a later limit is both's, or fails", In: entered,
			Want: notCapable.or(is(unix.EBUSY)), Static: &notCapable, Make: func(t *T) func() error {
				fd := t.file()
				return func() error {
					var p [2]int
					stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
					pid, err := start(unix.CLONE_FILES, 0, script{steps: []step{reads(p[0]), writes(fd)}})
					stop("clone", err)
					limited := lib.LimitFD(fd, rights.Read)
					_, err = unix.Write(p[1], []byte("go!!"))
					written := wait(pid)
					return all(err, limited, written)
				}
			}},
		{Name: "inheritance/fork during a limit", In: alone, Want: success, Make: forkDuringLimit},
		limited("fork: limits before it are the child's", notCapable, func(fd int) error {
			limit(fd)
			return forked(reads(fd))
		}),
	}
}

// forkDuringLimit forks again and again while another thread limits one
// descriptor after another: a child sees each limited, or not yet.
func forkDuringLimit(t *T) func() error {
	var fds []int
	for range 16 {
		fds = append(fds, t.file())
	}
	return func() error {
		done := make(chan error, 1)
		go func() {
			done <- guard(func() error {
				for _, fd := range fds {
					limit(fd, rights.Read)
				}
				return nil
			})
		}()
		seen := map[int]bool{}
		for range 16 {
			for _, fd := range fds {
				before := rightsAre(fd, rights.Of(rights.Read))
				err := forked(call6(unix.SYS_WRITE, uintptr(fd), at(&[4]byte{}), 4))
				switch {
				case err == nil && before:
					return fmt.Errorf("descriptor %d was limited before the fork, and written to after it", fd)
				case err == nil && seen[fd]:
					return fmt.Errorf("descriptor %d was limited in one child and not in a later one", fd)
				case err != nil && !notCapable.met(err):
					return err
				case err != nil:
					seen[fd] = true
				}
			}
			if len(seen) == len(fds) {
				break
			}
		}
		return <-done
	}
}

func rightsAre(fd int, s rights.Set) bool {
	got, err := lib.RightsFD(fd)
	return err == nil && got == s
}

// executed runs a program that makes one call, by the ordinary way of Go with
// vfork, with fd as its own number too.
func executed(path string) error {
	err := exec.Command(path).Run()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() > 0 {
		return unix.Errno(exit.ExitCode())
	}
	return err
}

// execCases are of programs that are executed outside of capability mode.
func execCases() []Case {
	// far has no other descriptor of a case above it.
	const far = 600
	program := func(t *T, steps ...step) string {
		path := t.path("program")
		stop("write", os.WriteFile(path, image(steps...), 0o700))
		return path
	}
	with := func(name string, w Want, n int, flags int, do func(fd uintptr) step) Case {
		return Case{Name: "inheritance/exec: " + name, Want: w, Make: func(t *T) func() error {
			fd := far + n
			stop("dup3", unix.Dup3(t.file(), fd, flags))
			path := program(t, do(uintptr(fd)))
			return func() error { limit(fd, rights.Read); return executed(path) }
		}}
	}
	reads := func(fd uintptr) step { return call6(unix.SYS_READ, fd, loadAddress+8, 0) }
	writes := func(fd uintptr) step { return call6(unix.SYS_WRITE, fd, loadAddress, 4) }
	return []Case{
		{Name: "inheritance/exec: the package knows what it finds", Want: success, Make: func(t *T) func() error {
			fd := far + 10
			stop("dup3", unix.Dup3(t.file(), fd, 0))
			return func() error { limit(fd, rights.Read, rights.Fstat); return knowing(fd) }
		}},
		with("with the right", success, 0, 0, reads),
		with("without the right", notCapable, 1, 0, writes),
		{Name: "inheritance/exec: close-on-exec", Want: is(unix.EBADF), Static: &closedStatic, Make: func(t *T) func() error {
			fd := far + 2
			stop("dup3", unix.Dup3(t.file(), fd, unix.O_CLOEXEC))
			path := program(t, reads(uintptr(fd)))
			return func() error { limit(fd, rights.Read); return executed(path) }
		}},
		{Name: "inheritance/exec: the number used again after close-on-exec", Want: success, Static: &either, Make: func(t *T) func() error {
			fd := far + 3
			stop("dup3", unix.Dup3(t.file(), fd, unix.O_CLOEXEC))
			free := far + 4
			stop("dup3", unix.Dup3(t.file(), free, 0))
			path := program(t, call6(unix.SYS_DUP3, uintptr(free), uintptr(fd), 0), writes(uintptr(fd)))
			return func() error { limit(fd, rights.Read); return executed(path) }
		}},
		{Name: "inheritance/exec: a copy made by the program", Want: notCapable, Static: &refused, Make: func(t *T) func() error {
			fd := far + 5
			stop("dup3", unix.Dup3(t.file(), fd, 0))
			path := program(t, call6(unix.SYS_DUP3, uintptr(fd), far+6, 0), writes(far+6))
			return func() error { limit(fd, rights.Read); return executed(path) }
		}},
	}
}

// knowing executes this program, which asks the package what it has.
func knowing(fd int) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s%d", childEnv, askPrefix, fd))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// sendBetweenProcesses are descriptors that leave a process and come back, or come
// from another.
func sendBetweenProcesses() []Case {
	// A datagram with a descriptor, to be sent or received by a script.
	header := func(fd int) (message uintptr, number *int32) {
		v := &unix.Iovec{Base: &[]byte("x")[0]}
		v.SetLen(1)
		h := &unix.Msghdr{Iov: v, Iovlen: 1}
		control := make([]byte, unix.CmsgSpace(4))
		if fd >= 0 {
			control = unix.UnixRights(fd)
		}
		h.Control = &control[0]
		h.SetControllen(len(control))
		at(&control[0])
		return at(h), (*int32)(unsafe.Pointer(&control[unix.CmsgLen(0)]))
	}
	send := func(a, fd int) error {
		message, _ := header(fd)
		return forked(call6(unix.SYS_SENDMSG, uintptr(a), message, 0))
	}
	return []Case{
		derived("SCM_RIGHTS: from a child", func(t *T) func() error {
			a, b := wires()
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				stop("child", send(a, fd))
				got := receive(b)
				return all(hasRights(got[0], rights.Of(rights.Read)), failing("write", write(got[0]), notCapable))
			}
		}),
		derived("SCM_RIGHTS: to a child", func(t *T) func() error {
			a, b := wires()
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				stop("sendmsg", unix.Sendmsg(a, []byte("x"), unix.UnixRights(fd), nil, 0))
				message, number := header(-1)
				return failing("the child's write", forked(
					call6(unix.SYS_RECVMSG, uintptr(b), message, 0),
					step{nr: unix.SYS_READ, load: number, args: [6]uintptr{0, at(&[4]byte{}), 4}},
					step{nr: unix.SYS_WRITE, load: number, args: [6]uintptr{0, at(&[4]byte{}), 4}},
				), notCapable)
			}
		}),
		{Name: "inheritance/SCM_RIGHTS: to a process that was made before", In: alone, Want: success, Make: func(t *T) func() error {
			a, b := wires()
			stop("timeout", unix.SetsockoptTimeval(b, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}))
			fd := t.file()
			message, number := header(-1)
			pid := need(start(0, 0, script{steps: []step{
				call6(unix.SYS_RECVMSG, uintptr(b), message, 0),
				{nr: unix.SYS_WRITE, load: number, args: [6]uintptr{0, at(&[4]byte{}), 4}},
			}}))
			return func() error {
				limit(fd, rights.Read)
				sent := unix.Sendmsg(a, []byte("x"), unix.UnixRights(fd), nil, 0)
				if err := wait(pid); err == nil {
					return fmt.Errorf("it wrote to what it got")
				}
				return failing("sendmsg", sent, success.or(refused))
			}
		}},
		{Name: "inheritance/a limited eventfd closed, and another made there, in capability mode", In: alone, Want: success, Static: &either, Make: func(*T) func() error {
			open := func() int { return need(unix.Eventfd(0, unix.EFD_CLOEXEC)) }
			return func() error {
				enter()
				return madeAgain(open, func(fd int) error { _, err := unix.Write(fd, []byte("12345678")); return err })
			}
		}},
		derived("SCM_RIGHTS: sent by one that is gone", func(t *T) func() error {
			a, b := wires()
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				stop("child", send(a, fd))
				limit(fd)
				time.Sleep(20 * time.Millisecond)
				return hasRights(receive(b)[0], rights.Of(rights.Read))
			}
		}),
	}
}
