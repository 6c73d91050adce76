package launch

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// namespaces is the engine that gives the sandbox a root of its own. Stage two
// is pid 1 there, so that its end is everybody's.
type namespaces struct{}

func (namespaces) supervise(c *supervisor.Config, procfs *sys.FD) (err error) {
	if procfs == nil {
		return unix.EPROTO
	}
	c.Proc = procfs
	c.Mounts, err = nsenv.Mounts(procfs.Int(), c.Plan)
	return err
}

// destroy has nothing to do: the kernel kills a pid namespace with its init.
func (namespaces) destroy() {}
