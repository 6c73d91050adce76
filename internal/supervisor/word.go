package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// A process's word is its soft limit RLIMIT_LOCKS, which the kernel keeps, hands on by
// fork, leaves alone at exec, and has not enforced since 2.4. The program does not set
// it. Two have something to remember there, under the landlock engine both in one
// process: which fork it comes from, in the lower bits, and its working directory. Each
// leaves the other's alone, and what else is there: the program may have set it before.
const forkMask = 1<<fdtable.LabelBits - 1

// ForkLabel reads which fork a process comes from, or its own last one. It tells which
// table a new process was forked from, even when its parent is gone. 0: it has none.
func (c *Call) ForkLabel(pid int) (uint64, error) {
	word, err := wordOf(c.Proc(), pid)
	if err != nil {
		return 0, fmt.Errorf("read limit of process %d: %w", pid, err)
	}
	return wordIn(word) & forkMask, c.Check()
}

// SetForkLabel labels the caller's process, whose number is pid.
func (c *Call) SetForkLabel(pid int, label uint64) error {
	if label&^forkMask != 0 {
		return unix.EAGAIN // there are no labels left
	}
	return c.setWord(pid, forkMask, label)
}

// wordIn is the word that a limit holds. One that is not below 1<<63 has nothing in it.
func wordIn(limit unix.Rlimit) uint64 {
	if limit.Cur>>63 != 0 {
		return 0
	}
	return limit.Cur
}

// setWord changes the bits in mask of the word of the caller's process, whose number
// is pid. One change at a time: each must find what the other has left.
func (c *Call) setWord(pid int, mask, to uint64) error {
	c.s.words.Lock()
	defer c.s.words.Unlock()
	word, err := wordOf(c.Proc(), pid)
	if err != nil {
		return fmt.Errorf("read limit of process %d: %w", pid, err)
	}
	word.Cur = wordIn(word)&^mask | to
	word.Max = max(word.Max, word.Cur) // which only the privileged may raise
	if err := c.Check(); err != nil {
		return err
	}
	var was unix.Rlimit
	err = unix.Prlimit(pid, unix.RLIMIT_LOCKS, &word, &was)
	if err == nil && c.Check() != nil {
		// It was killed at this moment, and its number may be another's already.
		return errors.Join(notify.ErrGone, unix.Prlimit(pid, unix.RLIMIT_LOCKS, &was, nil))
	}
	if err == unix.EPERM {
		var id *sys.Identity
		if id, err = c.Credentials(); err == nil {
			err = sys.PrlimitAs(id.RUID, id.RGID, pid, unix.RLIMIT_LOCKS, &word)
		}
	}
	if err != nil {
		return fmt.Errorf("label process %d: %w", pid, err)
	}
	return c.Check()
}

func wordOf(proc *sys.FD, pid int) (unix.Rlimit, error) {
	return limitOf(proc, pid, unix.RLIMIT_LOCKS, "Max file locks")
}

// OpenFiles is the soft limit RLIMIT_NOFILE of a process.
func (c *Call) OpenFiles(pid int) (uint64, error) {
	l, err := limitOf(c.Proc(), pid, unix.RLIMIT_NOFILE, "Max open files")
	if err != nil {
		return 0, fmt.Errorf("read limit of process %d: %w", pid, err)
	}
	return l.Cur, c.Check()
}

// limitOf reads a limit, which /proc/PID/limits calls name. A process that changed its
// user is another's to prlimit(2), which wants a capability that root in a container
// has not; the text tells all the same.
func limitOf(proc *sys.FD, pid, resource int, name string) (l unix.Rlimit, err error) {
	err = unix.Prlimit(pid, resource, nil, &l)
	if err != unix.EPERM {
		return l, err
	}
	text, err := readProc(proc, procName(pid)+"/limits")
	if err != nil {
		return l, err
	}
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if f := bytes.Fields(rest); ok && len(f) > 1 {
			var serr, herr error
			l.Cur, serr = parseLimit(f[0])
			l.Max, herr = parseLimit(f[1])
			return l, errors.Join(serr, herr)
		}
	}
	return l, unix.EIO
}

func parseLimit(text []byte) (uint64, error) {
	if string(text) == "unlimited" {
		return unix.RLIM_INFINITY, nil
	}
	return strconv.ParseUint(string(text), 10, 64)
}
