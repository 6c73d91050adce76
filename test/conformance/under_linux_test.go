package conformance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// refusedInRun are what a run of the command refuses to everybody, so that cases about
// it come to nothing: asynchronous calls, leases, marks on file systems, mounts, message queues
// by name. The links of a process in /proc lead nowhere for the supervisor, and say so
// with Landlock's errno.
var refusedInRun = []string{"io_submit", "F_SETLEASE", "fanotify_mark", "mq_", "magic link", "mounts:"}

// TestConformanceInRun runs the cases in processes that the command has started, which
// have its supervisor: they must come out as with one of their own.
func TestConformanceInRun(t *testing.T) {
	if _, err := os.Stat("../../cmd/capsicum"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this program has been taken away from the sources of the command")
	}
	exe := executable(t)
	dir := filepath.Dir(exe)
	program := filepath.Join(dir, "capsicum")
	build(t, "CGO_ENABLED=0", "go", "build", "-o", program, "../../cmd/capsicum")
	under := []string{program, "--engine=namespaces", "--system", "--net", "--tmp", "--rwx", dir, "--env", childEnv, "--env", "TMPDIR",
		"--env", "GODEBUG", "--"}
	var list []column
	for _, c := range columns() {
		if c.static || c.threads && !*full {
			continue
		}
		c.under, c.absent, c.name = under, refusedInRun, "run, "+c.name
		if c.uid == 0 {
			c.absent = append([]string{"mknodat a device"}, c.absent...)
		}
		list = append(list, c)
	}
	conform(t, exe, list)
}
