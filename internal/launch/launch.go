// Package launch starts a program under a plan and sees it through to its end.
//
// The front half runs in the command's own process: it picks the engine, starts
// stage two, and then plays the program's part towards the shell: it stops when
// the program stops, passes on signals, and ends with the program's status. The
// other half, stage two, is the same executable again; it builds the sandbox,
// starts the program and supervises it. See docs/architecture.md.
//
// Limitations: a process runs one sandbox at a time, from the goroutine of main.
package launch

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// Exit statuses of our own; see capsicum(1).
const (
	exitRefused       = 125
	exitCannotExecute = 126
	exitNotFound      = 127
	exitSignal        = 128 // plus the signal's number
)

// Options are what the caller wants to know of a run.
type Options struct {
	Events func(Event)  // called on Run's goroutine; nil for none
	Log    *slog.Logger // nil discards
}

// Event is something that happened to the program.
type Event struct {
	Type   string        // started, stopped, continued, exited
	Engine policy.Engine // what it runs under
	PID    int           // of the program, as the caller's pid namespace sees it
	Exit   int           // exited: the status that Run returns
	Signal int           // exited, stopped: the signal, 0 for none
	Time   time.Time
}

// Choose says how p would be enforced here, or why it would be refused.
// EngineAuto becomes the first engine that works.
func Choose(p *policy.Policy, pl *plan.Plan) (Choice, error) {
	if p.Engine != policy.EngineAuto && p.Engine != "" {
		return choose(p, pl, p.Engine)
	}
	if namespacesRefused() != nil {
		return choose(p, pl, policy.EngineLandlock)
	}
	return choose(p, pl, policy.EngineNamespaces)
}

// Run starts the program and returns the exit status to end with. An error is a
// refused start, of type *Refused where its status matters. A chosen namespaces
// engine that turns out not to work is replaced by the landlock engine unless the
// policy asked for it by name.
func Run(p *policy.Policy, pl *plan.Plan, c Choice, o Options) (int, error) {
	// The program's death is told to the thread that started stage two.
	runtime.LockOSThread()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	if err := sys.CloexecFrom(3); err != nil {
		return 0, fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	fds, err := inherit(p.FDs)
	if err != nil {
		return 0, err
	}
	status, err := run(p, pl, c, fds, o)
	var r *Refused
	if !errors.As(err, &r) || !r.unavailable || c.Engine == policy.EngineLandlock || p.Engine == policy.EngineNamespaces {
		return status, err
	}
	o.Log.Info("namespaces engine unavailable", "error", err)
	c, chooseErr := choose(p, pl, policy.EngineLandlock)
	if chooseErr != nil {
		return 0, fmt.Errorf("%w (the namespaces engine is unavailable: %v)", chooseErr, r)
	}
	return run(p, pl, c, fds, o)
}

// run runs the program under one engine.
func run(p *policy.Policy, pl *plan.Plan, c Choice, fds []inherited, o Options) (int, error) {
	f := &front{events: o.Events, engine: c.Engine, plan: pl, kept: fds, linger: p.Linger}
	s := &setup{
		Plan: pl, Engine: c.Engine, Env: p.Env, Net: p.Net, Hostname: p.Hostname,
		Limits: p.Limits, Linger: p.Linger, FDs: fds,
	}
	if c.Engine == policy.EngineLandlock {
		dir, err := stateDir()
		if err != nil {
			return 0, err
		}
		defer func() {
			if !f.left { // else the orphans still look names up in it
				removeState(dir)
			}
		}()
		s.State = dir
		// What the supervisor leaves behind when it is killed comes to us.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return 0, fmt.Errorf("become child subreaper: %w", err)
		}
		f.strangers = childrenOf(os.Getpid())
	}
	// The program may run, and a terminal's signal may be meant for it, before
	// start returns.
	var err error
	if f.signals, err = receive(); err != nil {
		return 0, err
	}

	if err := f.start(s); err != nil {
		return 0, err
	}
	// Until they execute something the children run in our memory.
	defer runtime.KeepAlive(f.children)
	return f.follow()
}

// front is the command's side of one run.
type front struct {
	events    func(Event)
	engine    policy.Engine
	plan      *plan.Plan
	ctl       channel
	signals   *sys.FD // a pipe, see [receive]
	children  *children
	strangers []int   // children that we had before
	init      int     // the pid of the sandbox's init
	program   *sys.FD // pidfd, nil until started
	pid       int
	kept      []inherited // what the program inherited, and we still hold
	linger    bool
	left      bool // the program has ended, and its orphans are the supervisor's

	stops   int       // how often the program was reported stopped
	stopped bool      // and it was not reported continued since
	resumed time.Time // when we last were continued after it
	nudge   time.Time // when to look whether it was continued, zero for never
	nudged  int       // stops when nudge was set
}

// follow sees the program through to its end.
func (f *front) follow() (int, error) {
	defer f.ctl.close()
	for {
		ready := [2]unix.PollFd{{Fd: int32(f.ctl.fd), Events: unix.POLLIN}, {Fd: int32(f.signals.Int()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready[:], f.patience())
		if err != nil && err != unix.EINTR {
			return 0, fmt.Errorf("wait for the sandbox: %w", err)
		}
		if n == 0 {
			f.wake()
		}
		if n > 0 && ready[1].Revents != 0 {
			f.forward()
		}
		if n > 0 && ready[0].Revents != 0 {
			if done, status, err := f.hear(); done {
				return status, err
			}
		}
	}
}

// hear acts on one report and says whether it was the last.
func (f *front) hear() (done bool, status int, err error) {
	r, pidfd, err := f.ctl.receive()
	if errors.Is(err, io.EOF) {
		status, err = f.gone()
		return true, status, err
	}
	if err != nil {
		return true, 0, err
	}
	return f.handle(r, pidfd)
}

// handle acts on one report and says whether it was the last.
func (f *front) handle(r report, pidfd *sys.FD) (done bool, status int, err error) {
	ws := unix.WaitStatus(r.Status)
	switch r.Kind {
	case reportStarted:
		f.program = pidfd
		f.pid = pidOf(pidfd)
		if err := f.ctl.send(report{Kind: reportHeard}, -1); err != nil {
			return true, 0, fmt.Errorf("answer the sandbox: %w", err)
		}
		letGo(f.kept)
		f.events(f.event("started"))
	case reportStopped:
		ev := f.event("stopped")
		ev.Signal = int(ws.StopSignal())
		f.events(ev)
		f.stop(ws.StopSignal())
	case reportContinued:
		f.stopped = false
		f.events(f.event("continued"))
	case reportExited:
		if f.left = f.linger; !f.left {
			f.wait()
		}
		status, err = f.exited(ws)
		return true, status, err
	case reportRefused:
		f.wait()
		f.killLeft()
		return true, 0, refusedBy(r)
	}
	return false, 0, nil
}

// event is an event of this run.
func (f *front) event(kind string) Event {
	return Event{Type: kind, Engine: f.engine, PID: f.pid, Time: time.Now()}
}

// exited ends a run whose program has ended.
func (f *front) exited(ws unix.WaitStatus) (int, error) {
	if err := f.failed(); err != nil {
		return 0, err
	}
	ev := f.event("exited")
	ev.Exit = ws.ExitStatus()
	if ws.Signaled() {
		ev.Signal = int(ws.Signal())
		ev.Exit = exitSignal + ev.Signal
	}
	f.events(ev)
	return ev.Exit, nil
}

// gone ends a run whose init, or supervisor, went away without a word. Either
// the program ended before there was a supervisor, or its process failed before
// it was handed over, or the supervisor was killed, and everything it supervised
// goes with it.
func (f *front) gone() (int, error) {
	status := f.wait()
	f.killLeft()
	if f.children.ended.Load() != 0 {
		return f.exited(unix.WaitStatus(f.children.status.Load()))
	}
	if err := f.failed(); err != nil {
		return 0, err
	}
	if f.program == nil {
		return 0, refuse("the sandbox ended before the program was started (wait status %#x)", uint32(status))
	}
	return exitSignal + int(unix.SIGKILL), nil
}

// killLeft ends what init left behind. A pid namespace ends with its init.
func (f *front) killLeft() {
	if f.engine == policy.EngineLandlock {
		killDescendants(f.strangers)
	}
}

// wait collects init.
func (f *front) wait() unix.WaitStatus {
	var status unix.WaitStatus
	_ = sys.Retry(func() error { // ECHILD: collected already
		_, err := unix.Wait4(f.init, &status, 0, nil)
		return err
	})
	return status
}

// refusedBy turns the supervisor's report into the error that it was there.
func refusedBy(r report) error {
	return &Refused{Exit: int(r.Exit), Message: r.Message, Errno: unix.Errno(r.Errno), unavailable: r.Unavailable}
}
