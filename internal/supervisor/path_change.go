package supervisor

import (
	"strings"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

func changeHandlers() []answer {
	return []answer{
		{"mkdir", makes(at{cwd, 0}, makeDir(1))},
		{"mkdirat", makes(at{0, 1}, makeDir(2))},
		{"mknod", makes(at{cwd, 0}, makeNode(1, 2))},
		{"mknodat", makes(at{0, 1}, makeNode(2, 3))},
		{"symlink", symlinks(0, at{cwd, 1})},
		{"symlinkat", symlinks(0, at{1, 2})},
		{"unlink", removes(at{cwd, 0}, func(*Call) uint32 { return 0 })},
		{"rmdir", removes(at{cwd, 0}, func(*Call) uint32 { return unix.AT_REMOVEDIR })},
		{"unlinkat", removes(at{0, 1}, func(c *Call) uint32 { return uint32(c.Int(2)) })},
		{"rename", renames(at{cwd, 0}, at{cwd, 1}, func(*Call) uint32 { return 0 })},
		{"renameat", renames(at{0, 1}, at{2, 3}, func(*Call) uint32 { return 0 })},
		{"renameat2", renames(at{0, 1}, at{2, 3}, func(c *Call) uint32 { return uint32(c.Int(4)) })},
		{"link", links(at{cwd, 0}, at{cwd, 1}, func(*Call) uint32 { return 0 })},
		{"linkat", links(at{0, 1}, at{2, 3}, func(c *Call) uint32 { return uint32(c.Int(4)) })},
	}
}

// parent finds the directory of n's last component.
func (n named) parent(c *Call) (*lookup.Object, error) {
	return n.find(c, lookup.Options{Mode: lookup.Parent})
}

// maker is how one call makes a name: what it needs, and the doing of it.
type maker func(*Call) (need rights.Set, do func(dir int, name string) error, err error)

func makes(a at, m maker) Handler {
	return func(c *Call) Result {
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		need, do, err := m(c)
		if err != nil {
			return Fail(err)
		}
		return Fail(n.make(c, need, do))
	}
}

func (n named) make(c *Call, need rights.Set, do func(dir int, name string) error) error {
	obj, err := n.parent(c)
	if err != nil {
		return err
	}
	defer obj.Close()
	if err := mayMake(c, obj, need); err != nil {
		return err
	}
	return c.AsCreator(func() error {
		return sys.Retry(func() error { return do(obj.DirFD(), obj.Name) })
	})
}

// mayMake refuses a new name. One that exists is EEXIST whatever the rights, as
// the kernel has it.
func mayMake(c *Call, obj *lookup.Object, need rights.Set) error {
	if obj.Fixed {
		return unix.EEXIST
	}
	err := lacks(&obj.Dir, need, unix.EACCES)
	if err == nil && obj.Dir.Entry.Kind == plan.Proc {
		err = unix.EACCES
	}
	if err != nil && exists(c, obj) {
		return unix.EEXIST
	}
	return err
}

// exists looks for the last component where that tells nothing new: inside a
// grant, or in the scaffold, which hides nothing.
func exists(c *Call, obj *lookup.Object) bool {
	if obj.Dir.Entry == nil {
		return obj.Fixed || obj.Name == "." || obj.Name == ".."
	}
	return c.As(func() error {
		fd, err := sys.OpenName(obj.DirFD(), strings.TrimRight(obj.Name, "/"))
		if err == nil {
			unix.Close(fd)
		}
		return err
	}) == nil
}

func makeDir(mode int) maker {
	return func(c *Call) (rights.Set, func(int, string) error, error) {
		m := uint32(c.Int(mode)) & 0o7777
		return rights.Of(rights.Mkdirat), func(dir int, name string) error { return unix.Mkdirat(dir, name, m) }, nil
	}
}

func makeNode(mode, dev int) maker {
	needs := map[uint32]rights.Right{
		0: rights.Create, unix.S_IFREG: rights.Create, unix.S_IFIFO: rights.Mkfifoat, unix.S_IFSOCK: rights.Bindat,
	}
	return func(c *Call) (rights.Set, func(int, string) error, error) {
		m := uint32(c.Int(mode)) & 0xffff
		need, ok := needs[m&unix.S_IFMT]
		if !ok {
			// A device node is authority over a device, which no grant of a
			// directory contains.
			return rights.Set{}, nil, unix.EPERM
		}
		return rights.Of(need), func(dir int, name string) error { return unix.Mknodat(dir, name, m, 0) }, nil
	}
}

func symlinks(target int, a at) Handler {
	return func(c *Call) Result {
		text, err := c.Path(target)
		if err != nil {
			return Fail(err)
		}
		if text == "" {
			return Errno(unix.ENOENT)
		}
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		return Fail(n.make(c, rights.Of(rights.Symlinkat), func(dir int, name string) error {
			return unix.Symlinkat(text, dir, name)
		}))
	}
}

func removes(a at, flags func(*Call) uint32) Handler {
	return func(c *Call) Result {
		bits := flags(c)
		if bits&^unix.AT_REMOVEDIR != 0 {
			return Errno(unix.EINVAL)
		}
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		obj, err := n.parent(c)
		if err != nil {
			return Fail(err)
		}
		defer obj.Close()
		if err := mayRemove(c, obj, rights.Of(rights.Unlinkat)); err != nil {
			return Fail(err)
		}
		return Fail(c.As(func() error {
			return sys.Retry(func() error { return unix.Unlinkat(obj.DirFD(), obj.Name, int(bits)) })
		}))
	}
}

// mayRemove refuses taking a name away. A read-only place says so before it
// looks whether there is anything; what the plan put there is a mount point.
func mayRemove(c *Call, obj *lookup.Object, need rights.Set) error {
	switch err := lacks(&obj.Dir, need, unix.EACCES); {
	case err == unix.EROFS:
		return err
	case obj.Fixed:
		return unix.EBUSY
	case err != nil && !exists(c, obj):
		return unix.ENOENT
	case err != nil:
		return err
	case obj.Dir.Entry.Kind == plan.Proc:
		return unix.EPERM
	}
	return nil
}

func renames(from, to at, flags func(*Call) uint32) Handler {
	return func(c *Call) Result {
		bits := flags(c)
		const all = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT
		if bits&^all != 0 || bits&unix.RENAME_EXCHANGE != 0 && bits != unix.RENAME_EXCHANGE {
			return Errno(unix.EINVAL)
		}
		n, err := from.read(c)
		if err != nil {
			return Fail(err)
		}
		m, err := to.read(c)
		if err != nil {
			return Fail(err)
		}
		return Fail(rename(c, n, m, bits))
	}
}

func rename(c *Call, from, to named, flags uint32) error {
	old, err := from.parent(c)
	if err != nil {
		return err
	}
	defer old.Close()
	new, err := to.parent(c)
	if err != nil {
		return err
	}
	defer new.Close()
	if old.Dir.Entry != new.Dir.Entry {
		return unix.EXDEV // two grants are two mounts: rights must not travel
	}
	mode := rights.RenameMode{
		TargetAbsent: true, NoReplace: flags&unix.RENAME_NOREPLACE != 0,
		Exchange: flags&unix.RENAME_EXCHANGE != 0, Whiteout: flags&unix.RENAME_WHITEOUT != 0,
	}
	needOld, needNew := rights.ForRename(mode)
	if err := mayRemove(c, old, needOld); err != nil {
		return err
	}
	if new.Fixed {
		return unix.EBUSY
	}
	if err := lacks(&new.Dir, needNew, unix.EACCES); err != nil {
		return err
	}
	// Replacing a file removes it. Whether there is one only the kernel can tell
	// without a race.
	keeps := lacks(&new.Dir, rights.Of(rights.Unlinkat), unix.EACCES)
	if to.start != nil && to.start.Keeps {
		keeps = filecaps.ENOTCAPABLE
	}
	if keeps != nil && !mode.Exchange {
		flags |= unix.RENAME_NOREPLACE
	}
	err = c.As(func() error {
		return sys.Retry(func() error {
			return unix.Renameat2(old.DirFD(), old.Name, new.DirFD(), new.Name, uint(flags))
		})
	})
	if err == unix.EEXIST && keeps != nil && !mode.NoReplace {
		err = keeps
	}
	return err
}

func links(from, to at, flags func(*Call) uint32) Handler {
	return func(c *Call) Result {
		bits := flags(c)
		if bits&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
			return Errno(unix.EINVAL)
		}
		n, err := from.read(c)
		if err != nil {
			return Fail(err)
		}
		if n.name == "" {
			// With AT_EMPTY_PATH the kernel asks for a capability that a
			// sandbox has no use for, and says ENOENT without it.
			return Errno(unix.ENOENT)
		}
		m, err := to.read(c)
		if err != nil {
			return Fail(err)
		}
		return Fail(link(c, n, m, bits&unix.AT_SYMLINK_FOLLOW != 0))
	}
}

func link(c *Call, from, to named, follow bool) error {
	old, err := from.find(c, lookup.Options{Follow: follow})
	if err != nil {
		return err
	}
	defer old.Close()
	new, err := to.parent(c)
	if err != nil {
		return err
	}
	defer new.Close()
	if err := mayMake(c, new, rights.Of(rights.LinkatTarget)); err != nil {
		return err
	}
	if err := mayLink(c, old, &new.Dir); err != nil {
		return err
	}
	return c.As(func() error {
		return sys.Retry(func() error {
			// Through our descriptor: exactly the object that was judged.
			return unix.Linkat(unix.AT_FDCWD, sys.FDName(old.FD()), new.DirFD(), new.Name, unix.AT_SYMLINK_FOLLOW)
		})
	})
}

// mayLink judges the file that gets another name. Under the name it has the
// rights of the new directory, so it must come from the same grant; or be a
// nameless file, opened for all that the directory allows.
func mayLink(c *Call, old *lookup.Object, dir *lookup.Place) error {
	if !old.Outside {
		if old.Entry != dir.Entry {
			return unix.EXDEV
		}
		return lacks(&old.Place, rights.Of(rights.LinkatSource), unix.EACCES)
	}
	var st unix.Stat_t
	if err := unix.Fstat(old.FD(), &st); err != nil {
		return err
	}
	if old.Magic == nil || st.Nlink != 0 {
		return unix.EXDEV
	}
	have, err := c.access(old.Magic.Name, old.FD())
	if err != nil {
		return err
	}
	set := dir.Rights()
	if set.IsSet(rights.Read) && !have.read || set.IsSet(rights.Write) && !have.write {
		return unix.EACCES
	}
	return nil
}
