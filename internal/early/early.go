// Package early remembers what the Go runtime changes before main: it raises
// the soft limit on open files, which a program started by us must not notice.
//
// It imports nothing, so that it is initialised before package syscall, which
// does the raising.
package early

// Limit is struct rlimit64.
type Limit struct{ Cur, Max uint64 }

// Nofile is the limit on open files that the process was started with.
var Nofile Limit

func init() {
	// RLIMIT_NOFILE is 7 on every architecture with a table.
	if prlimit(7, &Nofile) != 0 {
		Nofile = Limit{^uint64(0), ^uint64(0)}
	}
}

// prlimit is prlimit64(0, resource, NULL, old). It is in assembly.
//
//go:noescape
func prlimit(resource uintptr, old *Limit) (errno uintptr)
