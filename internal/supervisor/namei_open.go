package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// planSpot is what a walk over the plan has come to.
type planSpot struct{ *lookup.Object }

// spot implements Namei.
func (p *planNamei) spot(c *Call, n named, o Opening) (spot, error) {
	opts := lookup.Options{Follow: o.follows(), Restrict: o.Resolve}
	if o.Has(unix.O_CREAT) {
		opts.Mode = lookup.Create
	}
	obj, err := n.find(c, opts)
	if err != nil {
		return nil, err
	}
	return planSpot{obj}, nil
}

func (s planSpot) Last() string { return s.Name }

func (s planSpot) mayMake(o Opening) error {
	if err := lacks(&s.Dir, o.needsToMake(), unix.EACCES); err != nil {
		return err
	}
	if s.Dir.Entry.Kind == plan.Proc {
		return unix.ENOENT
	}
	return nil
}

func (s planSpot) mayOpen(c *Call, o Opening, mode uint32) error {
	if err := o.allowed(c, s.Object, mode); err != nil {
		return err
	}
	return c.names().beforeOpen(&s.Place)
}

// allowed judges an open of an existing object.
func (o Opening) allowed(c *Call, obj *lookup.Object, mode uint32) error {
	place := &obj.Place
	if obj.Magic != nil {
		return o.reopens(c, obj, mode)
	}
	if place.Entry != nil && place.Entry.Kind == plan.Proc {
		return o.opensProc(place)
	}
	device := isType(mode, unix.S_IFCHR) || isType(mode, unix.S_IFBLK)
	if device && (place.Entry == nil || place.Entry.Kind != plan.Device) {
		return unix.EACCES // as on a mount without devices
	}
	return lacks(place, o.needsOf(mode), unix.EACCES)
}

// reopens judges an open through a link of /proc: it gives no more than the
// descriptor has, or the grant.
func (o Opening) reopens(c *Call, obj *lookup.Object, mode uint32) error {
	if !obj.Outside && lacks(&obj.Place, o.needsOf(mode), unix.EACCES) == nil &&
		!isType(mode, unix.S_IFCHR) && !isType(mode, unix.S_IFBLK) {
		return nil
	}
	have, err := c.access(obj.Magic.Name, obj.FD())
	if err != nil {
		return err
	}
	if o.Has(unix.O_TRUNC) && isType(mode, unix.S_IFREG) {
		// A descriptor for writing whose grant lacks this cannot be cut either.
		entry, err := c.names().entryOf(obj.FD())
		if err != nil {
			return err
		}
		if entry != nil && !entry.Rights.IsSet(rights.Ftruncate) {
			return unix.EACCES
		}
	}
	if o.Has(unix.O_PATH) || o.Has(unix.O_TMPFILE) || o.reads() && !have.read || (o.writes() || o.Has(unix.O_TRUNC)) && !have.write {
		return unix.EACCES
	}
	return nil
}
