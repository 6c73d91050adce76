package resolve

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
)

// node is a name that some grant mentions, or one above it.
type node struct {
	kids  map[string]*node
	entry *plan.Entry
	link  *plan.Link
}

func (n *node) kid(name string) *node {
	if n == nil {
		return nil
	}
	return n.kids[name]
}

// at returns the node of an absolute clean name, making it and what is above it.
func (n *node) at(name string) *node {
	for c := range strings.SplitSeq(name[1:], "/") {
		if c == "" {
			continue
		}
		k := n.kids[c]
		if k == nil {
			k = new(node)
			if n.kids == nil {
				n.kids = make(map[string]*node)
			}
			n.kids[c] = k
		}
		n = k
	}
	return n
}

// view finds names as the sandbox will see them: entries and links of the plan
// first. With fallback, names outside every entry that the plan does not
// mention are the host's own.
type view struct {
	w        *walker
	root     *node
	fallback bool
}

// place is where a name leads.
type place struct {
	path   string      // name in the sandbox, free of symlinks
	within *plan.Entry // nearest entry at or above; nil in the scaffold
	obj    *object     // nil in the scaffold and where no host object is behind an entry
	links  []plan.Link // of the host, outside of entries, met on the way
}

func (p *place) close() {
	if p.obj != nil {
		p.obj.close()
	}
}

// isDir reports whether the name leads to a directory. What has no host object
// behind it always is one.
func (p *place) isDir() bool { return p.obj == nil || p.obj.isDir() }

// position is a place on the way.
type position struct {
	node   *node       // nil where the plan mentions nothing
	within *plan.Entry // nearest entry
	host   *dir        // nil where no host directory is behind it
	leaf   *object     // the end, if it is no directory
	path   string
	parent *position
}

// find follows an absolute name to its end. The caller closes the place.
func (v *view) find(name string) (*place, error) {
	if !strings.HasPrefix(name, "/") {
		return nil, &walkError{name, unix.EINVAL}
	}
	f := finder{view: v}
	defer f.release()
	err := f.start()
	rest := components(name)
	for err == nil && len(rest) > 0 {
		c := rest[0]
		rest = rest[1:]
		var target string
		if target, err = f.advance(c); target != "" && err == nil {
			rest = append(components(target), rest...)
			if f.hops++; f.hops > maxHops {
				err = &walkError{name, unix.ELOOP}
			} else if target[0] == '/' {
				err = f.start()
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return f.place(), nil
}

// finder is one walk.
type finder struct {
	*view
	pos   *position
	held  []*dir // to be released at the end unless the place takes them
	leaf  *object
	hops  int
	links []plan.Link
}

func (f *finder) release() {
	for _, d := range f.held {
		d.release()
	}
	if f.leaf != nil {
		f.leaf.close()
	}
}

// hold keeps d until the walk is over, but never more than a few directories:
// the ones further up can be had again through "..".
func (f *finder) hold(d *dir) {
	const most = 8
	f.held = append(f.held, d)
	if len(f.held) > most {
		f.held[0].release()
		f.held = f.held[1:]
	}
}

// start goes to the root of the sandbox.
func (f *finder) start() error {
	f.pos = &position{node: f.root, path: "/"}
	if f.root.entry != nil {
		return f.enter(f.root.entry)
	}
	if f.fallback {
		f.pos.host = f.w.root
	}
	return nil
}

// advance takes one component. It returns the target of a link to be followed.
func (f *finder) advance(c string) (target string, err error) {
	p := f.pos
	switch {
	case p.leaf != nil:
		return "", &walkError{p.path, unix.ENOTDIR}
	case c == "" || c == ".":
		return "", nil
	case c == "..":
		return "", f.up()
	}
	n := p.node.kid(c)
	full := path.Join(p.path, c)
	if n != nil && n.entry != nil {
		f.pos = &position{node: n, path: full, parent: p}
		return "", f.enter(n.entry)
	}
	if n != nil && n.link != nil {
		return n.link.Target, nil
	}
	if p.host == nil {
		// In the scaffold the plan alone says what there is.
		if n == nil {
			return "", &walkError{full, unix.ENOENT}
		}
		f.pos = &position{node: n, within: p.within, path: full, parent: p}
		return "", nil
	}
	return f.descend(n, c, full)
}

// descend takes one component on the host.
func (f *finder) descend(n *node, c, full string) (target string, err error) {
	p := f.pos
	next, target, leaf, err := f.w.step(p.host, c)
	scaffold := n != nil && p.within == nil
	switch {
	case scaffold && (err != nil || next == nil):
		// The plan has a directory here, whatever the host has.
		if leaf != nil {
			leaf.in = nil
			leaf.close()
		}
		f.pos = &position{node: n, path: full, parent: p}
		return "", nil
	case err != nil:
		return "", err
	case next != nil:
		f.hold(next)
		f.pos = &position{node: n, within: p.within, host: next, path: full, parent: p}
	case leaf != nil:
		f.leaf = leaf
		f.pos = &position{node: n, within: p.within, leaf: leaf, path: full, parent: p}
	default:
		if p.within == nil {
			f.links = append(f.links, plan.Link{Path: full, Target: target})
		}
		return target, nil
	}
	return "", nil
}

// enter goes to the host object behind an entry.
func (f *finder) enter(e *plan.Entry) error {
	f.pos.within = e
	if e.Source == "" {
		return nil
	}
	d := f.w.root
	rest := components(e.Source)
	for i, c := range rest {
		if c == "" {
			continue
		}
		next, _, leaf, err := f.w.step(d, c)
		switch {
		case err != nil:
			return err
		case next != nil:
			f.hold(next)
			d = next
			continue
		case leaf == nil || i < len(rest)-1 || leaf.id != e.ID:
			if leaf != nil {
				f.leaf = leaf
			}
			return &walkError{e.Source, ErrChanged}
		}
		f.leaf = leaf
		f.pos.leaf = leaf
		return nil
	}
	if d.id != e.ID {
		return &walkError{e.Source, ErrChanged}
	}
	f.pos.host = d
	return nil
}

// up goes to the parent. In the sandbox the parent of an entry is the directory
// above its name, wherever the host has the object.
func (f *finder) up() error {
	p := f.pos.parent
	if p == nil {
		return nil
	}
	if p.host != nil && p.host.fd < 0 {
		if f.pos.host == nil || f.pos.host.parent != p.host {
			return &walkError{p.path, ErrChanged}
		}
		again, err := f.w.up(f.pos.host)
		if err != nil {
			return err
		}
		f.hold(again)
		copied := *p
		copied.host = again
		p = &copied
	}
	f.pos = p
	return nil
}

// place is the end of the walk. It takes the descriptors of the object over.
func (f *finder) place() *place {
	p := &place{path: f.pos.path, within: f.pos.within, links: f.links}
	switch {
	case f.leaf != nil:
		p.obj = f.leaf
		f.keep(f.leaf.in)
		f.leaf = nil
	case f.pos.host != nil && (f.pos.within != nil || f.fallback):
		p.obj = f.pos.host.object()
		f.keep(f.pos.host)
	}
	return p
}

// keep takes d out of what is released when the walk ends.
func (f *finder) keep(d *dir) {
	for i, h := range f.held {
		if h == d {
			f.held = append(f.held[:i:i], f.held[i+1:]...)
			return
		}
	}
}
