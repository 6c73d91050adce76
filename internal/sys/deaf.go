package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// nothingPC returns the address of a signal handler that does nothing.
func nothingPC() uintptr

// ignoreAction is SIG_IGN.
const ignoreAction = 1

// Deafen makes this process take every signal and do nothing with it, except
// those of faults and those that the Go runtime and this package use. Signals
// that are ignored stay ignored: unlike a handler, that survives an exec, and is
// what a parent meant for its child.
func Deafen() error {
	var base sigaction
	if err := rtSigaction(unix.SIGSEGV, nil, &base); err != nil {
		return fmt.Errorf("read handler of SIGSEGV: %w", err)
	}
	base.handler = nothingPC()
	base.flags &^= saSiginfo
	base.flags |= saRestart
	keep := faults | setOf(unix.SIGKILL, unix.SIGSTOP, unix.SIGURG, InterruptSignal)
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if keep&setOf(sig) != 0 {
			continue
		}
		var old sigaction
		if err := rtSigaction(sig, nil, &old); err != nil {
			return fmt.Errorf("read handler of signal %d: %w", sig, err)
		}
		if old.handler == ignoreAction {
			continue
		}
		if err := rtSigaction(sig, &base, nil); err != nil {
			return fmt.Errorf("set handler of signal %d: %w", sig, err)
		}
	}
	return nil
}

// saSiginfo is SA_SIGINFO.
const saSiginfo = 0x4

// HandledSignals lists the signals that this process has a handler for.
func HandledSignals() ([]unix.Signal, error) {
	var out []unix.Signal
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if sig == unix.SIGKILL || sig == unix.SIGSTOP {
			continue
		}
		var act sigaction
		if err := rtSigaction(sig, nil, &act); err != nil {
			return nil, fmt.Errorf("read handler of signal %d: %w", sig, err)
		}
		if act.handler > ignoreAction {
			out = append(out, sig)
		}
	}
	return out, nil
}
