package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// deliverTo is the descriptor that deliver writes to.
//
//lint:ignore U1000 read in assembly
var deliverTo int32

// deliverPC is the address of deliver, a signal handler that writes the signal's
// number, 32 bits, to deliverTo. It is in assembly, and does nothing else: it may
// run on any thread, between any two instructions. restorePC is the address of
// what the kernel returns to from it, 0 where the kernel brings its own.
func deliverPC() uintptr
func restorePC() uintptr

// Flags of a sigaction that x/sys does not name.
const (
	saOnStack  = 0x08000000
	saRestorer = 0x04000000 // amd64: the kernel has no way back of its own
)

// PipeSignals makes each of sigs that is not ignored arrive, as 32 bits with its
// number, in a pipe, whose non-blocking end for reading it returns. os/signal
// does the same on channels; arranging that costs it more than starting the
// process did. It may be used once in a process.
func PipeSignals(sigs []unix.Signal) (*FD, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("create pipe for signals: %w", err)
	}
	deliverTo = int32(pipe[1])
	act := sigaction{handler: deliverPC(), flags: saOnStack | saRestart, mask: ^uint64(0)}
	if act.restorer = restorePC(); act.restorer != 0 {
		act.flags |= saRestorer
	}
	for _, sig := range sigs {
		var old sigaction
		err := rtSigaction(sig, nil, &old)
		if err == nil && old.handler != ignoreAction {
			err = rtSigaction(sig, &act, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("handle signal %d: %w", sig, err)
		}
	}
	return NewFD(pipe[0]), nil
}
