// Package capmode answers the calls that processes which confine themselves ask:
// requests for capability mode and rights, and the calls whose meaning depends on
// the rights of a descriptor and that no filter can decide.
//
// The kernel's descriptor tables are the programs'; what is kept here is which of
// their numbers hold limited descriptors ([fdtable]). Only the supervisor puts a
// limited descriptor anywhere: whatever copies, opens, accepts or receives one is
// carried out here, and its rights are noted before it appears. So what is noted
// may be more than what is there - a number closed in a race, a program that was
// executed - but never less.
package capmode

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// The errnos of Capsicum.
const (
	eCapMode    = filecaps.ECAPMODE
	eNotCapable = filecaps.ENOTCAPABLE
)

// Warden supervises processes that confine themselves.
type Warden struct {
	tables  *fdtable.Tables
	tokens  tokens
	filters filters
	dead    *sys.FD // what takes the place of a closed descriptor
	deadID  fdtable.ID
	serving atomic.Int32 // calls

	// No table is locked under mu: everybody needs it.
	mu      sync.Mutex
	procs   map[int]*process      // by process id
	binding map[int]chan struct{} // closed once the process is in procs
	tasks   map[int]*task         // by thread id
	kept    int                   // most tasks
	came    int                   // threads that were not known
}

// New returns a warden for process leader and what it starts.
func New(leader int) (*Warden, error) {
	dead, err := openDead()
	if err != nil {
		return nil, fmt.Errorf("open what takes the place of closed descriptors: %w", err)
	}
	deadID, err := identify(dead)
	if err != nil {
		return nil, errors.Join(err, dead.Close())
	}
	w := &Warden{tables: fdtable.NewTables(firstLabel(leader)), dead: dead, deadID: deadID, procs: map[int]*process{}, binding: map[int]chan struct{}{}, tasks: map[int]*task{},
		kept: keepable()}
	w.tokens.init()
	p, err := newProcess(leader, w.tables.Attach(leader))
	if err != nil {
		return nil, errors.Join(err, w.dead.Close())
	}
	w.procs[leader] = p
	return w, nil
}

// openDead opens an empty file for neither reading nor writing: what is asked of a
// closed descriptor is EBADF for it also. One opened with O_PATH, which can do less,
// can't be put into another process.
func openDead() (*sys.FD, error) {
	n, err := unix.MemfdCreate("closed", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	empty := sys.NewFD(n)
	defer empty.Close()
	if n, err = unix.Open(sys.FDName(n), unix.O_ACCMODE|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	return sys.NewFD(n), nil
}

// Handlers returns what answers each call that the filter of such a process asks
// about.
func (w *Warden) Handlers() map[string]supervisor.Handler {
	table := make(map[string]supervisor.Handler)
	for call, h := range w.handlers() {
		table[call] = w.known(h)
	}
	return table
}

func (w *Warden) handlers() map[string]handler {
	table := make(map[string]handler)
	for _, rows := range [][]answer{
		w.requestAnswers(), w.slotAnswers(), w.copyAnswers(), w.closeAnswers(), w.processAnswers(), w.nameAnswers(),
		w.waitAnswers(), w.messageAnswers(),
	} {
		for _, r := range rows {
			for _, call := range r.calls {
				table[call] = r.by
			}
		}
	}
	return table
}

// answer is a row of the dispatch table: calls and what answers them.
type answer struct {
	calls []string
	by    handler
}

// handler answers a call of a process.
type handler func(*call) supervisor.Result

// call is a call with the process that makes it.
type call struct {
	*supervisor.Call
	w *Warden
	p *process

	run supervisor.Handler // the run's, as long as it has to be asked and was not
}

// known finds the process that makes a call.
func (w *Warden) known(h handler) supervisor.Handler {
	return func(c *supervisor.Call) supervisor.Result {
		return w.serve(c, h)
	}
}

// serve has h answer a call. A process that nobody knows is refused everything, one that
// has too many calls under way this one.
func (w *Warden) serve(c *supervisor.Call, h handler) supervisor.Result {
	p, err := w.caller(c)
	if err != nil {
		return supervisor.Fail(err)
	}
	if !w.admit(p) {
		return supervisor.Errno(unix.ENOMEM)
	}
	defer w.leave(p)
	return h(&call{Call: c, w: w, p: p})
}

// table locks and returns the caller's descriptors; unlock when done.
func (c *call) table() *fdtable.Table {
	c.p.table.Lock()
	return c.p.table
}

// soleTable is table for those who need it to be the caller's alone, if it is: who has
// ended shares it no more.
func (c *call) soleTable() *fdtable.Table {
	t := c.table()
	if t.Shared() {
		t.Unlock()
		c.w.reap(c.p.table)
		t = c.table()
	}
	return t
}

func fail(err error) supervisor.Result { return supervisor.Fail(err) }
