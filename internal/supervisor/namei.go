package supervisor

import (
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// planNamei finds names by walking the plan (landlock engine).
type planNamei struct{ s *Supervisor }

// Resolve implements Namei.
func (*planNamei) Resolve(*Call, int32, string, Walk) (*Found, error) { return nil, unix.ENOENT }

// EntryOf implements Namei.
func (*planNamei) EntryOf(*sys.FD) (*plan.Entry, error) { return nil, unix.EACCES }
