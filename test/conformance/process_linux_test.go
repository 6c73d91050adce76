package conformance

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// systemIoctlCases are of the parts of a word that a filter could overlook.
func systemIoctlCases() []Case {
	return []Case{
		{Name: "ioctl/the upper half of the command does not count", Want: notCapable, Make: func(t *T) func() error {
			fd := readEnd(t)
			return func() error {
				stop("limit", limitIoctl(fd, fionreadCommand))
				return try(unix.SYS_IOCTL, uintptr(fd), 1<<32|fionbioCommand, at(new(int32)))
			}
		}},
		{Name: "ioctl/the upper half of the descriptor does not count", Want: notCapable, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				return try(unix.SYS_WRITE, 1<<32|uintptr(fd), text("x"), 1)
			}
		}},
	}
}

func systemPollCases() []Case {
	epoll := func(t *T) int { return need(unix.EpollCreate1(unix.EPOLL_CLOEXEC)) }
	add := func(fd, target int) error {
		return unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, target, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(target)})
	}
	return []Case{
		{Name: "poll/epoll goes on after the right is lost", Want: success, Make: func(t *T) func() error {
			fd, target := epoll(t), readEnd(t)
			stop("add", add(fd, target))
			return func() error {
				limit(target, rights.Read)
				n, err := unix.EpollWait(fd, make([]unix.EpollEvent, 1), 0)
				return all(err, same("events", n, 1))
			}
		}},
		{Name: "poll/epoll in capability mode", In: entered, Want: success, Make: func(t *T) func() error {
			fd, target := epoll(t), readEnd(t)
			return func() error {
				limit(target, rights.Event)
				limit(fd, rights.Kqueue)
				n := 0
				err := add(fd, target)
				if err == nil {
					n, err = unix.EpollWait(fd, make([]unix.EpollEvent, 1), 0)
				}
				return all(err, same("events", n, 1))
			}
		}},
		{Name: "poll/ppoll with and without", Want: success, Static: &either, Make: func(t *T) func() error {
			with, without := readEnd(t), readEnd(t)
			return func() error {
				limit(with, rights.Event)
				limit(without)
				return all(ppollOne(with), failing("without", ppollOne(without), pollDenied))
			}
		}},
	}
}

func systemProcessCases() []Case {
	self := uintptr(os.Getpid())
	inChild := func(name string, w Want, steps ...step) Case {
		return Case{Name: "processes/in a child: " + name, In: entered, Want: w, Make: func(*T) func() error {
			return func() error { return forked(steps...) }
		}}
	}
	cases := []Case{
		inChild("nothing", success, call6(unix.SYS_GETPID)),
		inChild("open", capMode, call6(unix.SYS_OPENAT, ^uintptr(99), text("/dev/null"), 0, 0)),
		inChild("kill of its parent", capMode, call6(unix.SYS_GETPPID), step{nr: unix.SYS_KILL, take: 1}),
		// A filter knows its process by the number that it had.
		inChild("kill of itself", success, call6(unix.SYS_GETPID), step{nr: unix.SYS_KILL, take: 1}).expect(success, either),
		inChild("kill of the first process", capMode, call6(unix.SYS_KILL, 1, 0)),
		inChild("a second generation", capMode, step{nr: unix.SYS_CLONE, args: [6]uintptr{uintptr(unix.SIGCHLD)}}, call6(unix.SYS_KILL, 1, 0)),
		inChild("socket", success, call6(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)),
		inChild("connect", capMode, call6(unix.SYS_CONNECT, 0, 0, 0)),
		{Name: "processes/a child made before Enter is not in capability mode", In: alone, Want: success, Make: func(*T) func() error {
			var p [2]int
			stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
			pid := need(start(0, 0, script{steps: []step{
				call6(unix.SYS_READ, uintptr(p[0]), at(&[1]byte{}), 1),
				call6(unix.SYS_OPENAT, ^uintptr(99), text("/dev/null"), 0, 0),
			}}))
			return func() error {
				enter()
				_, err := unix.Write(p[1], []byte("x"))
				return all(err, wait(pid))
			}
		}},
		{Name: "processes/kill a child", In: entered, Want: success, Make: func(*T) func() error {
			return func() error {
				var p [2]int
				stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
				pid, err := start(0, 0, script{steps: []step{call6(unix.SYS_READ, uintptr(p[0]), at(&[1]byte{}), 1)}})
				stop("fork", err)
				kill := unix.Kill(pid, unix.SIGKILL)
				_, err = unix.Write(p[1], []byte("x"))
				return all(err, wait(pid), failing("kill", kill, capMode))
			}
		}},
		{Name: "processes/kill a child by its descriptor", In: entered, Want: success, Make: func(*T) func() error {
			return func() error {
				var p [2]int
				stop("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
				_, pidfd, err := startPidfd(script{steps: []step{call6(unix.SYS_READ, uintptr(p[0]), at(&[1]byte{}), 1)}})
				stop("fork", err)
				var info unix.Siginfo
				err = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
				return all(err, unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED, nil))
			}
		}},
		{Name: "processes/tgkill of a thread of its own", In: entered, Want: success, Make: func(*T) func() error {
			return func() error {
				runtime.LockOSThread()
				return unix.Tgkill(int(self), unix.Gettid(), unix.SIGURG)
			}
		}},
		inMode("tgkill of another", capMode, func() error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) }),
		inMode("tkill of another", capMode, func() error { return try(unix.SYS_TKILL, uintptr(os.Getppid()), 0) }),
		inMode("rt_sigqueueinfo to another", capMode, func() error {
			return try(unix.SYS_RT_SIGQUEUEINFO, uintptr(os.Getppid()), 0, at(&[16]uint64{}))
		}),
		{Name: "processes/F_SETOWN to another", In: entered, Want: refused, Make: func(t *T) func() error {
			fd := aSocket(t)
			return func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETOWN, os.Getppid()); return err }
		}},
		childOwner("F_SETOWN to its parent", unix.SYS_GETPPID, capMode),
		childOwner("F_SETOWN to itself", unix.SYS_GETPID, success).expect(success, capMode),
	}
	cases = append(cases, namespaceCases()...)
	return append(cases, execModeCases()...)
}

// childOwner is of a child that has a process, whose number call whom returns, signalled
// for a descriptor that it shares with its parent.
func childOwner(name string, whom uintptr, w Want) Case {
	return Case{Name: "processes/in a child: " + name, In: entered, Want: w, Make: func(t *T) func() error {
		fd := aSocket(t)
		return func() error {
			return forked(call6(whom), step{nr: unix.SYS_FCNTL, args: [6]uintptr{uintptr(fd), unix.F_SETOWN}, take: 3})
		}
	}}
}

// execModeCases are of programs executed in capability mode, by a descriptor.
func execModeCases() []Case {
	run := func(name string, w, static Want, program func(t *T) []byte, r having) Case {
		return Case{Name: "exec/" + name, In: entered, Want: w, Static: &static, Make: func(t *T) func() error {
			fd := t.program(program(t))
			return func() error {
				if r != nil {
					limit(fd, r...)
				}
				return runAt(fd, "", unix.AT_EMPTY_PATH)
			}
		}}
	}
	makes := func(steps ...step) func(*T) []byte { return func(*T) []byte { return image(steps...) } }
	opens := func(*T) []byte {
		return imageWith("/dev/null", call6(unix.SYS_OPENAT, ^uintptr(99), dataAddress, 0, 0))
	}
	cases := []Case{
		run("a static program", success, either, makes(call6(unix.SYS_GETPID)), nil),
		run("a static program, with the right", success, either, makes(call6(unix.SYS_GETPID)), having{rights.Fexecve}),
		run("a static program, without the right", notCapable, refused, makes(call6(unix.SYS_GETPID)), having{rights.Read}),
		run("it is in capability mode", capMode, refused, opens, nil),
		run("it may not kill", capMode, refused, makes(call6(unix.SYS_KILL, 1, 0)), nil),
		run("it may not execute by a path", capMode, refused, func(*T) []byte {
			return imageWith("/bin/true", call6(unix.SYS_EXECVE, dataAddress, 0, 0))
		}, nil),
		run("a script", capMode, refused, func(*T) []byte { return []byte("#!/bin/sh\nexit 0\n") }, nil),
		run("a script of a program that is held", capMode, refused, func(t *T) []byte {
			stop("write", os.WriteFile(t.path("interpreter"), exits(), 0o700))
			return []byte("#!" + t.path("interpreter") + "\n")
		}, nil),
		run("a program that needs a loader", capMode.or(is(unix.ENOENT)), refused.or(is(unix.ENOENT)), dynamicProgram, nil),
		run("no program", is(unix.ENOEXEC), is(unix.ENOEXEC).or(refused), func(*T) []byte { return []byte("hello") }, nil),
		{Name: "exec/that program outside of capability mode", In: bare, Want: is(unix.ENOENT), Make: func(t *T) func() error {
			fd := t.program(dynamicProgram(t))
			return func() error { return runAt(fd, "", unix.AT_EMPTY_PATH) }
		}},
		{Name: "exec/by a path", In: entered, Want: capMode, Make: func(t *T) func() error {
			path := t.path("program")
			stop("write", os.WriteFile(path, exits(), 0o700))
			argv := at(&[2]uintptr{text("program"), 0})
			return func() error { return forked(call6(unix.SYS_EXECVE, text(path), argv, at(&[1]uintptr{}))) }
		}},
		{Name: "exec/by execveat and an absolute path", In: entered, Want: refused, Make: func(t *T) func() error {
			dir := t.open(t.Dir, unix.O_RDONLY|unix.O_DIRECTORY)
			path := t.path("program")
			stop("write", os.WriteFile(path, exits(), 0o700))
			return func() error { return runAt(dir, path, 0) }
		}},
		{Name: "exec/by execveat beneath a directory", In: entered, Want: success, Static: &refused, Make: func(t *T) func() error {
			dir := t.open(t.Dir, unix.O_RDONLY|unix.O_DIRECTORY)
			stop("write", os.WriteFile(t.path("program"), exits(), 0o700))
			return func() error { return runAt(dir, "program", 0) }
		}},
		{Name: "exec/by execveat out of a directory", In: entered, Want: notCapable, Static: &refused, Make: func(t *T) func() error {
			stop("mkdir", os.Mkdir(t.path("sub"), 0o700))
			dir := t.open(t.path("sub"), unix.O_RDONLY|unix.O_DIRECTORY)
			stop("write", os.WriteFile(t.path("program"), exits(), 0o700))
			return func() error { return runAt(dir, "../program", 0) }
		}},
		{Name: "exec/by execveat from the working directory", In: entered, Want: capMode, Static: &refused, Make: func(*T) func() error {
			return func() error { return runAt(unix.AT_FDCWD, "program", 0) }
		}},
		{Name: "exec/descriptors keep their limits", In: entered, Want: notCapable, Static: &refused, Make: func(t *T) func() error {
			const fd = 650
			stop("dup3", unix.Dup3(t.file(), fd, 0))
			program := t.program(image(call6(unix.SYS_WRITE, fd, loadAddress, 4)))
			return func() error { limit(fd, rights.Read); return runAt(program, "", unix.AT_EMPTY_PATH) }
		}},
		{Name: "exec/set-user-ID is ignored", In: entered, Root: true, Want: success, Static: &either, Make: func(t *T) func() error {
			fd := t.program(image(call6(unix.SYS_GETPID)))
			stop("chmod", unix.Fchmod(fd, 0o4755))
			return func() error { return runAt(fd, "", unix.AT_EMPTY_PATH) }
		}},
	}
	return append(cases, Case{Name: "processes/nothing is left of a process that ended", In: alone, Want: success, Make: func(t *T) func() error {
		fd := t.file()
		return func() error {
			limit(fd, rights.Read)
			stop("fork", forked(call6(unix.SYS_GETPID)))
			time.Sleep(10 * time.Millisecond)
			_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			return failing("wait", err, is(unix.ECHILD))
		}
	}})
}

// dynamicProgram is a program that names a loader.
func dynamicProgram(*T) []byte {
	text := exits()
	le := binary.LittleEndian
	le.PutUint16(text[56:], 2) // program headers
	// The second is PT_INTERP, in place of the first of the data: the name.
	const name = "/lib/ld-capsicum.so\x00"
	header := le.AppendUint32(nil, 3)
	header = le.AppendUint32(header, 4)
	offset := uint64(len(text) + 56)
	for _, v := range []uint64{offset, 0, 0, uint64(len(name)), uint64(len(name)), 1} {
		header = le.AppendUint64(header, v)
	}
	// It goes before the data, so what follows moves: the entry, and the size.
	text = slices.Insert(text, 120, header...)
	le.PutUint64(text[24:], le.Uint64(text[24:])+56)
	size := uint64(len(text) + len(name))
	le.PutUint64(text[64+32:], size)
	le.PutUint64(text[64+40:], size)
	return append(text, name...)
}

func limitIoctl(fd int, cmd uint) error { return lib.LimitIoctlsFD(fd, cmd) }
