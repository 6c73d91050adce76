package capmode

import (
	"strings"
	"sync"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// filters are those that processes are to stack, compiled once for each set of
// rights: programs limit many descriptors to few of them. The calls that they are
// about ask for no ioctl command and no fcntl.
type filters struct {
	mu   sync.Mutex
	made map[filterKey]*slot.Template
}

type filterKey struct {
	rights         rights.Set
	mode, readOnly bool
}

// maxFilters bounds what a process can make us keep.
const maxFilters = 64

// unasked are the calls that a filter must be about.
var unasked = sync.OnceValue(func() []string { return strings.Fields(syscalls.Unasked) })

// descriptor returns the filter that limits number fd to caps.
func (f *filters) descriptor(fd int, caps filecaps.Caps, mode, readOnly bool) ([]cbpf.Instruction, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := filterKey{caps.Rights, mode, readOnly}
	t := f.made[key]
	if t == nil {
		var err error
		t, err = slot.NewTemplate(sysno.Native, caps, slot.Options{CapabilityMode: mode, ReadOnly: readOnly, Only: unasked()})
		if err != nil {
			return nil, err
		}
		if f.made == nil || len(f.made) == maxFilters {
			f.made = map[filterKey]*slot.Template{}
		}
		f.made[key] = t
	}
	return t.For(fd), nil
}
