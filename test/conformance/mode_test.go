//go:build linux || freebsd

package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"

	"golang.org/x/sys/unix"
)

// inMode is a case of a call in capability mode that needs nothing made before.
func inMode(name string, w Want, call func() error) Case {
	return Case{Name: "capability-mode/" + name, In: entered, Want: w, Make: func(*T) func() error { return call }}
}

func capabilityModeCases() []Case {
	list := []Case{
		{Name: "capability-mode/not at first", In: alone, Make: func(*T) func() error {
			return func() error {
				in, err := lib.Mode()
				return all(err, same("mode", in, false), same("sandboxed", lib.Sandboxed(), false))
			}
		}, Want: success},
		{Name: "capability-mode/after Enter", In: alone, Want: success, Make: func(*T) func() error {
			return func() error {
				enter()
				in, err := lib.Mode()
				return all(err, same("mode", in, true), same("sandboxed", lib.Sandboxed(), true))
			}
		}},
		{Name: "capability-mode/not after a limit", In: plain, Want: success, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd)
				in, err := lib.Mode()
				return all(err, same("mode", in, false))
			}
		}},
		inMode("Enter again", success, func() error { enter(); enter(); return same("mode", lib.Sandboxed(), true) }),
		{Name: "capability-mode/from many threads", In: alone, Want: success, Make: func(*T) func() error { return enterTogether }},
		{Name: "capability-mode/a thread made before", In: alone, Want: capMode, Make: func(t *T) func() error {
			ask, answer := threadThat(func() error { return openPath("/dev/null") })
			return func() error { enter(); ask <- true; return <-answer }
		}},
		inMode("a thread made after", capMode, func() error {
			ask, answer := threadThat(func() error { return openPath("/dev/null") })
			ask <- true
			return <-answer
		}),
		inMode("os.Open", capMode, func() error { _, err := os.Open("/dev/null"); return err }),
		inMode("os.Create", capMode, func() error { _, err := os.Create("/tmp/new"); return err }),
		inMode("os.Stat", capMode, func() error { _, err := os.Stat("/"); return err }),
		inMode("os.Getwd by the kernel", capMode, func() error { _, err := unix.Getcwd(make([]byte, 99)); return err }),
		inMode("os.Chdir", capMode, func() error { return unix.Chdir("/") }),
		inMode("chroot", capMode, func() error { return unix.Chroot("/") }),
		inMode("net.Dial", capMode, func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err }),
		inMode("net.Listen", capMode, func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }),
		{Name: "capability-mode/fchdir", In: entered, Want: capMode, Make: func(t *T) func() error {
			fd, _ := t.folder()
			return func() error { return unix.Fchdir(fd) }
		}},
		inMode("fchdir of a closed descriptor", capMode, func() error { return unix.Fchdir(950) }),
		inMode("bind", capMode, func() error { return unix.Bind(inet(nil), loopback(0)) }),
		inMode("connect", capMode, func() error { return unix.Connect(inet(nil), loopback(1)) }),
		inMode("bind of a Unix socket", capMode, func() error { return unix.Bind(unixSocket(), &unix.SockaddrUnix{Name: "/tmp/new"}) }),
		inMode("connect of a Unix socket", capMode, func() error { return unix.Connect(unixSocket(), &unix.SockaddrUnix{Name: "/tmp/new"}) }),
		inMode("bind of a closed descriptor", capMode, func() error { return unix.Bind(950, loopback(0)) }),
		inMode("connect of a closed descriptor", capMode, func() error { return unix.Connect(950, loopback(0)) }),
		{Name: "capability-mode/sendto with an address", In: entered, Want: capMode, Make: func(*T) func() error {
			from, to := datagram(), need(unix.Getsockname(datagram()))
			return func() error { return unix.Sendto(from, []byte("x"), 0, to) }
		}},
		{Name: "capability-mode/sendmsg with an address", In: entered, Want: capMode, Static: &refused, Make: func(*T) func() error {
			from, to := datagram(), need(unix.Getsockname(datagram()))
			return func() error { return unix.Sendmsg(from, []byte("x"), nil, to, 0) }
		}},
		inMode("socket: TCP", success, func() error { return socket(unix.AF_INET, unix.SOCK_STREAM, 0) }),
		inMode("socket: UDP over IPv6", success, func() error { return socket(unix.AF_INET6, unix.SOCK_DGRAM, 0) }),
		inMode("socket: Unix", success, func() error { return socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0) }),
		inMode("socket: raw", capMode, func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }),
		inMode("mount of nothing", capMode, func() error { return mountNothing() }),
		inMode("setpgid", capMode, func() error { return unix.Setpgid(0, 0) }),
		inMode("sync", success, func() error { unix.Getppid(); return nil }),
		inMode("umask", success, func() error { unix.Umask(unix.Umask(0o77)); return nil }),
		inMode("memory", success, func() error {
			m, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			return all(err, unix.Munmap(m))
		}),
		inMode("pipe", success, func() error { return unix.Pipe2(make([]int, 2), unix.O_CLOEXEC) }),
		inMode("socketpair", success, func() error {
			_, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			return err
		}),
		inMode("resource limits", success, func() error {
			var l unix.Rlimit
			return all(unix.Getrlimit(unix.RLIMIT_NOFILE, &l), unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
		}),
		inMode("goroutines and timers", success, manyGoroutines),
		{Name: "capability-mode/what is held works", In: entered, Want: success, Make: func(t *T) func() error {
			fd, dir := t.file(), need(os.OpenRoot(t.Dir))
			_ = dir
			return func() error {
				return all(read(fd), write(fd), seek(fd), fstat(fd), unix.Fsync(fd), unix.Ftruncate(fd, 10), unix.Fchmod(fd, 0o600), unix.Flock(fd, unix.LOCK_EX))
			}
		}},
		{Name: "capability-mode/a closed descriptor", In: entered, Want: is(unix.EBADF), Make: func(*T) func() error {
			return func() error { return read(950) }
		}},
		{Name: "capability-mode/a connection that was open", In: entered, Want: success, Make: connection},
		{Name: "capability-mode/a listener that was open", In: entered, Want: success, Make: func(*T) func() error {
			fd := listener(nil)
			return func() error { _, _, err := unix.Accept(fd); return err }
		}},
	}
	calls := atCalls()
	for _, name := range sortedKeys(calls) {
		list = append(list, inMode(name+" from the working directory", capMode, func() error { return calls[name](unix.AT_FDCWD, "file", "new") }))
	}
	return append(list, systemModeCases()...)
}

func openPath(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func unixSocket() int { return need(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)) }

func socket(family, typ, protocol int) error {
	_, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	return err
}

// threadThat starts a thread which waits to be asked and answers with what do
// returns.
func threadThat(do func() error) (ask chan<- bool, answer <-chan error) {
	question, reply, ready := make(chan bool), make(chan error, 1), make(chan bool)
	go func() {
		runtime.LockOSThread()
		close(ready)
		<-question
		reply <- guard(do)
	}()
	<-ready
	return question, reply
}

// enterTogether enters capability mode in eight threads at once.
func enterTogether() error {
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			runtime.LockOSThread()
			err := lib.Enter()
			if err == nil {
				if open := openPath("/dev/null"); !capMode.met(open) {
					err = fmt.Errorf("after Enter, open: %v", open)
				}
			}
			results <- err
		}()
	}
	var errs []error
	for range cap(results) {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// manyGoroutines makes the runtime of Go start threads.
func manyGoroutines() error {
	sum := make(chan int)
	for i := range 64 {
		go func() {
			if i%8 == 0 {
				runtime.LockOSThread()
			}
			sum <- i
		}()
	}
	n := 0
	for range 64 {
		n += <-sum
	}
	runtime.GC()
	return same("sum", n, 64*63/2)
}

// connection is bytes over a connection and a pipe that were open before.
func connection(*T) func() error {
	l := need(net.Listen("tcp", "127.0.0.1:0"))
	client := need(net.Dial("tcp", l.Addr().String()))
	server := need(l.Accept())
	return func() error {
		go func() { _, _ = client.Write([]byte("hello")); _ = client.Close() }()
		text, err := io.ReadAll(server)
		return all(err, same("what came", string(text), "hello"))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

// atCalls are calls with a name beneath a directory. The second name is one that
// does not exist; those with two names beneath directories use dir for both.
func atCalls() map[string]func(dir int, name, missing string) error {
	var st unix.Stat_t
	return map[string]func(dir int, name, missing string) error{
		"openat": func(dir int, name, _ string) error {
			fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		},
		"fstatat":   func(dir int, name, _ string) error { return unix.Fstatat(dir, name, &st, 0) },
		"faccessat": func(dir int, name, _ string) error { return unix.Faccessat(dir, name, unix.R_OK, 0) },
		"fchmodat":  func(dir int, name, _ string) error { return unix.Fchmodat(dir, name, 0o600, 0) },
		"fchownat":  func(dir int, name, _ string) error { return unix.Fchownat(dir, name, -1, -1, 0) },
		"utimensat": func(dir int, name, _ string) error { return unix.UtimesNanoAt(dir, name, make([]unix.Timespec, 2), 0) },
		"mkdirat":   func(dir int, _, missing string) error { return unix.Mkdirat(dir, missing, 0o700) },
		"symlinkat": func(dir int, _, missing string) error { return unix.Symlinkat("x", dir, missing) },
		"unlinkat":  func(dir int, name, _ string) error { return unix.Unlinkat(dir, name, 0) },
		"linkat":    func(dir int, name, missing string) error { return unix.Linkat(dir, name, dir, missing, 0) },
		"renameat":  func(dir int, name, missing string) error { return unix.Renameat(dir, name, dir, missing) },
		"readlinkat": func(dir int, name, _ string) error {
			_, err := unix.Readlinkat(dir, name, make([]byte, 99))
			if err == unix.EINVAL { // it is no link: the name was found
				return nil
			}
			return err
		},
	}
}
