//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// programAttacks execute a descriptor without the right to.
var programAttacks = []attack{
	{name: "a program in another's place", do: swappedProgram},
}

// swappedProgram puts a descriptor under the number of the program that another thread
// executes, between the look and the exec.
func swappedProgram(a *attacker) error {
	if os.Getenv(stageEnv) != "" {
		executeSwapped(a)
	}
	for n, start := 0, time.Now(); n < 100 || time.Since(start) < 4*time.Second; n++ {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), stageEnv+"=1")
		out, err := cmd.CombinedOutput()
		switch cmd.ProcessState.ExitCode() {
		case 1: // of false
			return nil
		case 0, refused:
		default:
			check(fmt.Errorf("%w: %s", err, out))
		}
	}
	return errors.New("never executed")
}

// executeSwapped executes true, which is false meanwhile.
func executeSwapped(a *attacker) {
	const program, other = 300, 301 // numbers that take any descriptor
	check(unix.Dup2(must(unix.Open("/bin/true", unix.O_RDONLY|unix.O_CLOEXEC, 0)), program))
	check(unix.Dup2(must(unix.Open("/bin/false", unix.O_RDONLY|unix.O_CLOEXEC, 0)), other))
	a.limit(other, rights.Fstat)
	var begun atomic.Bool
	go func() {
		runtime.LockOSThread()
		begun.Store(true)
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_DUP3, other, program, 0)
		}
	}()
	for !begun.Load() {
	}
	name, none := []byte{0}, []uintptr{0}
	_, _, _ = unix.RawSyscall6(unix.SYS_EXECVEAT, program, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&none[0])),
		uintptr(unsafe.Pointer(&none[0])), unix.AT_EMPTY_PATH, 0)
	os.Exit(refused)
}
