package capmode

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// How far up somebody is looked for who has a descriptor, too, and among how many of his.
const (
	generations  = 8
	lendersLimit = 1 << 12
)

// copyOf is [supervisor.Call.DupFull]. A program that knows nothing of its supervisor
// does not name it to Yama, which then lets nobody copy its descriptors. What it has it
// mostly got from its parents, who did: their copy of it is as good.
func (c *call) copyOf(fd int32) (*sys.FD, error) {
	f, err := c.DupFull(fd)
	if !errors.Is(err, unix.EACCES) {
		return f, err
	}
	if !c.IsOpen(fd) {
		return nil, unix.EBADF
	}
	for pid, n := c.TID(), 0; n < generations; n++ {
		if pid = sys.Parent(c.Proc().Int(), pid); pid == 0 || c.Check() != nil {
			break
		}
		if f := c.borrow(pid, fd); f != nil {
			return f, nil
		}
	}
	return nil, err
}

// borrow copies the caller's descriptor fd from a process that has it too, under
// whatever number, most often the same. It is compared before, as a copy of anything
// else would keep that open for a moment, and again when it is there.
func (c *call) borrow(pid int, fd int32) *sys.FD {
	same, err := sys.SameFile(pid, int(fd), c.TID(), int(fd))
	if err == unix.EPERM {
		return nil
	}
	num := int(fd)
	if !same {
		if num = c.sameAmong(pid, fd); num < 0 {
			return nil
		}
	}
	n, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	lender := sys.NewFD(n)
	defer lender.Close()
	if n, err = unix.PidfdGetfd(lender.Int(), num, 0); err != nil {
		return nil
	}
	f := sys.NewFD(n)
	if same, _ := sys.SameFile(os.Getpid(), n, c.TID(), int(fd)); same && c.Check() == nil {
		return f
	}
	f.Close()
	return nil
}

// sameAmong returns the number under which a process has the caller's fd, -1 if it has
// not, or has too many.
func (c *call) sameAmong(pid int, fd int32) int {
	numbers, _ := sys.NumbersAt(c.Proc().Int(), strconv.Itoa(pid)+"/fd")
	for _, num := range numbers[:min(len(numbers), lendersLimit)] {
		if same, _ := sys.SameFile(pid, num, c.TID(), int(fd)); same {
			return num
		}
	}
	return -1
}
