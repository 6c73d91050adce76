package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// Options are what the filter was generated for.
type Options = syscalls.Options

// callName names a call by what the filter saw.
func callName(arch uint32, nr int32) (string, bool) {
	if nr == request.Number {
		return RequestName, true
	}
	return sysno.Name(sysno.Arch(arch), int(nr))
}

// RequestName is what the call for requests is called, which no kernel has.
const RequestName = "capsicum request"

// mayContinue reports whether the table allows what a handler wants: no handler
// decides on its own that a call is let go after a look.
func (c *Call) mayContinue() bool {
	d := &c.n.Data
	return syscalls.MayContinue(sysno.Arch(d.Arch), uint32(d.NR), d.Args, c.s.cfg.Options)
}
