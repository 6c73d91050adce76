package sys

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// StopBy stops this process as if it had never handled sig, and returns when it
// was continued. os/signal can not do that: the runtime leaves its own handler
// in place of the default action, and that one goes on.
func StopBy(sig unix.Signal) error {
	// Sent to this very thread, the signal takes effect before the call returns.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if sig == unix.SIGSTOP {
		return stopBy(sig)
	}
	var byDefault, old sigaction
	if err := rtSigaction(sig, &byDefault, &old); err != nil {
		return fmt.Errorf("reset signal %d: %w", sig, err)
	}
	err := stopBy(sig)
	if e := rtSigaction(sig, &old, nil); e != nil && err == nil {
		err = fmt.Errorf("handle signal %d again: %w", sig, e)
	}
	return err
}

func stopBy(sig unix.Signal) error {
	if err := unix.Tgkill(unix.Getpid(), unix.Gettid(), sig); err != nil {
		return fmt.Errorf("stop by signal %d: %w", sig, err)
	}
	return nil
}
