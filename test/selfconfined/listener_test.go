//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// listenerAttacks use a filter's listener, through which who holds it puts
// descriptors into the process with the filter. The kernel takes the command with any
// size and direction.
var listenerAttacks = []attack{
	{name: "a descriptor for who waits at a filter", do: func(a *attacker) error { return addFD(a, 0x40182103) }},
	{name: "a descriptor for who waits at a filter, in a larger structure", do: func(a *attacker) error { return addFD(a, 0xc0202103) }},
	{name: "answers of an accomplice, once there is no supervisor", do: otherAnswers},
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

// otherAnswers kills the supervisor, whose listener so is gone, and asks about a call in
// a filter of its own, above, that a process of before answers.
func otherAnswers(a *attacker) error {
	if os.Getenv(stageEnv) != "" {
		return letGoOn()
	}
	reading, telling, err := os.Pipe()
	check(err)
	other := exec.Command("/proc/self/exe")
	other.Env = append(os.Environ(), stageEnv+"=1")
	other.ExtraFiles = []*os.File{reading}
	other.Stderr = os.Stderr
	check(other.Start())
	limited := a.file("it", "secret")
	a.limit(limited, rights.Read)
	if a.confined {
		killSupervisor()
		check(want("asked without a supervisor", unix.Ftruncate(limited, 0), unix.ENOSYS))
	}
	listener, err := stackOn(unix.SYS_FTRUNCATE, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask)
	if err != nil {
		return fmt.Errorf("another listener: %w", err)
	}
	_, err = telling.Write([]byte{byte(listener)})
	check(err)
	return unix.Ftruncate(limited, 0)
}

// killSupervisor kills this process's, as who is not in capability mode may.
func killSupervisor() {
	for _, e := range must(os.ReadDir("/proc")) {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || string(line) != fmt.Sprintf("%s\x00%d\x00", roster.SupervisorName, unix.Getpid()) {
			continue
		}
		check(unix.Kill(pid, unix.SIGKILL))
		for unix.Ftruncate(-1, 0) != unix.ENOSYS {
			time.Sleep(time.Millisecond)
		}
		return
	}
	check(errors.New("there is no supervisor"))
}

// letGoOn is the accomplice: it takes the listener from its parent, and lets one call go
// on.
func letGoOn() error {
	told := make([]byte, 1)
	_ = must(unix.Read(3, told))
	parent := must(unix.PidfdOpen(unix.Getppid(), 0))
	return letOne(must(unix.PidfdGetfd(parent, int(told[0]), 0)), func() {})
}

// letOne lets a call go on that a filter asks about, after something else.
func letOne(listener int, first func()) error {
	var question [80]byte
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), 0xc0502100, uintptr(unsafe.Pointer(&question))); e != 0 {
		return e
	}
	first()
	answer := struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}{id: *(*uint64)(unsafe.Pointer(&question)), flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), 0xc0182101, uintptr(unsafe.Pointer(&answer)))
	return errnoOf(e)
}
