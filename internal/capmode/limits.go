package capmode

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// limit is a resource limit of a process.
type limit struct {
	number int
	name   string // in /proc/PID/limits
}

var (
	openFiles = limit{unix.RLIMIT_NOFILE, "Max open files"}
	// The kernel has ignored RLIMIT_LOCKS since Linux 2.4 and hands it on by fork: it
	// tells which table a new process was forked from, even when its parent is gone.
	// The filter keeps the process from setting it.
	label = limit{10, "Max file locks"}
)

// soft returns the limit of a process. A process that changed its user is another's
// to prlimit(2), which wants a capability that root in a container has not; the text
// tells all the same.
func (l limit) soft(c *supervisor.Call, pid int) (uint64, error) {
	var r unix.Rlimit
	err := unix.Prlimit(pid, l.number, nil, &r)
	if err == nil {
		return r.Cur, c.Check()
	}
	if err != unix.EPERM {
		return 0, fmt.Errorf("read limit of process %d: %w", pid, err)
	}
	text, err := c.ReadProc(strconv.Itoa(pid) + "/limits")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(l.name))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) > 0 && string(fields[0]) == "unlimited" {
			return math.MaxUint64, nil
		}
		if len(fields) > 0 {
			return strconv.ParseUint(string(fields[0]), 10, 64)
		}
	}
	return 0, fmt.Errorf("read limit of process %d: %w", pid, unix.EIO)
}

// openLimit is the caller's RLIMIT_NOFILE.
func (c *call) openLimit() (int, error) {
	n, err := openFiles.soft(c.Call, c.p.pid)
	return int(min(n, math.MaxInt32)), err
}

// writeLabel labels the caller's process.
func (c *call) writeLabel(to uint64) error {
	l, old := unix.Rlimit{Cur: to, Max: unix.RLIM_INFINITY}, unix.Rlimit{}
	if unix.Prlimit(c.p.pid, label.number, nil, &old) == nil {
		l.Max = old.Max
	}
	err := unix.Prlimit(c.p.pid, label.number, &l, nil)
	if err == unix.EPERM {
		id, ierr := c.Credentials()
		if ierr != nil {
			return ierr
		}
		err = sys.PrlimitAs(id.RUID, id.RGID, c.p.pid, label.number, &l)
	}
	if err != nil {
		return fmt.Errorf("label process %d: %w", c.p.pid, err)
	}
	return c.Check()
}
