package supervisor

import (
	"errors"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// planNamei finds names by walking the plan (landlock engine).
type planNamei struct {
	s      *Supervisor
	ns     *lookup.Namespace
	labels labels
	proc   procTree
}

func newPlanNamei(s *Supervisor) *planNamei {
	p := &planNamei{s: s, ns: s.cfg.Namespace}
	p.labels.init()
	p.proc.init(s, p.ns)
	return p
}

// names returns the plan being walked; path handlers exist under the landlock
// engine only.
func (c *Call) names() *planNamei { return c.s.namei.(*planNamei) }

// Resolve implements Namei.
func (p *planNamei) Resolve(c *Call, dirfd int32, name string, how Walk) (*Found, error) {
	opts := lookup.Options{Follow: how&(NoFollow|Create) == 0}
	if how&Create != 0 {
		opts.Mode = lookup.Create
	}
	obj, err := p.walk(c, named{dir: dirfd, name: name}, opts)
	if err != nil {
		return nil, err
	}
	defer obj.Close()
	f := &Found{Name: obj.Name}
	place := &obj.Place
	if obj.FD() >= 0 {
		n, err := obj.TakeFD()
		if err != nil {
			return nil, err
		}
		f.Object = sys.NewFD(n)
	} else {
		place = &obj.Dir
	}
	if obj.DirFD() >= 0 {
		n, err := obj.TakeDirFD()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.Parent = sys.NewFD(n)
	}
	if place.Entry != nil {
		f.Entry = &place.Entry.Entry
	}
	return f, nil
}

// EntryOf implements Namei.
func (p *planNamei) EntryOf(fd *sys.FD) (*plan.Entry, error) { return p.entryOf(fd.Int()) }

func (p *planNamei) entryOf(fd int) (*plan.Entry, error) {
	place, err := p.ns.Locate(fd)
	if err != nil {
		return nil, err
	}
	if place.Entry == nil {
		return p.s.heldEntry(fd)
	}
	return &place.Entry.Entry, nil
}

// walk walks n with the caller's credentials. The object is the receiver's
// to close.
func (p *planNamei) walk(c *Call, n named, opts lookup.Options) (*lookup.Object, error) {
	var base lookup.Base
	if n.name != "" && (n.name[0] != '/' || opts.Restrict != 0) {
		b, fd, err := p.base(c, n)
		if err != nil {
			return nil, err
		}
		defer fd.Close()
		base = b
	}
	opts.Proc, opts.MayFollow = &procView{c: c, p: p}, c.mayFollowIn
	var obj *lookup.Object
	err := c.As(func() (err error) {
		obj, err = p.ns.Resolve(func() (lookup.Base, error) { return base, nil }, n.name, opts)
		return err
	})
	return obj, err
}

// base finds the directory a relative name starts in.
func (p *planNamei) base(c *Call, n named) (lookup.Base, *sys.FD, error) {
	switch {
	case n.start != nil && n.start.Dir != nil:
		return n.start.base(p)
	case n.start != nil && n.dir != unix.AT_FDCWD: // it was judged as a name that begins nowhere
		return lookup.Base{}, nil, filecaps.ENOTCAPABLE
	case n.dir == unix.AT_FDCWD:
		return p.workingDir(c)
	}
	return p.baseAt(c.Dir(n.dir))
}

// baseAt is the directory fd, which it takes over.
func (p *planNamei) baseAt(fd *sys.FD, err error) (lookup.Base, *sys.FD, error) {
	if err != nil {
		return lookup.Base{}, nil, err
	}
	place, err := p.ns.Locate(fd.Int())
	if err != nil {
		return lookup.Base{}, nil, errors.Join(err, fd.Close())
	}
	return lookup.Base{FD: fd.Int(), Place: place}, fd, nil
}

// workingDir is the caller's working directory: the one its label names, else
// the kernel's.
func (p *planNamei) workingDir(c *Call) (lookup.Base, *sys.FD, error) {
	id, err := labelOf(c.Proc(), c.TID())
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return lookup.Base{}, nil, err
	}
	if id != 0 {
		return p.labels.base(id)
	}
	return p.baseAt(c.Dir(unix.AT_FDCWD))
}
