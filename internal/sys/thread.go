package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// InterruptSignal takes a thread out of a blocking system call. SIGIO is one
// of the signals the Go runtime has a handler for that does nothing.
const InterruptSignal = unix.SIGIO

// saRestart is SA_RESTART, which x/sys does not name.
const saRestart = 0x10000000

// sigaction is the kernel's struct, the same on amd64 and arm64.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// sigset is the kernel's: bit n-1 is signal n.
type sigset uint64

func setOf(sigs ...unix.Signal) sigset {
	var s sigset
	for _, sig := range sigs {
		s |= 1 << (sig - 1)
	}
	return s
}

// InstallInterrupt gives InterruptSignal the runtime's own do-nothing handler
// without SA_RESTART, so that it ends a blocking call with EINTR. The handler
// is taken from SIGSEGV, which a Go program always handles, because a process
// may have put SIGIO back to its default.
func InstallInterrupt() error {
	var act sigaction
	if err := rtSigaction(unix.SIGSEGV, nil, &act); err != nil {
		return fmt.Errorf("read handler of SIGSEGV: %w", err)
	}
	if act.handler <= 1 { // SIG_DFL, SIG_IGN
		return fmt.Errorf("read handler of SIGSEGV: %w", unix.ENOENT)
	}
	act.flags &^= saRestart
	if err := rtSigaction(InterruptSignal, &act, nil); err != nil {
		return fmt.Errorf("set handler of signal %d: %w", InterruptSignal, err)
	}
	return nil
}

// Ignores reports whether this process ignores sig.
func Ignores(sig unix.Signal) (bool, error) {
	var act sigaction
	if err := rtSigaction(sig, nil, &act); err != nil {
		return false, fmt.Errorf("read action of signal %d: %w", sig, err)
	}
	return act.handler == 1, nil // SIG_IGN
}

func rtSigaction(sig unix.Signal, set, old *sigaction) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(sigset(0)), 0, 0)
	return errnoErr(e)
}

// InterruptThread sends InterruptSignal to one thread of this process.
func InterruptThread(tid int) error {
	return unix.Tgkill(unix.Getpid(), tid, InterruptSignal)
}

// faults are raised by the thread's own instructions; blocking them would turn
// a Go panic into a kill.
var faults = setOf(unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS)

// QuietThread blocks every signal on the calling thread but faults and
// InterruptSignal. The thread must stay locked to its goroutine for good: the
// scheduler does not know that it can no longer be preempted by a signal.
func QuietThread() error {
	set := ^(faults | setOf(InterruptSignal))
	return sigprocmask(unix.SIG_SETMASK, set)
}

func sigprocmask(how int, set sigset) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(how),
		uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0)
	return errnoErr(e)
}

// AllSignals blocks every signal that can be blocked on the calling thread and
// returns the mask it had, for RestoreSignals. Nothing but a kill may come in
// between: used around calls that the kernel can not restart.
func AllSignals() (old uint64, err error) { return blockSignals(^faults) }

func blockSignals(set sigset) (old uint64, err error) {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK,
		uintptr(unsafe.Pointer(&set)), uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(set), 0, 0)
	return old, errnoErr(e)
}

// RestoreSignals undoes AllSignals.
func RestoreSignals(old uint64) error { return sigprocmask(unix.SIG_SETMASK, sigset(old)) }
