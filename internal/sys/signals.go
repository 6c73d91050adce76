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

// calmPC is the address of calm, a signal handler that gives the thread it runs
// on a timer slack of 2 ms.
func calmPC() uintptr

// Flags of a sigaction that x/sys does not name.
const (
	saOnStack  = 0x08000000
	saRestorer = 0x04000000 // amd64: the kernel has no way back of its own
)

// handle is the action that calls the handler at pc.
func handle(pc uintptr) sigaction {
	act := sigaction{handler: pc, flags: saOnStack | saRestart, mask: ^uint64(0)}
	if act.restorer = restorePC(); act.restorer != 0 {
		act.flags |= saRestorer
	}
	return act
}

// calmSignal is one that nobody sends.
const calmSignal = unix.Signal(64)

// CalmMonitor makes the thread with which Go's runtime watches the others look
// after them every few milliseconds. It does every 75 microseconds while a
// program is young, and each time takes the processor from whoever has it: in a
// process that lives for five milliseconds and starts others, a tenth of the
// time. The thread is the first that the runtime starts. Where its number is
// another's, nothing happens.
//
// It does so by its timer slack. That passes on to threads that it starts, any of
// which may run Go code from then on, and to processes that these start: they need
// the slack of before, which is returned.
func CalmMonitor() (slack int) {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0 // which stands for what a process began with
	}
	act := handle(calmPC())
	if err := rtSigaction(calmSignal, &act, nil); err == nil {
		_ = unix.Tgkill(unix.Getpid(), unix.Getpid()+1, calmSignal)
	}
	return slack
}

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
	act := handle(deliverPC())
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
