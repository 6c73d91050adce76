// Package launch starts a program under a plan and sees it through to its end.
//
// The front half runs in the command's own process: it starts the sandbox's init
// and the program's process, and then plays the program's part towards the shell:
// it stops when the program stops, passes on signals, and ends with the program's
// status. The other half, stage two, is the same executable again: init becomes
// it when the program asks its first question. See docs/architecture.md.
//
//	l := launch.Begin(policy) // the kernel makes namespaces meanwhile
//	defer l.Close()
//	plan, err := resolve.Build(policy, host)
//	…
//	choice, err := launch.Choose(policy, plan)
//	…
//	status, err := l.Run(plan, choice, launch.Options{})
//
// Limitations: a process runs one sandbox at a time.
package launch

import (
	"errors"
	"fmt"
	"runtime"
	"time"

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
	Events func(Event) // called on Run's goroutine; nil for none
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
func Choose(p *policy.Policy, pl *plan.Plan) (Choice, error) { return choose(p, pl, pick(p)) }

// pick returns the engine that p asks for, or the first that may work.
func pick(p *policy.Policy) policy.Engine {
	switch {
	case p.Engine != policy.EngineAuto && p.Engine != "":
		return p.Engine
	case namespacesRefused() != nil:
		return policy.EngineLandlock
	}
	return policy.EngineNamespaces
}

// Launch is a run in the making.
type Launch struct {
	policy   *policy.Policy
	fds      []inherited
	slack    int // the timer slack that was the caller's
	children *children
	err      error // what went wrong so far
}

// Begin starts what does not depend on the plan: the sandbox's init, which sees
// to its namespaces beside the caller, and the program's process, which waits to
// be told what to show. Errors are [Launch.Run]'s to return.
func Begin(p *policy.Policy) *Launch {
	l := &Launch{policy: p, slack: sys.CalmMonitor()}
	if l.err = l.prepare(); l.err == nil {
		l.err = l.children.start()
	}
	return l
}

// prepare makes everything ready to start.
func (l *Launch) prepare() (err error) {
	if err := sys.CloexecFrom(3); err != nil {
		return fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	if l.fds, err = inherit(l.policy.FDs); err != nil {
		return err
	}
	l.children, err = newChildren(l.policy, pick(l.policy), l.fds, l.slack)
	return err
}

// Close ends what was begun and not run.
func (l *Launch) Close() {
	if l.children != nil {
		l.children.kill() // nothing is left of it after a run
	}
}

// Run starts the program and returns the exit status to end with. An error is a
// refused start, of type *Refused where its status matters. A chosen namespaces
// engine that turns out not to work is replaced by the landlock engine unless the
// policy asked for it by name.
func (l *Launch) Run(pl *plan.Plan, c Choice, o Options) (int, error) {
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	status, err := 0, l.err
	if err == nil {
		status, err = l.run(pl, c, o)
	}
	var r *Refused
	if !errors.As(err, &r) || !r.unavailable || c.Engine == policy.EngineLandlock || l.policy.Engine == policy.EngineNamespaces {
		return status, err
	}
	c, chooseErr := choose(l.policy, pl, policy.EngineLandlock)
	if chooseErr != nil {
		return 0, fmt.Errorf("%w (the namespaces engine is unavailable: %v)", chooseErr, r)
	}
	if l.children, err = newChildren(l.policy, c.Engine, l.fds, l.slack); err != nil {
		return 0, err
	}
	if err := l.children.start(); err != nil {
		return 0, err
	}
	return l.run(pl, c, o)
}

// run runs the program under one engine.
func (l *Launch) run(pl *plan.Plan, c Choice, o Options) (int, error) {
	p := l.policy
	f := &front{children: l.children, events: o.Events}
	// Until they execute something the children run in our memory.
	defer runtime.KeepAlive(l.children)
	defer f.children.kill()
	f.setup = &setup{
		Plan: pl, Engine: c.Engine, Env: p.Env, Net: p.Net, Hostname: p.Hostname,
		Limits: p.Limits, Linger: p.Linger, FDs: l.fds, Library: c.Library.Supervised,
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
		f.setup.State = dir
	}
	// The program may run, and a terminal's signal may be meant for it, before we
	// look at the next one. Until here they end us, and with us what has begun.
	var err error
	if f.signals, err = receive(); err != nil {
		return 0, err
	}
	if err := f.children.plan(f.setup); err != nil {
		return 0, err
	}
	if err := f.children.goOn(); err != nil {
		return 0, err
	}
	return f.follow()
}
