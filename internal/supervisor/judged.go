package supervisor

import (
	"errors"
	"strings"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// This file is about calls that a program's own rules were asked about first, those
// that it made for itself, and that this package carries out over the plan then. What
// was judged is what is used: the copy of the name, of the descriptor and of a
// structure. The program can change each of them between the two.

// Start is where a name begins that another handler has judged.
type Start struct {
	Arg  int     // of the call: which of its directories
	Name string  // as it was judged
	Dir  *sys.FD // what the number means; nil for a name that begins elsewhere

	// Beneath holds the name beneath Dir: ENOTCAPABLE for one that leads out, and for
	// what is a process's in /proc.
	Beneath bool
	// Keeps is for a new name that must not take the place of another.
	Keeps bool
}

// judged is what was judged of a call.
type judged struct {
	starts  []Start
	opening *Opening
}

// WalksPlan reports whether names are looked up over the plan, and nowhere else.
func (c *Call) WalksPlan() bool {
	_, ok := c.s.namei.(*planNamei)
	return ok
}

// Begin makes the call's handler use what was judged. Directories stay the caller's.
func (c *Call) Begin(starts ...Start) { c.judged.starts = starts }

// Opens makes the call's handler, which opens, do that as it was judged.
func (c *Call) Opens(o Opening) { c.judged.opening = &o }

// opening is what the call asks for, as it was judged or else as decode has it.
func (c *Call) opening(decode func(*Call) (Opening, error)) (Opening, error) {
	if o := c.judged.opening; o != nil {
		return *o, nil
	}
	return decode(c)
}

// start returns what was judged of the directory in an argument, nil for nothing.
func (c *Call) start(arg int) *Start {
	for i := range c.judged.starts {
		if s := &c.judged.starts[i]; s.Arg == arg {
			return s
		}
	}
	return nil
}

// base is the directory a relative name starts in.
func (s *Start) base(p *planNamei) (lookup.Base, *sys.FD, error) {
	mode, err := modeOf(s.Dir.Int())
	if err == nil && !isType(mode, unix.S_IFDIR) {
		err = unix.ENOTDIR
	}
	if err != nil {
		return lookup.Base{}, nil, err
	}
	return p.baseAt(s.Dir.Dup())
}

// walks returns the options of a walk from s.
func (s *Start) walks(opts lookup.Options) lookup.Options {
	if s != nil && s.Beneath && opts.Restrict&unix.RESOLVE_IN_ROOT == 0 { // in which nothing leaves either
		opts.Restrict |= unix.RESOLVE_BENEATH
	}
	return opts
}

// found judges what a walk from s has come to, or why it has not.
func (s *Start) found(obj *lookup.Object, err error) (*lookup.Object, error) {
	if s == nil || !s.Beneath {
		return obj, err
	}
	if err == nil && ofProcess(&obj.Place) {
		obj.Close()
		err = filecaps.ENOTCAPABLE
	}
	if errors.Is(err, unix.EXDEV) {
		err = filecaps.ENOTCAPABLE
	}
	if err != nil {
		return nil, err
	}
	return obj, nil
}

// ofProcess reports whether a place is in the directory of a process in /proc.
func ofProcess(p *lookup.Place) bool {
	if p.Entry == nil || p.Entry.Kind != plan.Proc {
		return false
	}
	first, _, _ := strings.Cut(p.Proc, "/")
	_, ok := number(first)
	return ok
}

// descriptor is what s itself is about.
func (s *Start) descriptor(c *Call) (object, error) {
	fd, err := s.Dir.Dup()
	if err != nil {
		return object{}, err
	}
	return c.located(fd)
}
