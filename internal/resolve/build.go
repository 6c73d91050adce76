// Package resolve turns a policy into a plan. It is the only look at the host's
// names: each is walked once, component by component on held descriptors, and
// noted with the object it led to, so that everything later can compare what it
// opens with what was judged.
//
//	p, err := resolve.Build(policy, resolve.Host{Cwd: cwd})
//
// # Limitations
//
// Names are judged as of now. A directory that is replaced by another after
// Build and before its mount is noticed, because the plan has its identity; one
// whose contents change is not, because its contents are what was granted.
package resolve

import (
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

// Host is the machine as the caller sees it.
type Host struct {
	Root *os.File             // the directory that "/" names; nil for the caller's own root
	Cwd  string               // the caller's working directory, absolute
	Tty  string               // the terminal behind 0, 1 or 2, "" for none
	Warn func(message string) // told what will be missed, once each; may be nil
}

// Build resolves a policy. The error is an [*Error] unless the plan that came
// out is not valid, which would be a defect of this package.
func Build(p *policy.Policy, host Host) (*plan.Plan, error) {
	w, err := newWalker(host.Root)
	if err != nil {
		return nil, failed("/", err, "")
	}
	defer w.close()
	b := &builder{policy: p, host: host, w: w, root: new(node)}
	for _, step := range []func() error{b.plainGrants, b.tmp, b.system, b.mappedGrants, b.proc, b.device, b.program, b.cwd, b.settle} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	b.out.Dirs = b.out.Scaffold()
	return &b.out, b.out.Validate()
}

type builder struct {
	policy *policy.Policy
	host   Host
	w      *walker
	root   *node               // what the plan mentions so far
	listed map[string][]string // directories that patterns were matched in
	out    plan.Plan
}

func (b *builder) warn(message string) {
	if b.host.Warn != nil {
		b.host.Warn(message)
	}
}

// absolute makes a host name absolute. It is not cleaned: ".." after a link is
// for the walk to understand.
func (b *builder) absolute(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return strings.TrimSuffix(b.host.Cwd, "/") + "/" + name
}

// plainGrants adds the grants that show an object under its own name.
func (b *builder) plainGrants() error {
	for i := range b.policy.Grants {
		g := &b.policy.Grants[i]
		if g.Dest != g.Source {
			continue
		}
		obj, links, err := b.source(g)
		if err != nil {
			return err
		}
		if obj == nil {
			continue
		}
		obj.close()
		if err := b.addLinks(links, g.Flag); err != nil {
			return err
		}
		if err := b.add(obj.path, obj, g.Rights, g.Flag); err != nil {
			return err
		}
	}
	return nil
}

// source finds what a grant is about; nothing when it may be missing and is.
func (b *builder) source(g *policy.Grant) (*object, []plan.Link, error) {
	obj, links, err := b.w.walk(b.absolute(g.Source))
	if err == nil {
		return obj, links, nil
	}
	if g.Optional && isMissing(err) {
		return nil, nil, nil
	}
	return nil, nil, failed(g.Flag, err, sourceHint(g.Source, err))
}

// sourceHint says what to do about a source that can not be found.
func sourceHint(source string, err error) string {
	switch {
	case strings.HasPrefix(source, "~") && isMissing(err):
		return "the shell did not expand ~; write $HOME"
	case isMissing(err):
		return `write "?` + policy.Escape(source) + `" if it may be missing`
	case isErrno(err, unix.EACCES):
		return "you need search permission on every directory above it"
	}
	return ""
}

// mappedGrants adds the SRC:DST grants, shorter names first, so that a name
// inside another grant is found there whatever the order on the command line.
func (b *builder) mappedGrants() error {
	var mapped []*policy.Grant
	for i := range b.policy.Grants {
		if g := &b.policy.Grants[i]; g.Dest != g.Source {
			mapped = append(mapped, g)
		}
	}
	slices.SortStableFunc(mapped, func(x, y *policy.Grant) int { return strings.Compare(x.Dest, y.Dest) })
	for _, g := range mapped {
		obj, _, err := b.source(g)
		if err != nil {
			return err
		}
		if obj == nil {
			continue
		}
		obj.close()
		dest, err := b.destination(g)
		if err != nil {
			return err
		}
		if err := b.add(dest, obj, g.Rights, g.Flag); err != nil {
			return err
		}
	}
	return nil
}

// destination follows the links above a DST, those of the plan and else those of
// the host: with /lib a link to usr/lib, "/lib/x" is "/usr/lib/x" under both
// names. The last component is taken as it is.
func (b *builder) destination(g *policy.Grant) (string, error) {
	if g.Dest == "/" {
		return "/", nil
	}
	if err := plan.CheckPath(g.Dest); err != nil {
		return "", failed(g.Flag, err, "")
	}
	v := view{w: b.w, root: b.root, fallback: true}
	above, below := path.Split(g.Dest)
	for {
		above = path.Clean(above)
		p, err := v.find(above)
		if err == nil {
			p.close()
			if !p.isDir() && p.within != nil {
				return "", conflict(g.Flag, p.path, b.flagOf(p.within), "shows a file there", "")
			}
			if err := b.addLinks(p.links, g.Flag); err != nil {
				return "", err
			}
			return path.Join(p.path, below), nil
		}
		// What the plan will have to make is taken as it is written.
		dir, last := path.Split(above)
		above, below = dir, path.Join(last, below)
	}
}

// add puts an object under a name. The same object there twice has the rights of
// both; another one is an error.
func (b *builder) add(dest string, obj *object, set rights.Set, flag string) error {
	e := &plan.Entry{Dest: dest, Source: obj.path, Kind: kindOf(obj.mode), Rights: set, ID: obj.id, Mode: obj.mode, Origin: []string{flag}}
	return b.put(e)
}

// put adds an entry, or merges it with the one that has its name.
func (b *builder) put(e *plan.Entry) error {
	flag := e.Origin[0]
	n := b.root.at(e.Dest)
	if n.link != nil {
		return conflict(flag, e.Dest, n.link.Origin, "needs a link to "+n.link.Target+" there", "grant under the name that the link leads to")
	}
	have := n.entry
	if have == nil {
		n.entry = e
		return nil
	}
	if have.Source != e.Source || have.ID != e.ID || have.Kind != e.Kind {
		return conflict(flag, e.Dest, b.flagOf(have), "shows another object there", "")
	}
	have.Rights = have.Rights.Union(e.Rights)
	if !slices.Contains(have.Origin, flag) {
		have.Origin = append(have.Origin, flag)
	}
	return nil
}

func (b *builder) flagOf(e *plan.Entry) string { return strings.Join(e.Origin, " and ") }

// addLinks notes the links that led to a grant, so that its spelled name works.
func (b *builder) addLinks(links []plan.Link, flag string) error {
	for _, l := range links {
		n := b.root.at(l.Path)
		if n.entry != nil {
			return conflict(flag, l.Path, b.flagOf(n.entry), "shows an object where a link leads to it", "grant the name that the link leads to")
		}
		if n.link == nil {
			l.Origin = flag
			n.link = &l
		}
	}
	return nil
}

func kindOf(mode uint32) plan.Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return plan.Dir
	case unix.S_IFCHR, unix.S_IFBLK:
		return plan.Device
	}
	return plan.File
}

// cwd chooses the program's working directory.
func (b *builder) cwd() error {
	v := view{w: b.w, root: b.root}
	asked := b.policy.Cwd
	name := asked
	if asked == "" {
		name = b.host.Cwd
	}
	p, err := v.find(b.absolute(name))
	if err == nil {
		p.close()
		if !p.isDir() {
			err = &walkError{p.path, unix.ENOTDIR}
		}
	}
	switch {
	case err == nil:
		b.out.Cwd = p.path
	case asked == "":
		b.out.Cwd = "/"
	default:
		return failed("--cwd "+asked, err, "the sandbox has no such directory; grant it with --ro or --rw")
	}
	return nil
}
