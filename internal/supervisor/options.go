package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// Options are what the filter was generated for.
type Options = syscalls.Options

// callName names a call by what the filter saw.
func callName(arch uint32, nr int32) (string, bool) {
	if nr == syscalls.Request {
		return RequestName, true
	}
	return sysno.Name(sysno.Arch(arch), int(nr))
}

// RequestName is what the call for requests is called, which no kernel has.
const RequestName = "capsicum request"
