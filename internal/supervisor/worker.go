package supervisor

import (
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// idleTime is how long a worker without work keeps its thread.
const idleTime = 2 * time.Second

// A pool is workers that take turns: each receives a call and serves it
// itself, on its own thread, so that no call is handed from one thread to
// another. Usually one worker receives. The kernel wakes every receiver for
// every call, so more receive only while calls queue up; and one is added
// whenever the last receiver is held up by what it serves. The number of
// workers, and so of calls held, is bounded: what is not received costs
// nothing here.
type pool struct {
	s    *Supervisor
	done chan struct{} // closed when every worker has ended
	over chan struct{} // closed when the first receiver met the end
	wake chan struct{} // gets an idle worker going

	mu        sync.Mutex
	ended     *sync.Cond
	workers   int
	receivers int
	want      int    // receivers aimed at, 1 to GOMAXPROCS
	queue     int    // calls in succession that waited to be received
	alone     int    // calls in succession of one thread
	last      uint32 // that thread
	stopped   bool
	err       error
}

func (p *pool) init(s *Supervisor) {
	p.s = s
	p.want = 1
	p.done = make(chan struct{})
	p.over = make(chan struct{})
	p.wake = make(chan struct{})
	p.ended = sync.NewCond(&p.mu)
}

// run serves until the listener ends and every worker has.
func (p *pool) run() error {
	p.ensure()
	p.mu.Lock()
	for p.workers > 0 || !p.stopped {
		p.ended.Wait()
	}
	err := p.err
	p.mu.Unlock()
	close(p.done)
	return err
}

// ensure makes sure that as many workers receive as are wanted.
func (p *pool) ensure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.receivers >= p.want {
		return
	}
	select {
	case p.wake <- struct{}{}:
		p.receivers++
		return
	default:
	}
	if p.workers >= p.s.cfg.MaxWorkers {
		return
	}
	p.workers++
	p.receivers++
	go p.work()
}

// took notes that a receiver has a call now, of thread tid, after it waited for one.
func (p *pool) took(w *worker, tid uint32, waited time.Duration) {
	p.mu.Lock()
	p.receivers--
	more := p.aim(tid, waited)
	p.mu.Unlock()
	p.s.watch.started(w)
	if more {
		p.ensure()
	}
}

// aim adjusts how many workers are to receive: one more when calls were waiting
// again and again, one again when none was for a while. A caller that asks again as
// soon as it is answered is no queue: more receivers would only be woken in its way.
// It reports whether there should be more than before.
func (p *pool) aim(tid uint32, waited time.Duration) bool {
	const (
		atOnce = 2 * time.Microsecond // received without sleeping
		streak = 16
	)
	if tid == p.last {
		p.alone++
	} else {
		p.alone = 0
	}
	p.last = tid
	switch {
	case waited > time.Millisecond || p.alone >= streak:
		p.want, p.queue = 1, 0
	case waited > atOnce:
		p.queue = 0
	case p.alone == 0:
		p.queue++
	}
	if p.queue < streak {
		return false
	}
	p.want, p.queue = min(p.want+1, runtime.GOMAXPROCS(0)), 0
	return true
}

// back makes a worker that has served a receiver again, unless enough receive;
// it then waits for being needed, and reports false when it was not.
func (p *pool) back(w *worker) bool {
	w.since.Store(0)
	p.mu.Lock()
	if p.receivers < p.want {
		p.receivers++
		p.mu.Unlock()
		return true
	}
	p.mu.Unlock()
	t := time.NewTimer(idleTime)
	defer t.Stop()
	select {
	case <-p.wake:
		return true
	case <-p.over:
		return false
	case <-t.C:
		return false
	}
}

// finish notes that a receiver met the end of the service.
func (p *pool) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receivers--
	if !p.stopped {
		p.stopped = true
		close(p.over)
	}
	if !errors.Is(err, io.EOF) && p.err == nil {
		p.err = err
	}
}

func (p *pool) left() {
	p.mu.Lock()
	p.workers--
	p.ended.Broadcast()
	p.mu.Unlock()
}

// worker is one thread that serves.
type worker struct {
	s      *Supervisor
	tid    int
	ownFS  bool // working directory and umask are the thread's own
	broken bool // the thread has not its identity: it must end
	bound  bool // it is in a Landlock domain; see bound

	since atomic.Int64 // when the call came, in nanoseconds of watch's clock; 0 without one

	// Guarded by watch.mu.
	blocking *Call     // in Blocking
	checked  time.Time // when blocking's caller was last looked at
	stirred  error     // why Blocking must end
}

// work is the life of a worker. Its thread stays locked and so ends with it:
// nobody else gets a thread with blocked signals, its own umask, or worse.
func (p *pool) work() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread carries what belongs to the process, such as the
		// parent death signal, which a change of identity would clear.
		go p.work()
		<-p.done
		return
	}
	defer p.left()
	w := &worker{s: p.s, tid: unix.Gettid()}
	if err := sys.QuietThread(); err != nil {
		p.s.cfg.Logf("block signals on worker: %v", err)
	}
	w.ownFS = sys.OwnFS() == nil
	p.s.watch.add(w)
	defer p.s.watch.remove(w)
	for {
		before := time.Now()
		n, err := p.s.listener.Receive()
		if err != nil {
			p.finish(err)
			return
		}
		p.took(w, n.PID, time.Since(before))
		p.s.serve(w, &n)
		if w.broken {
			p.ensure()
			return
		}
		if !p.back(w) {
			return
		}
	}
}

// serve answers one call, whatever happens in its handler.
func (s *Supervisor) serve(w *worker, n *notify.Notification) {
	c := &Call{s: s, w: w, n: *n, mem: s.listener.Mem(n, s.cfg.Proc)}
	r := c.handle()
	defer r.fd.Close()
	if err := c.answer(r); err != nil && !errors.Is(err, notify.ErrGone) {
		s.cfg.Logf("answer %s of thread %d: %v", c.Name, c.TID(), err)
	}
}

// handle runs the handler. A panic is a mistake of ours that must not leave
// the caller waiting, nor with anything.
func (c *Call) handle() (r Result) {
	defer func() {
		if p := recover(); p != nil {
			c.s.cfg.Logf("handler of %s: %v\n%s", c.Name, p, debug.Stack())
			// The thread may be anything now.
			c.w.broken = true
			r = Errno(unix.EIO)
		}
	}()
	name, ok := callName(c.n.Data.Arch, c.n.Data.NR)
	if !ok {
		return Errno(unix.ENOSYS)
	}
	c.Name = name
	h, ok := c.s.handlers[name]
	if !ok {
		return Errno(unix.ENOSYS)
	}
	return h(c)
}

// answer ends the call.
func (c *Call) answer(r Result) error {
	l, id := c.s.listener, c.n.ID
	c.s.tracef("%d %s = %v", c.TID(), c.Name, r)
	switch r.kind {
	case kindGone:
		return nil
	case kindValue:
		return l.Respond(id, r.value, 0)
	case kindErrno:
		return l.Respond(id, 0, r.errno)
	case kindContinue:
		if !c.mayContinue() {
			c.s.cfg.Logf("%s may not be continued (%s)", c.Name, r.reason)
			return l.Respond(id, 0, unix.EPERM)
		}
		err := l.Continue(id, r.reason)
		if r.sent != nil {
			r.sent()
		}
		return err
	case kindFD:
		return c.inject(r)
	}
	return l.Respond(id, 0, unix.EIO)
}

// inject gives the caller its descriptor. Whatever goes wrong, the answer is
// an errno and never a number that already means something.
func (c *Call) inject(r Result) error {
	if !r.fd.Valid() {
		return c.s.listener.Respond(c.n.ID, 0, unix.EIO)
	}
	_, err := c.s.listener.Inject(c.n.ID, r.fd.Int(), r.cloexec)
	if err == nil || errors.Is(err, notify.ErrGone) {
		return err
	}
	var e unix.Errno
	if !errors.As(err, &e) {
		e = unix.EIO
	}
	return c.s.listener.Respond(c.n.ID, 0, e)
}
