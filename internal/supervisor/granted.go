package supervisor

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// grantedCalls are the calls that may be answered elsewhere as far as they do
// something to one object, and what the grant of that must have then.
func grantedCalls() map[string]need {
	return map[string]need{
		"newfstatat": toStat, "statx": toStat, "faccessat": toStat, "faccessat2": toStat,
		"fchmodat": toChmod, "fchmodat2": toChmod, "fchownat": toChown, "utimensat": toSetTimes, "futimesat": toSetTimes,
	}
}

// RunAsks reports whether the call asks because of what the command granted, not
// only because the program may confine itself.
func (c *Call) RunAsks() bool {
	o := c.s.cfg.Options
	if !o.Library {
		return false
	}
	o.Library = false
	return c.asked(o)
}

// LibraryAsks reports whether the call asks because the program may confine itself.
func (c *Call) LibraryAsks() bool { return c.asked(Options{Mode: syscalls.Attached}) }

func (c *Call) asked(o Options) bool {
	d := &c.n.Data
	return syscalls.Asked(sysno.Arch(d.Arch), uint32(d.NR), d.Args, o)
}

// Granted judges, for a handler that is not the run's own, what the call does to f
// by the grant that f lies under, if the run's rules ask about the call. What these
// rules could not be applied to is refused.
func (c *Call) Granted(f *sys.FD) error {
	if !c.RunAsks() {
		return nil
	}
	n, ok := grantedCalls()[c.Name]
	if !ok {
		c.s.tracef("%d %s: what was granted can't be told here", c.TID(), c.Name)
		return unix.EACCES
	}
	entry, err := c.s.namei.EntryOf(f)
	if err != nil {
		return err
	}
	return n.allow(c, &subject{FD: f, entry: entry})
}

// Executable reports whether the kernel would execute what the caller holds as f, of
// which another handler executes a copy: whether mode, mount and grant let it.
func (c *Call) Executable(f *sys.FD) error {
	err := c.As(func() error { return unix.Faccessat2(f.Int(), "", unix.X_OK, unix.AT_EMPTY_PATH|unix.AT_EACCESS) })
	if err != nil {
		return err
	}
	entry, err := c.s.namei.EntryOf(f)
	if err == nil && entry != nil && !entry.Rights.IsSet(rights.Fexecve) {
		c.deny(entry, rights.Fexecve, "program")
		err = unix.EACCES
	}
	return err
}
