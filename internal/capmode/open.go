package capmode

import (
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// opening is what openat and openat2 ask for.
type opening struct{ supervisor.Opening }

// needs is what the opening asks of the directory.
func (o opening) needs() rights.Set {
	access := o.Flags & unix.O_ACCMODE
	return rights.ForOpen(rights.OpenMode{
		Read: access != unix.O_WRONLY, Write: access != unix.O_RDONLY, Append: o.Has(unix.O_APPEND), Truncate: o.Has(unix.O_TRUNC),
		Create: o.Has(unix.O_CREAT), Sync: o.Flags&(unix.O_SYNC|unix.O_DSYNC) != 0, Path: o.Has(unix.O_PATH), Tmpfile: o.Has(unix.O_TMPFILE),
	})
}

func openAt(c *call) supervisor.Result {
	return opening{supervisor.PlainOpening(c.Arg(2), c.Arg(3))}.open(c)
}

func openAt2(c *call) supervisor.Result {
	if r, ok := c.free(c.Fd(0)); ok { // without a look at what is asked for
		return r
	}
	o, err := supervisor.OpenHow(c.Call)
	if err != nil {
		return fail(err)
	}
	return opening{o}.open(c)
}

// open opens beneath the directory. The file gets the directory's rights.
func (o opening) open(c *call) supervisor.Result {
	if r, ok := c.free(c.Fd(0)); ok {
		return r
	}
	name, err := c.Path(1)
	if err != nil {
		return fail(err)
	}
	if name, err = o.within(name); err != nil {
		return fail(err)
	}
	p, err := c.start(c.Fd(0), name, o.needs())
	if err != nil {
		return fail(err)
	}
	defer p.Close()
	if p.free {
		p.Close()
		return o.open(c)
	}
	if o.Changes() {
		if err := c.hasNumber(p.caps); err != nil {
			return fail(err)
		}
	}
	if c.WalksPlan() {
		return o.openByRun(c, p, name)
	}
	f, err := o.carryOut(c, p, name)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if p.caps.IsFull() {
		n, err := c.Put(f, -1, o.Has(unix.O_CLOEXEC))
		if err != nil {
			return fail(err)
		}
		return supervisor.Value(int64(n))
	}
	t := c.table()
	defer t.Unlock()
	return c.give(t, f, p.caps, 0, o.Has(unix.O_CLOEXEC))
}

// scoped are the flags of openat2 by which not even an absolute name leaves the directory.
const scoped = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT

// within returns a relative name that means in the directory what name does. What is
// absolute would otherwise have nothing to do with it.
func (o opening) within(name string) (string, error) {
	absolute := strings.HasPrefix(name, "/")
	switch {
	case o.Resolve&scoped == scoped:
		return "", unix.EINVAL
	case absolute && o.Resolve&unix.RESOLVE_IN_ROOT != 0:
		return "." + name, nil
	case absolute && o.Resolve&unix.RESOLVE_BENEATH != 0:
		return ".." + name, nil // it leaves the directory
	}
	return name, nil
}

// carryOut opens name. A descriptor without access cannot be put into another
// process; where one was asked for, one for reading takes its place, which needs
// the same right.
func (o opening) carryOut(c *call, p *place, name string) (*sys.FD, error) {
	flags := o.Flags | unix.O_NOCTTY
	if o.Has(unix.O_PATH) {
		flags = flags&^unix.O_PATH | unix.O_RDONLY | unix.O_NONBLOCK
	}
	// What may be cut can be told only of what is open, and then it is cut.
	if err := c.Granted(p.FD); err != nil {
		return nil, err
	}
	var f *sys.FD
	err := c.Bound(func() error {
		return c.Blocking(func() (err error) {
			f, err = p.openOnce(c, name, flags, o.Mode, o.Resolve)
			return err
		})
	})
	return f, err
}

// openOnce is openat without retrying: the call may be taken out of a wait.
func (p *place) openOnce(c *call, name string, flags, mode, resolve uint64) (*sys.FD, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: p.resolve | resolve}
	if resolve&unix.RESOLVE_IN_ROOT != 0 {
		how.Resolve &^= unix.RESOLVE_BENEATH // nothing leaves, and the kernel takes one of them
	}
	n := -1
	open := func() (err error) { n, err = unix.Openat2(p.Int(), name, &how); return err }
	as := c.As
	if flags&(unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY) != 0 {
		as = c.AsCreator
	}
	err := as(open)
	for tries := 0; err == unix.EAGAIN && flags&unix.O_NONBLOCK == 0 && tries < renameTries; tries++ {
		err = as(open) // a rename somewhere raced with a ".."
	}
	if err != nil {
		return nil, p.leaves(err)
	}
	return ofNoProcess(sys.NewFD(n))
}

const renameTries = 16

// mknodNeeds is what mknodat asks of the directory.
func mknodNeeds(c *call) rights.Set {
	var mode fs.FileMode
	switch uint32(c.Int(2)) & unix.S_IFMT {
	case 0, unix.S_IFREG:
	case unix.S_IFIFO:
		mode = fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode = fs.ModeSocket
	default:
		mode = fs.ModeDevice
	}
	return rights.ForMknod(mode)
}

// linkAt gives a file another name. Each name obeys its own directory.
func linkAt(c *call) supervisor.Result {
	flags := uint32(c.Int(4))
	return c.twoNames(needing(rights.LinkatSource), needing(rights.LinkatTarget), func(from, to *place, oldname, newname string) error {
		if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
			return unix.EINVAL
		}
		if oldname == "" && flags&unix.AT_EMPTY_PATH != 0 {
			return to.in(c, newname, from.linkItself)
		}
		f, err := from.object(c, oldname, flags&unix.AT_SYMLINK_FOLLOW != 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return to.in(c, newname, func(dir int, last string) error {
			return unix.Linkat(unix.AT_FDCWD, sys.FDName(f.Int()), dir, last, unix.AT_SYMLINK_FOLLOW)
		})
	})
}

// renameAt moves a name. Replacing what has the new name is removing that; a caller
// that may not is held to names that nothing has.
func renameAt(c *call) supervisor.Result {
	flags := uint32(0)
	if c.Name == "renameat2" {
		flags = uint32(c.Int(4))
	}
	mode := rights.RenameMode{
		NoReplace: flags&unix.RENAME_NOREPLACE != 0, Exchange: flags&unix.RENAME_EXCHANGE != 0, Whiteout: flags&unix.RENAME_WHITEOUT != 0,
		TargetAbsent: flags&unix.RENAME_EXCHANGE == 0,
	}
	olddir, newdir := rights.ForRename(mode)
	need := func(s rights.Set) func(*call) rights.Set { return func(*call) rights.Set { return s } }
	return c.twoNames(need(olddir), need(newdir), func(from, to *place, oldname, newname string) error {
		held := !to.caps.Rights.IsSet(rights.Unlinkat) && !mode.Exchange && !mode.NoReplace
		how := uint(flags)
		if held {
			how |= unix.RENAME_NOREPLACE
		}
		dir, last, err := from.parent(c, oldname)
		if err != nil {
			return err
		}
		defer dir.Close()
		err = to.in(c, newname, func(newdir int, newlast string) error { return unix.Renameat2(dir.Int(), last, newdir, newlast, how) })
		if held && err == unix.EEXIST {
			return eNotCapable
		}
		return err
	})
}

// twoNames runs a call with a directory and a name in arguments 0 and 1, and
// another in 2 and 3.
func (c *call) twoNames(oldNeed, newNeed func(*call) rights.Set, do func(from, to *place, oldname, newname string) error) supervisor.Result {
	if r, ok := c.free(c.Fd(0), c.Fd(2)); ok {
		return r
	}
	oldname, err := c.Path(1)
	if err != nil {
		return fail(err)
	}
	newname, err := c.Path(3)
	if err != nil {
		return fail(err)
	}
	from, err := c.startOld(oldname, oldNeed(c))
	if err != nil {
		return fail(err)
	}
	defer from.Close()
	to, err := c.start(c.Fd(2), newname, newNeed(c))
	if err != nil {
		return fail(err)
	}
	defer to.Close()
	if from.free && to.free {
		from.Close()
		to.Close()
		return c.twoNames(oldNeed, newNeed, do)
	}
	if c.WalksPlan() {
		return c.byRun(from.of(0, oldname), to.of(2, newname))
	}
	err = do(from, to, oldname, newname)
	if err != nil && from.global != to.global {
		return fail(err)
	}
	return fail(to.leaves(err))
}
