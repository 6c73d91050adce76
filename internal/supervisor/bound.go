package supervisor

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// bound are threads in a Landlock domain of the sandbox's own rules. What programs
// confine themselves to is looked up here, by a process that Landlock does not hold;
// such a thread is refused what the program would be. A thread has no way back, and
// may look into no process outside its domain, so these do nothing else.
type bound struct {
	s    *Supervisor
	jobs chan job
}

// job is what one call has done by a bound thread.
type job struct {
	c    *Call
	do   func() error
	done chan error
}

func (b *bound) init(s *Supervisor) { b.s, b.jobs = s, make(chan job) }

// Bound runs f, and all that is opened in it, under the Landlock rules that the
// caller is under. In f nothing may be asked of /proc about the caller but what
// was asked before. Without rules it just runs f.
func (c *Call) Bound(f func() error) error {
	if c.s.cfg.Rules == nil || c.w.bound {
		return f()
	}
	if _, err := c.readStatus(); err != nil {
		return err
	}
	j := job{c, f, make(chan error, 1)}
	select {
	case c.s.bound.jobs <- j:
	default:
		go c.s.bound.work(j)
	}
	return <-j.done
}

// work is the life of a bound thread. It ends with its goroutine.
func (b *bound) work(j job) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread's domain is the process's to outsiders, and it would stay.
		over := make(chan struct{})
		go func() { b.work(j); close(over) }()
		<-over
		runtime.UnlockOSThread()
		return
	}
	w := &worker{s: b.s, tid: unix.Gettid(), bound: true}
	if err := b.enter(w); err != nil {
		j.done <- fmt.Errorf("bind thread: %w", errors.Join(unix.EACCES, err))
		return
	}
	b.s.watch.add(w)
	defer b.s.watch.remove(w)
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	for {
		w.run(j)
		if w.broken {
			return
		}
		idle.Reset(idleTime)
		select {
		case j = <-b.jobs:
		case <-idle.C:
			return
		}
	}
}

// enter puts the calling thread into the domain.
func (b *bound) enter(w *worker) error {
	if err := sys.QuietThread(); err != nil {
		return err
	}
	w.ownFS = sys.OwnFS() == nil
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return sys.LandlockRestrict(b.s.cfg.Rules.Int())
}

// run does a call's job in its worker's stead.
func (w *worker) run(j job) {
	c, own := j.c, j.c.w
	c.w = w
	w.since.Store(own.since.Load())
	err := error(unix.EIO)
	defer func() {
		if p := recover(); p != nil {
			c.s.cfg.Logf("handler of %s, bound: %v\n%s", c.Name, p, debug.Stack())
			w.broken = true
		}
		w.since.Store(0)
		c.w = own
		j.done <- err
	}()
	err = j.do()
}
