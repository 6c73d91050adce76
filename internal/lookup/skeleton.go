package lookup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

const (
	dirMode     = 0o555  // scaffold directories belong to nobody in the sandbox
	privateMode = 0o1777 // private empty directories are everybody's, as /tmp is
)

// BuildSkeleton makes the plan's own names in the empty directory dir: its
// directories, its links, and an empty directory or file for each entry to be
// seen on. What lies inside a Dir entry is left to the host's directory, except
// for what has no source but its place here. A name that exists already is an error.
func BuildSkeleton(dir int, p *plan.Plan) error {
	b := builder{root: dir, plan: p}
	for _, d := range p.Dirs {
		if err := b.mkdir(d); err != nil {
			return err
		}
	}
	for _, l := range p.Links {
		if err := b.link(l); err != nil {
			return err
		}
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		outer := enclosing(p, e.Dest)
		if outer != nil && outer.Kind != plan.Tmpfs && e.Kind != plan.Tmpfs && e.Kind != plan.Proc {
			continue
		}
		if err := b.placeholder(e, ""); err != nil {
			return err
		}
	}
	return b.seal()
}

// enclosing returns the nearest entry that name lies strictly inside of.
func enclosing(p *plan.Plan, name string) *plan.Entry {
	for name != "/" {
		name = path.Dir(name)
		i, ok := slices.BinarySearchFunc(p.Entries, name, func(e plan.Entry, n string) int { return strings.Compare(e.Dest, n) })
		if ok {
			return &p.Entries[i]
		}
	}
	return nil
}

type builder struct {
	root int
	plan *plan.Plan
}

// parent opens the directory that will hold name, a clean absolute name below
// base, and returns the last component. Nothing under construction is ever
// reached through a symlink.
func (b *builder) parent(name, base string) (int, string, error) {
	rel := strings.TrimPrefix(strings.TrimPrefix(name, base), "/")
	dir, last := path.Split(rel)
	if dir == "" {
		dir = "."
	}
	fd, err := sys.Open(b.root, dir, unix.O_PATH|unix.O_DIRECTORY, 0, beneath|unix.RESOLVE_NO_SYMLINKS)
	return fd, last, err
}

// make calls f with the directory and last component of name.
func (b *builder) make(what, name, base string, f func(dir int, last string) error) error {
	dir, last, err := b.parent(name, base)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	defer unix.Close(dir)
	if err := f(dir, last); err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	return nil
}

func (b *builder) mkdir(name string) error {
	if name == "/" {
		return nil
	}
	// Writable until everything is in it; seal takes that away.
	return b.make("make directory", name, "", func(dir int, last string) error { return unix.Mkdirat(dir, last, 0o755) })
}

func (b *builder) link(l plan.Link) error {
	return b.make("make link", l.Path, "", func(dir int, last string) error { return unix.Symlinkat(l.Target, dir, last) })
}

func (b *builder) placeholder(e *plan.Entry, base string) error {
	if e.Dest == "/" {
		return nil
	}
	if err := b.ancestors(e.Dest, base); err != nil {
		return err
	}
	return b.make("make place for", e.Dest, base, func(dir int, last string) error {
		switch e.Kind {
		case plan.File, plan.Device:
			return unix.Mknodat(dir, last, unix.S_IFREG|0o444, 0)
		case plan.Tmpfs:
			if err := unix.Mkdirat(dir, last, 0o700); err != nil {
				return err
			}
			return unix.Fchmodat(dir, last, privateMode, 0)
		default:
			if err := unix.Mkdirat(dir, last, 0o755); err != nil {
				return err
			}
			return unix.Fchmodat(dir, last, 0o755, 0) // whatever the umask
		}
	})
}

// ancestors makes the directories between an entry and one inside it, which no
// list in the plan names.
func (b *builder) ancestors(dest, base string) error {
	if enclosing(b.plan, dest) == nil {
		return nil
	}
	for i := len(base) + 1; i < len(dest); i++ {
		if dest[i] != '/' {
			continue
		}
		err := b.make("make directory", dest[:i], base, func(dir int, last string) error {
			if err := unix.Mkdirat(dir, last, 0o755); err != nil {
				return err
			}
			return unix.Fchmodat(dir, last, 0o755, 0)
		})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

// seal lets everybody into the scaffold and nobody write to it, deepest name
// first.
func (b *builder) seal() error {
	for _, name := range slices.Backward(b.plan.Dirs) {
		if name == "/" {
			if err := unix.Fchmodat(b.root, ".", dirMode, 0); err != nil {
				return fmt.Errorf("seal directory /: %w", err)
			}
			continue
		}
		err := b.make("seal directory", name, "", func(dir int, last string) error { return unix.Fchmodat(dir, last, dirMode, 0) })
		if err != nil {
			return err
		}
	}
	return nil
}
