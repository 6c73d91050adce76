package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// Credentials returns what the kernel judges the caller by.
func (c *Call) Credentials() (*sys.Identity, error) {
	st, err := c.readStatus()
	if err != nil {
		return nil, err
	}
	return st.identity(), nil
}

// Umask returns the caller's umask.
func (c *Call) Umask() (uint32, error) {
	st, err := c.readStatus()
	if err != nil {
		return 0, err
	}
	return st.umask, nil
}

// As runs f with the caller's user, groups and capabilities, without any the
// supervisor lacks. Operations the kernel checks permissions of belong in it;
// copying the caller's descriptors and memory does not.
func (c *Call) As(f func() error) error { return c.as((*status).identity, f) }

// AsReal is As with the identity access(2) asks about: the real user and
// group.
func (c *Call) AsReal(f func() error) error { return c.as((*status).realIdentity, f) }

func (c *Call) as(who func(*status) *sys.Identity, f func() error) error {
	if c.s.fixed {
		return f()
	}
	st, err := c.readStatus()
	if err != nil {
		return err
	}
	want := who(st)
	if want.Effective &= c.s.base.Effective; want.Effective != 0 && !c.sharesUserNamespace() {
		want.Effective = 0
	}
	if want.Equal(c.s.base) {
		return f()
	}
	// Whatever happens from here on, f's panic included, a thread that has not
	// got its own identity back must end.
	was := c.w.broken
	c.w.broken = true
	if err := sys.Assume(c.s.base, want); err != nil {
		return fmt.Errorf("take on credentials of thread %d: %w", c.TID(), errors.Join(unix.EPERM, err))
	}
	err = f()
	if rerr := sys.Resume(c.s.base, want); rerr != nil {
		c.s.cfg.Logf("restore credentials of worker: %v", rerr)
		return err
	}
	c.w.broken = was
	return err
}

// sharesUserNamespace reports whether the caller's capabilities are about the same
// things as this process's. Whoever makes a user namespace has all of them, about
// nothing but that; here they would be about the machine. It is looked once for each
// call: with the caller's credentials this thread may not look any more.
func (c *Call) sharesUserNamespace() bool {
	if c.shares == nil {
		shares := c.sharesNamespace(userNamespace)
		c.shares = &shares
	}
	return *c.shares
}

// Self returns the number by which the caller knows this process; 0 if it is in another
// PID namespace.
func (c *Call) Self() int {
	if !c.sharesNamespace(pidNamespace) {
		return 0
	}
	return os.Getpid()
}

// Kinds of namespaces, as procfs calls them.
const (
	userNamespace = "user" // what capabilities are about
	pidNamespace  = "pid"  // where processes have their numbers
)

// learnNamespaces looks which namespaces this process is in.
func (s *Supervisor) learnNamespaces() error {
	// In a procfs that does not show this process no name is there, whatever the kernel has.
	if _, err := identify(s.cfg.Proc, "self/ns"); err != nil {
		return err
	}
	s.namespaces = make(map[string]plan.ID)
	for _, kind := range []string{userNamespace, pidNamespace} {
		switch id, err := identify(s.cfg.Proc, "self/ns/"+kind); err {
		case nil:
			s.namespaces[kind] = id
		case unix.ENOENT: // the kernel was built without
		default:
			return err
		}
	}
	return nil
}

// sharesNamespace reports whether the caller is in the same namespace of a kind as this
// process; whoever can't be looked at is not.
func (c *Call) sharesNamespace(kind string) bool {
	own, ok := c.s.namespaces[kind]
	if !ok {
		return true // there is but one
	}
	theirs, err := identify(c.Proc(), strconv.Itoa(c.TID())+"/ns/"+kind)
	return err == nil && theirs == own && c.Check() == nil
}

// identify returns what a name in proc leads to.
func identify(proc *sys.FD, name string) (plan.ID, error) {
	var st unix.Stat_t
	err := sys.Retry(func() error { return unix.Fstatat(proc.Int(), name, &st, 0) })
	return plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}, err
}

// AsCreator is As with the caller's umask too. f must not block: where the
// machine gives a thread no umask of its own, everything that creates waits
// for it.
func (c *Call) AsCreator(f func() error) error { return c.asCreator(nil, f) }

// AsCreatorIn is AsCreator with dir as the thread's working directory: the way
// to a name that is longer than what a socket address holds.
func (c *Call) AsCreatorIn(dir *sys.FD, f func() error) error { return c.asCreator(dir, f) }

func (c *Call) asCreator(dir *sys.FD, f func() error) error {
	umask, err := c.Umask()
	if err != nil {
		return err
	}
	if !c.w.ownFS {
		if dir == nil && umask == c.s.umask {
			c.s.fsMu.RLock()
			defer c.s.fsMu.RUnlock()
		} else {
			c.s.fsMu.Lock()
			defer c.s.fsMu.Unlock()
		}
	}
	if umask != c.s.umask {
		old := unix.Umask(int(umask))
		defer unix.Umask(old)
	}
	if dir != nil {
		// Left before dir is closed, which would otherwise keep its mount busy.
		// The supervisor uses no relative names, so where it stays is no matter.
		defer func() {
			if unix.Fchdir(c.s.cfg.Proc.Int()) != nil {
				c.w.broken = true
			}
		}()
	}
	return c.As(func() error {
		if dir != nil {
			if err := unix.Fchdir(dir.Int()); err != nil {
				return err
			}
		}
		return f()
	})
}
