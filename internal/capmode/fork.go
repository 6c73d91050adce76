package capmode

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/supervisor"
)

// births are the forks of a process. The child is told by its label, which it gets
// from its parent: the kernel copies the table first and the label later, and the
// label is the process's, not the thread's. If it changed between the two, a child
// would have the label of a fork that knows nothing of what its table has limited.
type births struct {
	mu     sync.Mutex // held from the choice of a label until the process has it
	label  uint64     // of the last fork
	joined bool       // by another fork
}

// firstLabel is where labels begin: anywhere, so that those of two supervisors differ.
// A process may have children from before its first call, with a supervisor of theirs.
func firstLabel(leader int) uint64 {
	const most = 1<<fdtable.LabelBits - 1
	var l unix.Rlimit
	if unix.Prlimit(leader, unix.RLIMIT_LOCKS, nil, &l) != nil || l.Max > most {
		l.Max = most
	}
	return rand.Uint64N(l.Max/2 + 1)
}

// How long a fork waits for those before it to have copied their label. The first is
// long against what a fork takes; the second is for who cannot join them.
const (
	aFork    = 5 * time.Millisecond
	lastHope = 50 * time.Millisecond
)

// fork lets a fork go on, with a label of its own or that of the fork before.
func (c *call) fork(share bool) supervisor.Result {
	b := &c.p.births
	b.mu.Lock()
	defer b.mu.Unlock()
	joins, err := c.joins(share)
	if err != nil {
		return fail(err)
	}
	if !joins {
		b.label, b.joined = c.w.tables.Fork(c.p.table, share), false
	}
	// Asked after the fork is noted: an exec looks the other way round.
	if share && c.p.executes() {
		return supervisor.Errno(unix.EAGAIN) // the exec would part them
	}
	if share && c.limiting() {
		return supervisor.Errno(unix.EAGAIN) // the filter of a limit under way would not be on the child
	}
	if !joins {
		if err := c.SetForkLabel(c.p.pid, b.label); err != nil {
			return fail(err)
		}
	}
	return c.goOn(pin{fd: none, other: none, births: b},
		"only registers were looked at; what happens to the table meanwhile is noted for the child too")
}

// limiting reports whether the process has been given a filter for a limit, and has not
// said that it is stacked.
func (c *call) limiting() bool {
	t := c.table()
	defer t.Unlock()
	return t.Pending()
}

// joins reports whether the child must get the label of the last fork, because another
// thread may not have copied that yet. If that label is not good for it either, the
// fork is refused.
func (c *call) joins(share bool) (bool, error) {
	b := &c.p.births
	labels := func(k *continued) bool { return k.births == b }
	patience := aFork
	if b.joined {
		patience = 0 // whoever joined has waited already
	}
	if c.over(patience, labels) {
		return false, nil
	}
	err := c.w.tables.Join(c.p.table, share)
	if err == fdtable.ErrUnlike && !c.over(lastHope, labels) {
		return false, unix.EAGAIN
	}
	b.joined = b.joined || err == nil
	return err == nil, nil
}

// copied reports whether thread tid, which was let into a fork, surely has copied the
// label: every child that has it was seen, or the label was given to this fork only and
// one of the thread's newest children has it.
func (c *call) copied(tid int) bool {
	if !c.w.tables.Awaits(c.p.table) {
		return true
	}
	if c.p.births.joined {
		return false
	}
	const newest = 8
	thread := strconv.Itoa(tid)
	text, err := c.ReadProc(thread + "/task/" + thread + "/children")
	if err != nil {
		return false
	}
	pids := bytes.Fields(text)
	for _, field := range pids[max(0, len(pids)-newest):] {
		pid, err := strconv.Atoi(string(field))
		if err != nil {
			return false
		}
		if mark, err := c.ForkLabel(pid); err == nil && mark == c.p.births.label {
			return true
		}
	}
	return false
}
