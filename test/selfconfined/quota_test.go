//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// besideGreed are things that go on in a process whose relative takes all it can get of
// what answers them both.
var besideGreed = []attack{
	{name: "a process beside one whose threads all wait", do: besideWaiters},
	{name: "a process beside one whose threads all call", do: besideCallers},
	{name: "a process beside one that has descriptors under way", do: besideMessages},
	{name: "a process after some that had descriptors under way", do: afterMessages},
}

// besideWaiters has more threads than calls can be served at a time wait for a
// descriptor that never comes.
func besideWaiters(a *attacker) error {
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	other := a.standby(limited)
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
	in := new(struct {
		header  unix.Msghdr
		iov     unix.Iovec
		control [64]byte
		data    byte
	})
	in.iov = unix.Iovec{Base: &in.data, Len: 1}
	in.header = unix.Msghdr{Iov: &in.iov, Iovlen: 1, Control: &in.control[0], Controllen: 64}
	return among(1500, other, func(thread *script.Sequence) {
		thread.Do("receive", unix.SYS_RECVMSG, pair[1], script.Struct(in), 0).Forgive(unix.ENOMEM)
	})
}

// besideCallers has as many threads wait to be accepted, about which a run is asked,
// too: the call has two judges there.
func besideCallers(a *attacker) error {
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	other := a.standby(limited)
	name := filepath.Join(a.dir, "busy")
	busy := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	check(unix.Bind(busy, &unix.SockaddrUnix{Name: name}))
	check(unix.Listen(busy, 0))
	var to unix.RawSockaddrUnix
	to.Family = unix.AF_UNIX
	for i := range len(name) {
		to.Path[i] = int8(name[i])
	}
	return among(1500, other, func(thread *script.Sequence) {
		from := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		thread.Do("connect", unix.SYS_CONNECT, from, script.Struct(&to), int(unsafe.Sizeof(to))).Forgive(unix.ENOMEM)
	})
}

// besideFault has a process ask about memory that whoever reads it waits for. Its child
// asks, too, and then another process.
func besideFault(a *attacker) error {
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	other := a.standby(limited)
	page, fill := absent()
	var parent, child script.Sequence
	child.Do("sleep", unix.SYS_NANOSLEEP, script.Struct(&unix.Timespec{Nsec: 300e6}), nil)
	child.Do("copy", unix.SYS_DUP, limited)
	child.Do("end", unix.SYS_EXIT_GROUP, 0)
	parent.Clone("fork", unix.CLONE_VM|uintptr(unix.SIGCHLD), &child, script.NewValue())
	parent.Do("select", unix.SYS_PSELECT6, 512, uintptr(unsafe.Pointer(&page[0])), 0, 0, script.Struct(new(unix.Timespec)), nil)
	parent.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid := must(script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), &parent))
	time.Sleep(time.Second)
	err := other()
	fill(nil)
	return errors.Join(err, ended(pid), parent.Err())
}

// among has n threads do what begins one, and then calls other.
func among(n int, other func() error, begin func(*script.Sequence)) error {
	threads := make([]script.Sequence, n)
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	for i := range threads {
		begin(&threads[i])
		threads[i].Do("end", unix.SYS_EXIT, 0)
		_ = must(script.Start(flags, &threads[i]))
	}
	time.Sleep(500 * time.Millisecond)
	err := other()
	runtime.KeepAlive(threads)
	return err
}

// besideMessages sends a limited descriptor again and again, and nobody receives it.
func besideMessages(a *attacker) error {
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	other := a.standby(limited)
	var list [200]int
	for i := range list {
		list[i] = limited
	}
	for range 100 {
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
		err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(list[:]...), nil, 0)
		if err != nil && err != unix.ETOOMANYREFS {
			return fmt.Errorf("send: %w", err)
		}
		check(unix.Close(pair[0]))
	}
	return other()
}

// afterMessages has processes send sockets into their own queues, one after another. They
// end, and nobody can receive what they sent.
func afterMessages(a *attacker) error {
	if os.Getenv(stageEnv) != "" {
		fmt.Print(intoThemselves(a))
		os.Exit(succeeded)
	}
	few := unix.Rlimit{Cur: 1024, Max: 1024} // the supervisor's, too
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	a.limit(a.file("it", "it"), rights.Read)
	sent := ""
	for range 12 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), stageEnv+"=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() != succeeded {
			return fmt.Errorf("%s, %w", out, err)
		}
		if sent += " " + string(out); string(out) == "0" {
			return fmt.Errorf("they sent%s", sent)
		}
	}
	return nil
}

// intoThemselves returns how many sockets are in their own queues then. For the first it
// waits: the kernel finds out in its own time that nobody can receive the others.
func intoThemselves(a *attacker) (n int) {
	for patience := time.Now().Add(time.Minute); n < 200; n++ {
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0))
		a.limit(pair[1], rights.Read)
		err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(pair[1]), nil, 0)
		for err != nil && n == 0 && time.Now().Before(patience) {
			time.Sleep(20 * time.Millisecond)
			err = unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(pair[1]), nil, 0)
		}
		check(errors.Join(unix.Close(pair[0]), unix.Close(pair[1])))
		if err != nil {
			break
		}
	}
	return n
}

// standby starts a process that copies descriptor fd once it is told to, which the
// result does, and waits for it.
func (a *attacker) standby(fd int) func() error {
	var cue [2]int
	check(unix.Pipe(cue[:]))
	var steps script.Sequence
	steps.Do("wait", unix.SYS_READ, cue[0], script.Struct(new([8]byte)), 1)
	steps.Do("copy", unix.SYS_DUP, fd)
	steps.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid := must(script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), &steps))
	return func() error {
		end := make(chan error, 1)
		_ = must(unix.Write(cue[1], []byte("x")))
		go func() { end <- errors.Join(ended(pid), steps.Err()) }()
		select {
		case err := <-end:
			return err
		case <-time.After(time.Minute):
			return errors.New("nobody answers")
		}
	}
}

// TestBesideInRun has the greedy ones inside a run of the command, whose supervisor
// answers for the library there, and a call may have to pass two judges.
func TestBesideInRun(t *testing.T) {
	dir, err := os.MkdirTemp("", "selfconfined")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, exe := filepath.Join(dir, "capsicum"), filepath.Join(dir, "attacker")
	build := exec.Command("go", "build", "-o", program, "../../cmd/capsicum")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := errors.Join(exetest.WriteSelf(exe, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, at := range besideGreed {
		for who, cred := range users() {
			for _, confined := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/confined=%v", at.name, who, confined), func(t *testing.T) {
					under := func(scratch string) []string {
						argv := []string{program, "--engine=namespaces", "--capsicum", "--rox", dir, "--rw", scratch}
						for _, name := range []string{attackEnv, confinedEnv, dirEnv} {
							argv = append(argv, "--env", name)
						}
						return append(argv, "--", exe)
					}
					if got, out := at.runUnder(t, cred, confined, under); got != succeeded {
						t.Errorf("it ends with %d\n%s", got, out)
					}
				})
			}
		}
	}
}
