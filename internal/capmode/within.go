package capmode

import (
	"maps"

	"github.com/capsicum-go/capsicum/internal/supervisor"
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
			r := own(k)
			if !r.GoesOn() || !c.RunAsks() {
				return r
			}
			next := run(c)
			if next.GoesOn() {
				return r
			}
			// The numbers were pinned until here, so they were the same for both.
			k.p.pins.drop(c.TID())
			return next
		})
	}
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
