package launch

import (
	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// namespaces is the engine that gives the sandbox a root of its own. Init
// is pid 1 there, so that its end is everybody's.
type namespaces struct{}

func (namespaces) supervise(c *supervisor.Config, procfs int) (err error) {
	c.Proc = sys.NewFD(procfs)
	c.Mounts, err = nsenv.Mounts(procfs, c.Plan)
	return err
}

// destroy has nothing to do: the kernel kills a pid namespace with its init.
func (namespaces) destroy() {}
