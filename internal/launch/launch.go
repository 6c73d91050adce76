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
	f := &front{events: o.Events, engine: c.Engine, plan: pl, linger: p.Linger, signals: make(chan os.Signal, 64)}
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
		// What stage two leaves behind when it is killed comes to us.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return 0, fmt.Errorf("become child subreaper: %w", err)
		}
	}
	// The program may run, and a terminal's signal may be meant for it, before
	// start returns.
	receive(f.signals)
	if err := f.start(s); err != nil {
		return 0, err
	}
	return f.follow()
}

// front is the command's side of one run.
type front struct {
	events   func(Event)
	engine   policy.Engine
	plan     *plan.Plan
	ctl      channel
	signals  chan os.Signal
	children *children
	stage    int     // the supervisor's pid
	program  *sys.FD // pidfd, nil until started
	pid      int
	linger   bool
	left     bool // the program has ended, and its orphans are the supervisor's

	stops   int       // how often the program was reported stopped
	stopped bool      // and it was not reported continued since
	resumed time.Time // when we last were continued after it
	nudge   <-chan time.Time
	nudged  int // stops when nudge was set
}

// arrival is a report, or the end of them.
type arrival struct {
	report report
	pidfd  *sys.FD
	err    error
}

// follow sees the program through to its end.
func (f *front) follow() (int, error) {
	defer f.ctl.close()
	arrivals := make(chan arrival)
	go f.listen(arrivals)
	for {
		select {
		case sig := <-f.signals:
			f.forward(sig)
		case <-f.nudge:
			f.wake()
		case a := <-arrivals:
			if a.err != nil {
				return f.lost(a.err)
			}
			if a.report.Kind == reportRefused {
				f.wait()
				return 0, refusedBy(a.report)
			}
			if done, status, err := f.handle(a); done {
				return status, err
			}
		}
	}
}

// listen passes reports on until the supervisor is gone.
func (f *front) listen(to chan<- arrival) {
	for {
		r, pidfd, err := f.ctl.receive()
		to <- arrival{r, pidfd, err}
		if err != nil {
			return
		}
	}
}

// handle acts on one report and says whether it was the last.
func (f *front) handle(a arrival) (done bool, status int, err error) {
	ws := unix.WaitStatus(a.report.Status)
	ev := Event{Type: string(a.report.Kind), Engine: f.engine, PID: f.pid, Time: time.Now()}
	switch a.report.Kind {
	case reportLoaded:
		f.children.loaded.Store(1)
		return false, 0, nil
	case reportStarted:
		f.program = a.pidfd
		f.pid = pidOf(a.pidfd)
		ev.PID = f.pid
		if err := f.ctl.send(report{Kind: reportHeard}, -1); err != nil {
			return true, 0, fmt.Errorf("answer the supervisor: %w", err)
		}
		letGo()
	case reportStopped:
		ev.Signal = int(ws.StopSignal())
		f.events(ev)
		f.stop(ws.StopSignal())
		return false, 0, nil
	case reportContinued:
		f.stopped = false
	case reportExited:
		if f.left = f.linger; !f.left {
			f.wait()
		}
		if err := f.failed(); err != nil {
			return true, 0, err
		}
		ev.Exit = ws.ExitStatus()
		if ws.Signaled() {
			ev.Signal = int(ws.Signal())
			ev.Exit = exitSignal + ev.Signal
		}
	}
	f.events(ev)
	return a.report.Kind == reportExited, ev.Exit, nil
}

// lost ends a run whose supervisor went away without a word. Either the
// program's process failed before it was handed over, or the supervisor was
// killed, and everything it supervised goes with it.
func (f *front) lost(err error) (int, error) {
	if !errors.Is(err, io.EOF) {
		return 0, err
	}
	status := f.wait()
	killDescendants()
	if err := f.failed(); err != nil {
		return 0, err
	}
	if f.program == nil {
		return 0, refuse("the supervisor ended before the program was started (wait status %#x)", uint32(status))
	}
	return exitSignal + int(unix.SIGKILL), nil
}

// wait collects the supervisor.
func (f *front) wait() unix.WaitStatus {
	var status unix.WaitStatus
	_ = sys.Retry(func() error { // ECHILD: collected already
		_, err := unix.Wait4(f.stage, &status, 0, nil)
		return err
	})
	return status
}

// refusedBy turns stage two's report into the error that it was there.
func refusedBy(r report) error {
	return &Refused{Exit: r.Exit, Message: r.Message, Errno: unix.Errno(r.Errno), unavailable: r.Unavailable}
}
