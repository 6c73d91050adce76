package conformance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

// refusedInRun are what a run of the command refuses to everybody, so that cases about
// it come to nothing: asynchronous calls, leases, marks on file systems, mounts, message queues
// by name, and a name for who has opened a file: there it is opened and named with different
// credentials.
var refusedInRun = []string{"io_submit", "F_SETLEASE", "fanotify_mark", "mq_", "mounts:", "linkat of a file without a name"}

// refusedUnder are what one engine refuses beside that. Under that of namespaces the
// links of a process in /proc lead nowhere for the supervisor, and say so with
// Landlock's errno; under the other there is no pid namespace, and another process is
// nobody's in any mode; and what is opened with O_PATH is open for reading.
var refusedUnder = map[string][]string{
	"namespaces": {"magic link"},
	"landlock": {"name_to_handle_at", "prlimit of another", "sched_setaffinity of another", "of an O_PATH descriptor with a null pointer",
		"no name: readlinkat"},
}

// exactUnder are inexact cases that are met under one engine: under that of Landlock what
// is opened with O_PATH is open for reading, and so can be put into another process.
var exactUnder = map[string][]string{"landlock": {"inheritance/a copy of an O_PATH descriptor"}}

// TestConformanceInRun runs the cases in processes that the command has started, which
// have its supervisor: they must come out as with one of their own.
func TestConformanceInRun(t *testing.T) {
	if _, err := os.Stat("../../cmd/capsicum"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this program has been taken away from the sources of the command")
	}
	exe := exetest.Self(t)
	dir := filepath.Dir(exe)
	program := filepath.Join(dir, "capsicum")
	build(t, "CGO_ENABLED=0", "go", "build", "-o", program, "../../cmd/capsicum")
	for engine, refused := range refusedUnder {
		t.Run(engine, func(t *testing.T) { conformInRun(t, exe, program, engine, append(refused, refusedInRun...)) })
	}
}

func conformInRun(t *testing.T, exe, program, engine string, refused []string) {
	under := []string{program, "--engine=" + engine, "--system", "--net", "--tmp", "--rwx", filepath.Dir(exe), "--env", childEnv, "--env", "TMPDIR",
		"--env", "GODEBUG", "--"}
	var list []column
	for _, c := range columns() {
		if c.static || c.threads && !*full {
			continue
		}
		c.under, c.absent, c.exact, c.name = under, refused, exactUnder[engine], "run, "+engine+", "+c.name
		if c.uid == 0 {
			c.absent = append([]string{"mknodat a device", "in a later pid namespace"}, c.absent...)
		}
		list = append(list, c)
	}
	conform(t, exe, list)
}
