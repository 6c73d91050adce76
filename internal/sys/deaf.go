package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ignoreAction is SIG_IGN.
const ignoreAction = 1

// DeafMask blocks every signal but those of faults and those that the Go
// runtime and this package use.
var DeafMask = uint64(^(faults | setOf(unix.SIGURG, InterruptSignal)))

// SignalMask returns which signals the calling thread blocks.
func SignalMask() (uint64, error) {
	mask, err := blockSignals(0)
	if err != nil {
		return 0, fmt.Errorf("read signal mask: %w", err)
	}
	return mask, nil
}

// HandledSignals returns the signals that this process has a handler for: bit n is
// signal n+1.
func HandledSignals() (mask uint64, err error) {
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if sig == unix.SIGKILL || sig == unix.SIGSTOP {
			continue
		}
		var act sigaction
		if err := rtSigaction(sig, nil, &act); err != nil {
			return 0, fmt.Errorf("read handler of signal %d: %w", sig, err)
		}
		if act.handler > ignoreAction {
			mask |= 1 << (sig - 1)
		}
	}
	return mask, nil
}
