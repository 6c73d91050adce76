package launch

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// namespaces is the engine that gives the sandbox a root of its own. Stage two
// is pid 1 there, so that its end is everybody's.
type namespaces struct{ env *nsenv.Env }

func (n *namespaces) enter(s *setup, rules *landlock.Ruleset) (err error) {
	n.env, err = nsenv.Enter(s.Plan, func(e *plan.Entry, fd int) error {
		switch {
		case rules == nil:
			return nil
		case e == nil:
			return rules.Allow(fd, true, landlock.ReadDir)
		}
		return rules.Allow(fd, isTree(e), landlock.ForRights(e.Rights))
	})
	if err != nil {
		return &Refused{Exit: exitRefused, Message: err.Error(), Errno: errnoOf(err), unavailable: blocked(err)}
	}
	return nil
}

// blocked tells a machine that lets a user namespace be made but nothing be
// mounted in it (AppArmor's rule on Ubuntu, a masked /proc in a container) from a
// grant that could not be shown.
func blocked(err error) bool {
	errno := errnoOf(err)
	return errno == unix.EPERM || errno == unix.EACCES || errno == unix.ENOSYS
}

// isTree reports whether an entry is a directory.
func isTree(e *plan.Entry) bool { return e.Kind != plan.File && e.Kind != plan.Device }

func (n *namespaces) supervise(c *supervisor.Config, _ *setup) error {
	c.Proc = sys.NewFD(int(n.env.Proc.Fd()))
	c.Mounts = n.env.Mounts
	return nil
}

// directory opens an inherited directory again on a mount of its own, which is
// its own top.
func (n *namespaces) directory(in inherited) (*os.File, error) {
	set := rights.Of(rights.Read, rights.Write)
	if in.Rights != nil {
		set = *in.Rights
	}
	e := plan.Entry{Kind: plan.Dir, Rights: set}
	tree, err := nsenv.Clone(in.Path, in.ID, nsenv.Attributes(&e))
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	fd, err := unix.Openat(int(tree.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s on a mount of its own: %w", in.Path, err)
	}
	return os.NewFile(uintptr(fd), in.Path), nil
}

// destroy has nothing to do: the kernel kills a pid namespace with its init.
func (n *namespaces) destroy() {}
