package launch

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
)

// resources says which resource limit enforces each word of --limit. Memory is
// counted as private writable memory of each process: programs that reserve
// much more address space than they use (Go, Node, the JVM) keep working.
var resources = map[string]int{
	"mem":   unix.RLIMIT_DATA,
	"procs": unix.RLIMIT_NPROC,
	"files": unix.RLIMIT_NOFILE,
	"cpu":   unix.RLIMIT_CPU,
}

// limitStopped applies limits to a traced child stopped at its first
// instruction, and lets it run. Set any later, a child that the program forked
// meanwhile would escape them; set any earlier, they would be our own.
func limitStopped(pid int, limits []policy.Limit) error {
	var status unix.WaitStatus
	if err := waitFor(pid, &status); err != nil {
		return fmt.Errorf("wait for the program's first stop: %w", err)
	}
	for _, l := range limits {
		resource, ok := resources[l.Resource]
		if !ok {
			return fmt.Errorf("%s: unknown resource %q", l.Flag, l.Resource)
		}
		lim := unix.Rlimit{Cur: l.Value, Max: l.Value}
		if err := unix.Prlimit(pid, resource, &lim, nil); err != nil {
			err = fmt.Errorf("%s: set %s to %d: %w", l.Flag, l.Resource, l.Value, err)
			return errors.Join(err, unix.Kill(pid, unix.SIGKILL))
		}
	}
	if err := unix.PtraceDetach(pid); err != nil {
		return errors.Join(fmt.Errorf("let the program run: %w", err), unix.Kill(pid, unix.SIGKILL))
	}
	return nil
}

// waitFor waits for one child, whatever signals come.
func waitFor(pid int, status *unix.WaitStatus) error {
	for {
		_, err := unix.Wait4(pid, status, 0, nil)
		if err != unix.EINTR {
			return err
		}
	}
}
