package capmode

import (
	"maps"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/rights"
)

// This file is about programs that confine themselves under rules that others made:
// those of a run of the command. Whatever is carried out here for such a program is
// done to descriptors that it holds, or by a thread under the Landlock rules that it
// is under ([supervisor.Call.Bound]), as the caller; and what the run's rules are
// asked about is judged by them, too. So calling the library gains nobody anything.

// Within returns what answers the calls of programs that are started under a plan and
// may confine themselves. run has the answers of the plan's engine: they decide as if
// there were no library, about all that the library lets go on.
func (w *Warden) Within(run map[string]supervisor.Handler) map[string]supervisor.Handler {
	table := maps.Clone(run)
	for name, own := range w.handlers() {
		if table[name] = w.known(own); run[name] != nil {
			table[name] = w.both(own, run[name])
		}
	}
	return table
}

// both is for calls that either may be asked about.
func (w *Warden) both(own handler, run supervisor.Handler) supervisor.Handler {
	return func(c *supervisor.Call) supervisor.Result {
		if !c.LibraryAsks() {
			return run(c)
		}
		return w.serve(c, func(k *call) supervisor.Result {
			if c.RunAsks() {
				k.run = run
			}
			r := own(k)
			if !r.GoesOn() {
				return r
			}
			next, ok := k.asksRun()
			if ok {
				return r
			}
			// The numbers were pinned until here, so they were the same for both.
			k.p.pins.drop(c.TID())
			return next
		})
	}
}

// asksRun has the run's handler answer, if there is one that has to be asked and was
// not. It reports whether the kernel may carry the call out.
func (c *call) asksRun() (supervisor.Result, bool) {
	run := c.run
	if c.run = nil; run == nil {
		return supervisor.Result{}, true
	}
	r := run(c.Call)
	return r, r.GoesOn()
}

// byRun has the run's handler carry out a call that is judged, where it alone knows
// what names mean: the kernel has no root, and no mounts, of the sandbox.
func (c *call) byRun(starts ...supervisor.Start) supervisor.Result {
	c.Begin(starts...)
	r, ok := c.asksRun()
	if ok {
		return supervisor.Errno(unix.EACCES)
	}
	return r
}

// of is what name, looked up in p, is to the run's handler: arg says where the call has
// the directory.
func (p *place) of(arg int, name string) supervisor.Start {
	return supervisor.Start{Arg: arg, Name: name, Dir: p.FD, Beneath: !p.global, Keeps: !p.caps.Rights.IsSet(rights.Unlinkat)}
}

// openByRun has the run's handler open name. The file gets the directory's rights.
func (o opening) openByRun(c *call, p *place, name string) supervisor.Result {
	c.Opens(o.Opening)
	r := c.byRun(p.of(0, name))
	f := r.File()
	if f == nil || p.caps.IsFull() {
		return r
	}
	defer f.Close()
	t := c.table()
	defer t.Unlock()
	return c.give(t, f, p.caps, 0, o.Has(unix.O_CLOEXEC))
}

// As is [supervisor.Call.As], bound by the run's rules.
func (c *call) As(f func() error) error {
	return c.Bound(func() error { return c.Call.As(f) })
}

// AsReal is [supervisor.Call.AsReal], bound by the run's rules.
func (c *call) AsReal(f func() error) error {
	return c.Bound(func() error { return c.Call.AsReal(f) })
}

// AsCreator is [supervisor.Call.AsCreator], bound by the run's rules.
func (c *call) AsCreator(f func() error) error {
	return c.Bound(func() error { return c.Call.AsCreator(f) })
}
