//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/script"
	"golang.org/x/sys/unix"
)

// machineAttacks reach, in capability mode, what is the machine's, or somebody else's,
// through calls about the process itself or what it holds.
var machineAttacks = slices.Concat([]attack{
	{name: "a core file", do: coreFile},
	{name: "a child for who started the process", do: strangersChild},
	{name: "the namespaces of a held process", do: namespaceOfHeld},
	{name: "what kind a namespace is", do: func(a *attacker) error { return askNamespace(a, 0xb703, 0) }},            // NS_GET_NSTYPE
	{name: "whether a process number is one", do: func(a *attacker) error { return askNamespace(a, 0x8004b708, 1) }}, // NS_GET_PID_IN_PIDNS
}, packetFilterAttacks())

// errAbsent is of what this machine has not, so that nobody can reach it.
var errAbsent = errors.New("it is not here")

// orAbsent is err, or errAbsent if err is one of errnos, in who is not confined.
func (a *attacker) orAbsent(err error, errnos ...error) error {
	if !a.confined && slices.Contains(errnos, err) {
		return fmt.Errorf("%w: %w", errAbsent, err)
	}
	return err
}

// again runs this attack in another process, which does the inner part, and returns how
// it ended.
func (a *attacker) again() *os.ProcessState {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageEnv+"=1")
	cmd.Dir = a.dir
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		check(err)
	}
	return cmd.ProcessState
}

func inner() bool { return os.Getenv(stageEnv) != "" }

// coreFile has a process crash whose limit would let it leave a core file, in its working
// directory or with the machine's handler.
func coreFile(a *attacker) error {
	if inner() {
		a.enter()
		crash()
	}
	pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
	if strings.HasPrefix(string(pattern), "@") { // a socket is sent them whatever the limit is
		return errAbsent
	}
	if raiseCore() == 0 { // then a handler gets them all the same
		return errAbsent
	}
	state := a.again().Sys().(syscall.WaitStatus)
	if state.Signal() != unix.SIGSEGV {
		check(fmt.Errorf("it ended with %#x", state))
	}
	files := must(filepath.Glob(filepath.Join(a.dir, "*core*")))
	if state.CoreDump() || len(files) > 0 {
		return nil
	}
	return a.orAbsent(unix.ENOENT, unix.ENOENT)
}

// raiseCore raises the limit as far as it goes, and returns it.
func raiseCore() uint64 {
	all := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &all)
	_ = unix.Prlimit(unix.Getpid(), unix.RLIMIT_CORE, &all, nil)
	var most unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_CORE, &most))
	most.Cur = most.Max
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &most)
	return most.Cur
}

// crash ends this process as the kernel ends one that has no handler.
func crash() {
	_ = raiseCore()
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSEGV), uintptr(unsafe.Pointer(new([4]uint64))), 0, 8, 0, 0)
	check(errnoOf(e))
	*(*int)(nil) = 1
}

// strangersChild makes a process that its parent has for a child, and never started.
func strangersChild(a *attacker) error {
	if inner() {
		a.enter()
		var steps script.Sequence
		steps.Do("end", unix.SYS_EXIT_GROUP, 0)
		_, err := script.Start(unix.CLONE_VM|unix.CLONE_PARENT|uintptr(unix.SIGCHLD), &steps)
		return err
	}
	state := a.again()
	if _, err := unix.Wait4(-1, nil, 0, nil); err != nil {
		return errors.Join(err, fmt.Errorf("the other ended with %v", state))
	}
	return nil
}

// namespaceOfHeld opens a namespace, which has no limits, through a process descriptor.
func namespaceOfHeld(a *attacker) error {
	self := must(unix.PidfdOpen(unix.Getpid(), 0))
	a.enter()
	const mountNamespace = 0xff03 // PIDFD_GET_MNT_NAMESPACE
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(self), mountNamespace, 0)
	return a.orAbsent(errnoOf(e), unix.ENOTTY, unix.EINVAL) // before Linux 6.11
}

func askNamespace(a *attacker, command, about uintptr) error {
	space := must(unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0))
	a.enter()
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(space), command, about)
	return a.orAbsent(errnoOf(e), unix.ENOTTY)
}

// packetFilterAttacks ask sockets for the tables of packets, and change them.
func packetFilterAttacks() []attack {
	var list []attack
	for _, f := range []struct {
		name          string
		family, level int
		option        uintptr
	}{
		{"IPv4", unix.AF_INET, unix.SOL_IP, 64},
		{"IPv6", unix.AF_INET6, unix.SOL_IPV6, 64},
		{"ARP", unix.AF_INET, unix.SOL_IP, 96},
		{"bridges", unix.AF_INET, unix.SOL_IP, 128},
		{"IPVS", unix.AF_INET, unix.SOL_IP, 64 + 1024 + 64},
	} {
		ask := func(call uintptr, option uintptr, size int, reached ...error) func(a *attacker) error {
			return func(a *attacker) error {
				a.enter()
				s := must(unix.Socket(f.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
				text, n := new([1024]byte), uintptr(size)
				copy(text[:], "filter")
				if call == unix.SYS_GETSOCKOPT {
					n = uintptr(unsafe.Pointer(&[1]uint32{uint32(size)}))
				}
				_, _, e := unix.Syscall6(call, uintptr(s), uintptr(f.level), option, uintptr(unsafe.Pointer(text)), n, 0)
				if slices.Contains(reached, errnoOf(e)) {
					return nil
				}
				return a.orAbsent(errnoOf(e), unix.ENOPROTOOPT, unix.ENOENT)
			}
		}
		list = append(list,
			attack{name: "the packet filter of " + f.name, root: true, do: ask(unix.SYS_GETSOCKOPT, f.option, 84, unix.EINVAL)},
			// Too short to be a change.
			attack{name: "a change of the packet filter of " + f.name, root: true, do: ask(unix.SYS_SETSOCKOPT, f.option+1, 1, unix.EINVAL, unix.EFAULT)})
	}
	return list
}
