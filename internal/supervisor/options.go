package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// Options are what the filter was generated for.
type Options struct {
	Engine        policy.Engine
	Net           bool
	SignalScope   bool
	AbstractScope bool
	UnixScope     bool
	PtraceScope   bool
	Lacking       rights.Set
	Flock         bool
}

// callName names a call by what the filter saw.
func callName(arch uint32, nr int32) (string, bool) {
	return sysno.Name(sysno.Arch(arch), int(nr))
}
