package capmode

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/rights"
)

// nameCall is one call that takes a name: what it needs of the directory, and how
// it is done.
type nameCall struct {
	dir, name int // argument numbers
	flags     atFlags
	nameless  nameless
	need      func(*call) rights.Set
	do        func(c *call, p *place, name string) (int64, error)
}

// atFlags are the AT_ flags that a call takes, and in which argument.
type atFlags struct {
	arg   int // -1 if there are none
	known uint32
}

var flagless = atFlags{arg: -1}

// nameless is what means the descriptor itself, beside an empty name with AT_EMPTY_PATH,
// if the call takes that flag.
type nameless int

const (
	named     nameless = iota // nothing
	orNull                    // a null pointer, with AT_EMPTY_PATH
	onlyNull                  // a null pointer, without any flag
	onlyEmpty                 // an empty name, without any flag, if it is a link
)

// isItself reports whether the call is on the descriptor itself.
func (n nameCall) isItself(c *call) (bool, error) {
	none := c.Arg(n.name) == 0
	switch {
	case none && n.nameless == onlyNull:
		return true, nil
	case n.nameless == onlyEmpty:
		name, err := c.Path(n.name)
		return name == "", err
	case n.flags.known&unix.AT_EMPTY_PATH == 0 || !c.flag(n.flags.arg, unix.AT_EMPTY_PATH):
		return false, nil
	case none && n.nameless == orNull:
		return true, nil
	}
	name, err := c.Path(n.name)
	return name == "", err
}

// flagged fails as the kernel does with flags that the call does not take. Such a flag may
// mean something to a newer kernel, so a call without it would be another.
func (n nameCall) flagged(c *call) error {
	if n.flags.arg < 0 {
		return nil
	}
	known := n.flags.known
	if n.nameless == onlyNull && c.Arg(n.name) == 0 {
		known = 0
	}
	if uint32(c.Int(n.flags.arg))&^known != 0 {
		return unix.EINVAL
	}
	return nil
}

// answer makes the handler.
func (n nameCall) answer(c *call) supervisor.Result {
	if r, ok := c.free(c.Fd(n.dir)); ok {
		return r
	}
	switch itself, err := n.isItself(c); {
	case err != nil:
		return fail(err)
	case itself:
		return n.itself(c)
	}
	name, err := c.Path(n.name)
	if err != nil {
		return fail(err)
	}
	p, err := c.start(c.Fd(n.dir), name, n.need(c))
	if err != nil {
		return fail(err)
	}
	defer p.Close()
	if p.free {
		p.Close()
		return n.answer(c)
	}
	if err := n.flagged(c); err != nil {
		return fail(err)
	}
	if c.WalksPlan() {
		return c.byRun(p.of(n.dir, name))
	}
	v, err := n.do(c, p, name)
	if err != nil {
		return fail(p.leaves(err))
	}
	return supervisor.Value(v)
}

// itself is a call on the descriptor itself. It is about no name, so the right to look up
// is not asked for, but where there is no other.
func (n nameCall) itself(c *call) supervisor.Result {
	fd := c.Fd(n.dir)
	if fd == unix.AT_FDCWD {
		if c.p.table.Mode() {
			return supervisor.Errno(eCapMode)
		}
		return c.goOn(only(none), "the working directory is in the global namespace")
	}
	t := c.table()
	f, caps, err := c.held(t, fd)
	t.Unlock()
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	need := n.need(c)
	if n.nameless != onlyEmpty {
		need.Clear(rights.Lookup)
	}
	if !caps.Rights.Contains(need) {
		return supervisor.Errno(eNotCapable)
	}
	if caps.IsFull() && !c.p.table.Mode() {
		if r, ok := c.free(fd); ok {
			return r
		}
		return n.itself(c)
	}
	if err := n.flagged(c); err != nil {
		return fail(err)
	}
	if c.run != nil && c.WalksPlan() {
		return c.byRun(supervisor.Start{Arg: n.dir, Dir: f, Beneath: true})
	}
	v, err := n.do(c, &place{FD: f, caps: caps}, "")
	if err != nil {
		return fail(err)
	}
	return supervisor.Value(v)
}

// flag reports whether AT_ flag bit is among the flags in argument i.
func (c *call) flag(i int, bit uint32) bool { return uint32(c.Int(i))&bit != 0 }

// needing is what a call needs whatever its arguments.
func needing(list ...rights.Right) func(*call) rights.Set {
	set := rights.Of(list...)
	return func(*call) rights.Set { return set }
}
