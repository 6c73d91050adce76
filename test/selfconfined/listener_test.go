//go:build linux

package selfconfined

import (
	"fmt"
	"os"
	"os/exec"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// listenerAttacks use a filter's listener, through which who holds it puts
// descriptors into the process with the filter. The kernel takes the command with any
// size and direction.
var listenerAttacks = []attack{
	{name: "a descriptor for who waits at a filter", do: func(a *attacker) error { return addFD(a, 0x40182103) }},
	{name: "a descriptor for who waits at a filter, in a larger structure", do: func(a *attacker) error { return addFD(a, 0xc0202103) }},
}

const passedOn = 99

// addFD limits a descriptor, and gives it to a process of before.
func addFD(a *attacker, command uintptr) error {
	if os.Getenv(stageEnv) != "" {
		return waitAtFilter()
	}
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0))
	other := exec.Command("/proc/self/exe")
	other.Env = append(os.Environ(), stageEnv+"=1")
	other.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "socket")}
	other.Stderr = os.Stderr
	check(other.Start())
	listener := must(receive(pair[0]))
	fd := a.file("it", "secret")
	a.limit(fd, rights.Write)

	var question [80]byte
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), 0xc0502100, uintptr(unsafe.Pointer(&question))); e != 0 {
		return fmt.Errorf("receive: %w", e)
	}
	id := *(*uint64)(unsafe.Pointer(&question))
	add := struct {
		id                          uint64
		flags, src, number, cloexec uint32
		_                           uint64
	}{id, 1, uint32(fd), passedOn, 0, 0}
	_, _, added := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), command, uintptr(unsafe.Pointer(&add)))
	answer := struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}{id: id, value: 1}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), 0xc0182101, uintptr(unsafe.Pointer(&answer))); e != 0 {
		return fmt.Errorf("answer: %w", e)
	}
	if added != 0 {
		return fmt.Errorf("add a descriptor: %w", added)
	}
	buf := make([]byte, 64)
	n, err := unix.Read(pair[0], buf)
	if err != nil || string(buf[:n]) != "secret" {
		return fmt.Errorf("read %q: %w", buf[:n], err)
	}
	return nil
}

// waitAtFilter is the other process: it gives the listener of its filter away, and
// tells what it can read of what comes.
func waitAtFilter() error {
	const socket = 3
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_GETPPID},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fc00000},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	listener, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&prog)))
	check(errnoOf(e))
	check(unix.Sendmsg(socket, []byte("x"), unix.UnixRights(int(listener)), nil, 0))
	_, _, _ = unix.Syscall(unix.SYS_GETPPID, 0, 0, 0)
	buf := make([]byte, 6)
	n, err := unix.Pread(passedOn, buf, 0)
	if err != nil {
		n = copy(buf, err.Error())
	}
	_, err = unix.Write(socket, buf[:n])
	return err
}
