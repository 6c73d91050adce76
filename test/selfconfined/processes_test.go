//go:build linux

package selfconfined

import (
	"errors"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// processAttacks reach another process.
var processAttacks = []attack{
	{name: "a socket's owner is killed", do: killedOwner},
	{name: "a process that has the caller's number in a later pid namespace", root: true, do: namesake},
	{name: "the process group of a held process", do: killedGroup},
	{name: "the process at the other end", do: peerProcess},
	{name: "advice on a held process", do: func(a *attacker) error {
		other := bystander()
		pidfd := must(unix.PidfdOpen(other.Process.Pid, 0))
		check(other.Process.Kill())
		a.limit(pidfd)
		if _, _, e := unix.Syscall(unix.SYS_PROCESS_MRELEASE, uintptr(pidfd), 0, 0); e != 0 && e != unix.ESRCH && e != unix.EINVAL {
			return e
		}
		return nil
	}},
}

// killedOwner lets the kernel send the signal that kill may not.
func killedOwner(a *attacker) error {
	other := bystander()
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	a.enter()
	pid := int32(other.Process.Pid)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(pair[0]), 0x8901 /* FIOSETOWN */, uintptr(unsafe.Pointer(&pid))); e != 0 {
		return e
	}
	for _, set := range [][2]int{{unix.F_SETSIG, int(unix.SIGKILL)}, {unix.F_SETFL, unix.O_ASYNC}} {
		if _, err := unix.FcntlInt(uintptr(pair[0]), set[0], set[1]); err != nil {
			return err
		}
	}
	if _, err := unix.Write(pair[1], []byte("x")); err != nil {
		return err
	}
	return dies(other)
}

// namesake kills another process of a later pid namespace, which has there the number that
// the caller has for its supervisor.
func namesake(a *attacker) error {
	last, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return a.orAbsent(err, unix.ENOENT)
	}
	var wait, begin [2]int
	check(unix.Pipe2(wait[:], unix.O_CLOEXEC))
	check(unix.Pipe2(begin[:], unix.O_CLOEXEC))
	a.limit(a.file("it", "it"), rights.Read) // the supervisor is not in the namespace
	check(unix.Unshare(unix.CLONE_NEWPID))
	a.enter()
	fork := func(fill func(*script.Sequence)) int {
		steps := new(script.Sequence)
		fill(steps)
		steps.Do("end", unix.SYS_EXIT_GROUP, 0)
		pid, err := script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), steps)
		check(err)
		runtime.KeepAlive(steps)
		return pid
	}
	sleeps := func(s *script.Sequence) {
		s.Do("close", unix.SYS_CLOSE, wait[1])
		s.Do("wait", unix.SYS_READ, wait[0], script.Struct(new([8]byte)), 1)
	}
	fork(sleeps) // the first process: with it the namespace ends
	number := script.NewValue()
	var killer script.Sequence
	killer.Do("wait", unix.SYS_READ, begin[0], script.Struct(new([8]byte)), 1)
	killer.Do("kill", unix.SYS_KILL, number, int(unix.SIGKILL))
	killer.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid := must(script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), &killer))
	number.Store(uint32(pid))
	before := strconv.Itoa(pid - 1)
	check(ended(fork(func(s *script.Sequence) { s.Do("number", unix.SYS_WRITE, last, script.String(before), len(before)) })))
	victim := fork(sleeps)
	must(unix.Write(begin[1], []byte("x")))
	err = ended(pid)
	runtime.KeepAlive(&killer)
	if err != nil {
		return err
	}
	var st unix.WaitStatus
	for range 600 {
		if got := must(unix.Wait4(victim, &st, unix.WNOHANG, nil)); got == victim {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("the other process lives")
}

// killedGroup signals the process group of the only process that may be signalled.
func killedGroup(a *attacker) error {
	other := bystander()
	ignore(unix.SIGUSR1)
	a.enter()
	self, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return err
	}
	const processGroup = 4 // PIDFD_SIGNAL_PROCESS_GROUP
	if err := unix.PidfdSendSignal(self, unix.SIGUSR1, nil, processGroup); err != nil {
		return err
	}
	return dies(other)
}

// peerProcess gets a descriptor of the process that a socket is connected to.
func peerProcess(a *attacker) error {
	l := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	addr := &unix.SockaddrUnix{Name: filepath.Join(a.dir, "socket")}
	check(unix.Bind(l, addr))
	check(unix.Listen(l, 1))
	s := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	check(unix.Connect(s, addr))
	a.enter()
	const peerPidfd = 77 // SO_PEERPIDFD
	_, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, peerPidfd)
	return err
}
