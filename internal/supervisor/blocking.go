package supervisor

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	tick     = 2 * time.Millisecond  // how long a stuck receiver goes unnoticed
	patience = 10 * time.Millisecond // before the caller of a blocked call is looked at
	restful  = 8                     // ticks without a call before the watch sleeps: each wakes two threads
)

// errRestart is ERESTARTSYS. As the answer of a call it makes the caller's
// kernel do what it does natively when a signal interrupts: run the handler,
// then restart the call or fail it with EINTR as SA_RESTART says. A caller
// that has no signal to handle would see the number itself.
const errRestart = unix.Errno(512)

// watch looks after workers that are held up: it adds a receiver when none is
// left, and takes a worker out of a blocked system call when its caller died
// or has a signal to handle.
type watch struct {
	s     *Supervisor
	epoch time.Time

	running atomic.Bool
	calls   atomic.Uint64

	mu      sync.Mutex
	workers map[*worker]struct{}
}

func (m *watch) init(s *Supervisor) {
	m.s = s
	m.epoch = time.Now()
	m.workers = make(map[*worker]struct{})
}

func (m *watch) add(w *worker) {
	m.mu.Lock()
	m.workers[w] = struct{}{}
	m.mu.Unlock()
}

func (m *watch) remove(w *worker) {
	m.mu.Lock()
	delete(m.workers, w)
	m.mu.Unlock()
}

// started notes that w has a call.
func (m *watch) started(w *worker) {
	w.since.Store(int64(time.Since(m.epoch)) | 1)
	m.calls.Add(1)
	if !m.running.Load() && m.running.CompareAndSwap(false, true) {
		go m.run()
	}
}

func (m *watch) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	idle, seen := 0, m.calls.Load()
	for range t.C {
		busy := m.look()
		if now := m.calls.Load(); busy || now != seen {
			idle, seen = 0, now
			continue
		}
		if idle++; idle < restful {
			continue
		}
		m.running.Store(false)
		// A call may have come just before; whoever wins the swap goes on.
		if m.calls.Load() == seen || !m.running.CompareAndSwap(false, true) {
			return
		}
		idle = 0
	}
}

// look goes through the workers once and reports whether any has a call.
func (m *watch) look() bool {
	now := int64(time.Since(m.epoch))
	busy, stuck := false, false
	var blocked []*worker
	m.mu.Lock()
	for w := range m.workers {
		since := w.since.Load()
		if since == 0 {
			continue
		}
		busy = true
		age := time.Duration(now - since)
		stuck = stuck || age >= tick
		if w.blocking != nil && age >= patience {
			blocked = append(blocked, w)
		}
	}
	m.mu.Unlock()
	if stuck {
		m.s.pool.ensure()
	}
	// With many blocked calls each is looked at less often.
	pause := max(patience, time.Duration(len(blocked))*200*time.Microsecond)
	for _, w := range blocked {
		m.stir(w, pause)
	}
	return busy
}

// stir interrupts w if its caller died or has a signal to handle, again and
// again until it leaves: a signal that comes just before the system call is
// lost.
func (m *watch) stir(w *worker, pause time.Duration) {
	m.mu.Lock()
	c := w.blocking
	if c == nil {
		m.mu.Unlock()
		return
	}
	if w.stirred == nil && time.Since(w.checked) < pause {
		m.mu.Unlock()
		return
	}
	w.checked = time.Now()
	why := w.stirred
	m.mu.Unlock()
	if why == nil {
		if why = c.disturbed(); why == nil {
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// The lock keeps w in Blocking, so that nothing else it does is hit.
	if w.blocking == c {
		w.stirred = why
		_ = sys.InterruptThread(w.tid) // w holds its thread until it left
	}
}

// disturbed returns why the call should not block any longer, nil if it may.
func (c *Call) disturbed() error {
	st, err := c.freshStatus()
	if err != nil {
		if errors.Is(err, notify.ErrGone) {
			return err
		}
		return nil
	}
	const stops = 1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
	deliverable := ^(st.blocked | st.ignored)
	switch {
	case (st.pending|st.shared)&(1<<(unix.SIGKILL-1)) != 0:
		return notify.ErrGone // dying, as in an exec by another thread
	case st.pending&deliverable != 0:
		return errRestart
	case st.shared&deliverable != 0:
		// With other threads about, one of them may take the signal first,
		// and this thread would return errRestart to the program.
		if st.threads == 1 || st.shared&deliverable&stops != 0 && st.tgid == c.TID() {
			return errRestart
		}
		return unix.EINTR
	case st.threads > 1 && st.tgid != c.TID() && c.leaderStopped(st.tgid):
		// Job control waits for every thread; this one has been told to stop.
		return errRestart
	}
	return nil
}

func (c *Call) leaderStopped(tgid int) bool {
	text, err := readProc(c.Proc(), strconv.Itoa(tgid)+"/status")
	if err != nil || c.Check() != nil {
		return false
	}
	st, err := parseStatus(text)
	return err == nil && st.state == 'T'
}

// Blocking runs f, which may sleep in one system call at a time, until it
// returns something other than EINTR. It ends early when the caller died
// (notify.ErrGone) or has a signal to handle, with an errno to answer. f must
// undo nothing: what it did not finish has not happened.
func (c *Call) Blocking(f func() error) error {
	m, w := &c.s.watch, c.w
	m.mu.Lock()
	w.blocking, w.stirred, w.checked = c, nil, time.Now()
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		w.blocking, w.stirred = nil, nil
		m.mu.Unlock()
	}()
	for {
		err := f()
		if !errors.Is(err, unix.EINTR) {
			return err
		}
		m.mu.Lock()
		why := w.stirred
		m.mu.Unlock()
		if why != nil {
			return why
		}
	}
}

// Yield lets another worker receive at once. A handler says it before it does
// what is likely to block; without, others wait until the watch notices.
func (c *Call) Yield() { c.s.pool.ensure() }
