package launch

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/early"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
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

// setLimits adds the resource limits, and gives the program the limit on open
// files that we were started with. They come last: the steps before need
// descriptors, too.
func setLimits(seq *script.Sequence, limits []policy.Limit) error {
	nofile := unix.Rlimit{Cur: early.Nofile.Cur, Max: early.Nofile.Max}
	seq.Do("restore the limit on open files", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, script.Struct(&nofile), nil)
	for _, l := range limits {
		resource, ok := resources[l.Resource]
		if !ok {
			return refuse("%s: unknown resource %q", l.Flag, l.Resource)
		}
		value := l.Value
		var now unix.Rlimit
		if err := unix.Getrlimit(resource, &now); err != nil {
			return fmt.Errorf("%s: read limit: %w", l.Flag, err)
		}
		// A limit never widens what the caller has.
		lim := &unix.Rlimit{Cur: min(value, now.Max), Max: min(value, now.Max)}
		seq.Do(l.Flag, unix.SYS_PRLIMIT64, 0, resource, script.Struct(lim), nil)
	}
	return nil
}
