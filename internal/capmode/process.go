package capmode

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// process is a supervised process.
type process struct {
	pid   int
	life  *sys.FD // a pidfd
	table *fdtable.Table

	openLimit atomic.Int64 // RLIMIT_NOFILE when it was last looked at
	pins      *pins        // of all who share the table
	births    births
	serving   atomic.Int32 // calls

	mu      sync.Mutex
	leaving *exec // an exec whose outcome is not known
	closing []int // limited numbers whose close was let go on
}

// task is a thread that has asked something. Numbers of threads are reused; the
// pidfd tells whether this one still is what it was.
type task struct {
	life *sys.FD
	p    *process
}

func newProcess(pid int, t *fdtable.Table) (*process, error) {
	n, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &process{pid: pid, life: sys.NewFD(n), table: t, pins: newPins()}, nil
}

// gone reports whether the process or thread of a pidfd has ended.
func gone(life *sys.FD) bool { return unix.PidfdSendSignal(life.Int(), 0, nil, 0) == unix.ESRCH }

// ended reports whether a process has exited, though its parent may not have waited
// for it.
func ended(life *sys.FD) bool {
	list := []unix.PollFd{{Fd: int32(life.Int()), Events: unix.POLLIN}}
	n, err := unix.Poll(list, 0)
	return err == nil && n == 1
}

// dead reports whether p has ended.
func (p *process) dead() bool { return !p.life.Valid() || ended(p.life) }

// reap forgets processes that have ended. It waits only for those that shared the table
// own, if that is not nil, which must not be locked: the lock of any other may be held by
// who waits for its file or its memory.
func (w *Warden) reap(own *fdtable.Table) {
	var relatives []func()
	w.mu.Lock()
	for pid, p := range w.procs {
		if !ended(p.life) {
			continue
		}
		delete(w.procs, pid)
		p.life.Close()
		end := w.tables.Exit(pid)
		if own != nil && p.table.SharesWith(own) {
			relatives = append(relatives, end)
		} else {
			go end()
		}
	}
	w.mu.Unlock()
	for _, end := range relatives {
		end()
	}
}

// sweepAt is after how many new threads dead ones are looked for.
const sweepAt = 256

// caller finds the process that makes a call.
func (w *Warden) caller(c *supervisor.Call) (*process, error) {
	w.mu.Lock()
	t := w.tasks[c.TID()]
	w.mu.Unlock()
	if t != nil && !gone(t.life) {
		c.Through(t.life)
		t.p.settle(c)
		return t.p, nil
	}
	life, err := openTask(c)
	if err != nil {
		return nil, err
	}
	p, err := w.lookUp(c)
	if err != nil {
		return nil, errors.Join(err, life.Close())
	}
	defer p.settle(c)
	if life == nil { // before Linux 6.9
		return p, nil
	}
	w.mu.Lock()
	old := w.tasks[c.TID()]
	if old != nil || len(w.tasks) < w.kept {
		w.tasks[c.TID()] = &task{life, p}
		life = nil
	}
	dead := w.deadTasks()
	w.mu.Unlock()
	life.Close() // it is opened anew for each call
	if old != nil {
		old.life.Close()
	}
	if len(dead) > 0 {
		w.reap(nil)
	}
	for _, t := range dead {
		t.life.Close()
	}
	return p, nil
}

// openTask opens the calling thread; nil where the kernel has descriptors of
// processes only.
func openTask(c *supervisor.Call) (*sys.FD, error) {
	n, err := unix.PidfdOpen(c.TID(), unix.PIDFD_THREAD)
	switch err {
	case nil:
		life := sys.NewFD(n)
		if err := c.Check(); err != nil {
			return nil, errors.Join(err, life.Close())
		}
		return life, nil
	case unix.EINVAL:
		return nil, nil
	case unix.ESRCH:
		return nil, notify.ErrGone
	}
	return nil, err
}

// deadTasks takes threads that have ended out of the map, every now and then.
func (w *Warden) deadTasks() []*task {
	if w.came++; w.came%sweepAt != 0 {
		return nil
	}
	var dead []*task
	for tid, t := range w.tasks {
		if gone(t.life) {
			dead = append(dead, t)
			delete(w.tasks, tid)
		}
	}
	return dead
}

// lookUp finds the caller's process by its number, or binds a new one to the fork
// that its label names.
func (w *Warden) lookUp(c *supervisor.Call) (*process, error) {
	tgid, err := c.TGID()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	for w.binding[tgid] != nil {
		bound := w.binding[tgid]
		w.mu.Unlock()
		<-bound
		w.mu.Lock()
	}
	p := w.procs[tgid]
	if p != nil && !gone(p.life) {
		w.mu.Unlock()
		return p, c.Check()
	}
	if p != nil {
		delete(w.procs, tgid)
		p.life.Close()
		go w.tables.Exit(tgid)()
	}
	bound := make(chan struct{})
	w.binding[tgid] = bound
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.binding, tgid)
		w.mu.Unlock()
		close(bound)
	}()
	return w.bind(c, tgid)
}

// bind binds process tgid. It waits for the parent's table, whose lock is held as long as
// the parent's calls wait for files or memory of its choice: nobody else may wait for it.
func (w *Warden) bind(c *supervisor.Call, tgid int) (*process, error) {
	mark, err := c.ForkLabel(tgid)
	if err != nil {
		return nil, err
	}
	filters, err := c.Filters()
	if err != nil {
		return nil, err
	}
	t, err := w.tables.Born(mark, tgid, filters)
	if err != nil {
		return nil, errors.Join(eNotCapable, err)
	}
	p, err := newProcess(tgid, t)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	for _, other := range w.procs {
		if other.table.SharesWith(t) {
			p.pins = other.pins
			break
		}
	}
	w.procs[tgid] = p
	w.mu.Unlock()
	return p, c.Check()
}

// settle notes that the thread which calls now is past whatever it was let into.
func (p *process) settle(c *supervisor.Call) {
	p.pins.drop(c.TID())
	p.mu.Lock()
	leaving, closing := p.leaving != nil, len(p.closing) > 0
	p.mu.Unlock()
	if closing {
		p.dropClosed(c)
	}
	if leaving {
		p.arrived(c)
	}
}
