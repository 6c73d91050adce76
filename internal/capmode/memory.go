package capmode

import (
	"errors"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// readOnlyMemory puts anonymous memory, which the caller's number fd has open for
// writing, there again for reading only, if all that will be left is mapping it for
// that: [sys.ReopenMemory] says why. It returns what then is there, in place of f. Its
// rights are noted as they were before.
func (c *call) readOnlyMemory(t *fdtable.Table, fd int, f *sys.FD, before, after filecaps.Caps) (*sys.FD, error) {
	if old, _ := t.Slot(fd); old.Pending || !after.OnlyMapsToRead() {
		return f, nil
	}
	again, err := sys.ReopenMemory(f.Int())
	if err != nil || again == nil {
		return f, err
	}
	cloexec, known := c.closesOnExec(fd)
	if !known {
		return f, again.Close()
	}
	if err := c.put(t, again, before, fd, cloexec); err != nil {
		return f, errors.Join(err, again.Close())
	}
	return again, f.Close()
}
