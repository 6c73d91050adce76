package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInvalid is wrapped by every error of [Plan.Validate].
var ErrInvalid = errors.New("invalid plan")

// Bounds of the kernel's own: a name beyond them could not be made.
const (
	maxPath = unix.PathMax - 1
	maxName = unix.NAME_MAX
)

// Validate checks every invariant that [Plan] and its parts state. Stage two
// calls it on what it received, so it trusts nothing: a plan that passes names
// only clean absolute paths, has no entry that another hides, and no directory
// that would be made inside a granted tree.
func (p *Plan) Validate() error {
	v := validator{plan: p, at: make(map[string]int, len(p.Entries)), links: make(map[string]bool, len(p.Links))}
	for _, check := range []func() error{v.entries, v.allLinks, v.nesting, v.dirs, v.program} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

type validator struct {
	plan  *Plan
	at    map[string]int // Dest → index in Entries
	links map[string]bool
}

// CheckPath reports what keeps name from being an absolute clean path.
func CheckPath(name string) error {
	switch {
	case name == "":
		return errors.New("empty path")
	case name[0] != '/':
		return fmt.Errorf("%q is not absolute", name)
	case len(name) > maxPath:
		return fmt.Errorf("path of %d bytes is too long", len(name))
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%q has a NUL byte", name)
	case path.Clean(name) != name:
		return fmt.Errorf("%q is not clean", name)
	}
	for component := range strings.SplitSeq(name, "/") {
		if len(component) > maxName {
			return fmt.Errorf("%q has a component that is too long", name)
		}
	}
	return nil
}

func (v *validator) entries() error {
	for i := range v.plan.Entries {
		e := &v.plan.Entries[i]
		if err := e.check(); err != nil {
			return fmt.Errorf("entry %q: %w", e.Dest, err)
		}
		if i > 0 && v.plan.Entries[i-1].Dest >= e.Dest {
			return fmt.Errorf("entry %q: out of order or there twice", e.Dest)
		}
		v.at[e.Dest] = i
	}
	return nil
}

// modeOf tells which file types each kind of host object may have, and is empty
// for kinds that no host object is behind.
var modeOf = []struct {
	kind  Kind
	types []uint32
}{
	{Dir, []uint32{unix.S_IFDIR}},
	{File, []uint32{unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK}},
	{Device, []uint32{unix.S_IFCHR, unix.S_IFBLK}},
	{Tmpfs, nil},
	{Proc, nil},
	{Devpts, nil},
}

// types returns modeOf's row of k, and whether there is such a kind.
func (k Kind) types() ([]uint32, bool) {
	for _, row := range modeOf {
		if row.kind == k {
			return row.types, true
		}
	}
	return nil, false
}

func (e *Entry) check() error {
	if err := CheckPath(e.Dest); err != nil {
		return err
	}
	types, known := e.Kind.types()
	switch {
	case !known:
		return fmt.Errorf("unknown kind %q", e.Kind)
	case e.Rights.IsEmpty():
		return errors.New("no rights")
	case !e.Rights.IsValid():
		return errors.New("rights without a name")
	case len(e.Origin) == 0:
		return errors.New("no origin")
	}
	if len(types) == 0 {
		if e.Source != "" || e.ID != (ID{}) || e.Mode != 0 {
			return fmt.Errorf("a %s has no source", e.Kind)
		}
		if e.Dest == "/" {
			return fmt.Errorf("a %s can not be the root", e.Kind)
		}
		return nil
	}
	if err := CheckPath(e.Source); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if e.Mode > 0o177777 || !slices.Contains(types, e.Mode&unix.S_IFMT) {
		return fmt.Errorf("mode %#o is not that of a %s", e.Mode, e.Kind)
	}
	if e.Dest == "/" && e.Kind != Dir {
		return errors.New("the root is not a directory")
	}
	return nil
}

func (v *validator) allLinks() error {
	for i, l := range v.plan.Links {
		if err := l.check(); err != nil {
			return fmt.Errorf("link %q: %w", l.Path, err)
		}
		if i > 0 && v.plan.Links[i-1].Path >= l.Path {
			return fmt.Errorf("link %q: out of order or there twice", l.Path)
		}
		if _, ok := v.at[l.Path]; ok {
			return fmt.Errorf("link %q: an entry has the same name", l.Path)
		}
		if e := v.enclosing(l.Path); e != nil {
			return fmt.Errorf("link %q: inside the entry %q", l.Path, e.Dest)
		}
		v.links[l.Path] = true
	}
	return nil
}

func (l Link) check() error {
	if err := CheckPath(l.Path); err != nil {
		return err
	}
	switch {
	case l.Path == "/":
		return errors.New("the root can not be a link")
	case l.Target == "" || len(l.Target) > maxPath || strings.IndexByte(l.Target, 0) >= 0:
		return fmt.Errorf("target %q can not be one", l.Target)
	case l.Origin == "":
		return errors.New("no origin")
	}
	return nil
}

// enclosing returns the innermost entry that name lies strictly inside of.
func (v *validator) enclosing(name string) *Entry {
	for name != "/" {
		name = path.Dir(name)
		if i, ok := v.at[name]; ok {
			return &v.plan.Entries[i]
		}
	}
	return nil
}

func (v *validator) nesting() error {
	for i := range v.plan.Entries {
		e := &v.plan.Entries[i]
		if name := v.linkAbove(e.Dest); name != "" {
			return fmt.Errorf("entry %q: beneath the link %q", e.Dest, name)
		}
		outer := v.enclosing(e.Dest)
		switch {
		case outer == nil:
		case outer.Kind != Dir && outer.Kind != Tmpfs:
			return fmt.Errorf("entry %q: inside %q, a %s", e.Dest, outer.Dest, outer.Kind)
		case !e.SameTree(outer) || e.Kind == Device:
		case !e.Rights.Contains(outer.Rights) || e.Rights == outer.Rights:
			return fmt.Errorf("entry %q: does not have more rights than %q, which it is a part of", e.Dest, outer.Dest)
		}
	}
	return nil
}

// SameTree reports whether e shows the very object that its name would lead to
// if only outer, an enclosing entry, were there.
func (e *Entry) SameTree(outer *Entry) bool {
	if e.Source == "" || outer.Kind != Dir {
		return false
	}
	rest, ok := strings.CutPrefix(e.Dest, outer.Dest)
	return ok && path.Join(outer.Source, rest) == e.Source
}

func (v *validator) linkAbove(name string) string {
	for name != "/" {
		name = path.Dir(name)
		if v.links[name] {
			return name
		}
	}
	return ""
}

// dirs checks that Dirs is what [Plan.Scaffold] finds, no more and no less.
func (v *validator) dirs() error {
	want := v.plan.Scaffold()
	for _, dir := range want {
		if v.links[dir] {
			return fmt.Errorf("directory %q: a link has the same name", dir)
		}
	}
	if !slices.Equal(want, v.plan.Dirs) {
		return errors.New("the directories are not those that entries and links need")
	}
	return nil
}

// Scaffold returns the directories that must be made so that every entry and
// link has a parent: their ancestors that no entry covers, "/" included unless
// it is an entry itself, sorted.
func (p *Plan) Scaffold() []string {
	seen := make(map[string]bool) // ancestor → it is covered by an entry
	for i := range p.Entries {
		seen[p.Entries[i].Dest] = true
	}
	var dirs []string
	var covered func(name string) bool
	covered = func(name string) bool {
		if c, ok := seen[name]; ok {
			return c
		}
		c := name != "/" && covered(path.Dir(name))
		seen[name] = c
		if !c {
			dirs = append(dirs, name)
		}
		return c
	}
	for i := range p.Entries {
		covered(path.Dir(p.Entries[i].Dest))
	}
	for i := range p.Links {
		covered(path.Dir(p.Links[i].Path))
	}
	covered("/")
	slices.Sort(dirs)
	return dirs
}

func (v *validator) program() error {
	p := v.plan
	if err := CheckPath(p.Program.Path); err != nil {
		return fmt.Errorf("program: %w", err)
	}
	if len(p.Program.Argv) == 0 {
		return errors.New("program: no arguments, not even its name")
	}
	for _, arg := range p.Program.Argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return fmt.Errorf("program: argument %q has a NUL byte", arg)
		}
	}
	if err := CheckPath(p.Cwd); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	return nil
}
