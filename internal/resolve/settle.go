package resolve

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
)

func isErrno(err error, errno unix.Errno) bool { return errors.Is(err, errno) }

// settle works out what nested entries mean and writes the plan down.
//
// An entry that shows a part of the tree around it has that tree's rights too,
// so that a grant inside another never narrows; if that is all it has, it goes.
// One that shows another tree keeps the rights it was given: those of the tree
// around it were given for other objects.
func (b *builder) settle() error {
	if err := b.settleAt(b.root, "/", nil); err != nil {
		return err
	}
	slices.SortFunc(b.out.Entries, func(x, y plan.Entry) int { return strings.Compare(x.Dest, y.Dest) })
	slices.SortFunc(b.out.Links, func(x, y plan.Link) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

func (b *builder) settleAt(n *node, name string, outer []*plan.Entry) error {
	if n.link != nil {
		if err := b.settleLink(n.link, outer); err != nil {
			return err
		}
	}
	if n.entry != nil {
		keep, err := b.settleEntry(n.entry, outer)
		if err != nil {
			return err
		}
		if keep {
			b.out.Entries = append(b.out.Entries, *n.entry)
			outer = append(outer, n.entry)
		}
	}
	for _, c := range slices.Sorted(maps.Keys(n.kids)) {
		if err := b.settleAt(n.kids[c], path.Join(name, c), outer); err != nil {
			return err
		}
	}
	return nil
}

// settleEntry reports whether an entry is to be kept, given those around it,
// outermost first.
func (b *builder) settleEntry(e *plan.Entry, outer []*plan.Entry) (bool, error) {
	if len(outer) == 0 {
		return true, nil
	}
	for _, o := range outer {
		if e.SameTree(o) {
			e.Rights = e.Rights.Union(o.Rights)
		}
	}
	nearest := outer[len(outer)-1]
	if !e.SameTree(nearest) {
		return true, b.mountPoint(e, nearest)
	}
	// A device must stay: mounts of trees do not open devices.
	return e.Kind == plan.Device || e.Rights != nearest.Rights, nil
}

// mountPoint checks that the tree around an entry has a place to show it at.
// Nothing is ever made in a granted tree: it is the host's.
func (b *builder) mountPoint(e, outer *plan.Entry) error {
	flag := b.flagOf(e)
	switch outer.Kind {
	case plan.Tmpfs:
		return nil
	case plan.Dir:
	default:
		return conflict(flag, e.Dest, b.flagOf(outer), "shows a "+string(outer.Kind)+" around it", "")
	}
	name := path.Join(outer.Source, strings.TrimPrefix(e.Dest, outer.Dest))
	obj, links, err := b.w.walk(name)
	if isProcfs(err, name) && e.Source == "" {
		return nil // the host's own procfs, which ours covers
	}
	if err != nil {
		if isMissing(err) {
			return conflict(flag, e.Dest, b.flagOf(outer), "has no such name to show it at", "make "+name+" or choose another name")
		}
		return failed(flag, err, "")
	}
	obj.close()
	if len(links) > 0 {
		return conflict(flag, e.Dest, b.flagOf(outer), "has a link there", "use the name that the link leads to")
	}
	isDir := e.Source == "" || e.Mode&unix.S_IFMT == unix.S_IFDIR
	if obj.isDir() != isDir {
		return conflict(flag, e.Dest, b.flagOf(outer), "has a name there, but only a directory can be shown at a directory and a file at a file", "")
	}
	return nil
}

// isProcfs reports that a walk ended at the very directory where a procfs is
// mounted.
func isProcfs(err error, name string) bool {
	var w *walkError
	return errors.Is(err, ErrProcfs) && errors.As(err, &w) && w.path == name
}

// settleLink keeps a link of the scaffold. Inside a tree that has the very link
// none is needed; inside another tree it can not be.
func (b *builder) settleLink(l *plan.Link, outer []*plan.Entry) error {
	if len(outer) == 0 {
		b.out.Links = append(b.out.Links, *l)
		return nil
	}
	nearest := outer[len(outer)-1]
	native := plan.Entry{Dest: l.Path, Source: l.Path}
	if native.SameTree(nearest) || l.Origin == deviceOrigin {
		return nil
	}
	return conflict(l.Origin, l.Path, b.flagOf(nearest), "hides the link that leads to it", "grant the name that the link leads to")
}
