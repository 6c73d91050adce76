//go:build linux

package selfconfined

import (
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// processAttacks reach another process.
var processAttacks = []attack{
	{name: "a socket's owner is killed", do: killedOwner},
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
