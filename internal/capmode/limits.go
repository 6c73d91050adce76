package capmode

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
)

// openLimit is the caller's RLIMIT_NOFILE.
func (c *call) openLimit() (int, error) {
	n, err := c.OpenFiles(c.p.pid)
	return int(min(n, math.MaxInt32)), err
}

// labelOf reads the label of a process: which fork it comes from, or its own last one.
// It tells which table a new process was forked from, even when its parent is gone.
func labelOf(c *supervisor.Call, pid int) (uint64, error) {
	word, err := c.Word(pid)
	return word & c.ForkMask(), err
}

// writeLabel labels the caller's process.
func (c *call) writeLabel(to uint64) error {
	if to&^c.ForkMask() != 0 {
		return unix.EAGAIN // there are no labels left
	}
	return c.SetWord(c.p.pid, c.ForkMask(), to)
}
