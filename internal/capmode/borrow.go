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
	generations = 8
	most        = 1 << 12
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
// whatever number, most often the same. Nothing else can be got: the copy is compared,
// whoever that is.
func (c *call) borrow(pid int, fd int32) *sys.FD {
	n, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	lender := sys.NewFD(n)
	defer lender.Close()
	same, err := c.compared(lender, int(fd), fd)
	if same != nil || err == unix.EPERM {
		return same
	}
	for _, num := range c.numbers(pid) {
		if !sys.SameFile(pid, num, c.TID(), int(fd)) {
			continue
		}
		if same, _ := c.compared(lender, num, fd); same != nil {
			return same
		}
	}
	return nil
}

// compared copies the lender's descriptor num, if it is the caller's fd.
func (c *call) compared(lender *sys.FD, num int, fd int32) (*sys.FD, error) {
	n, err := unix.PidfdGetfd(lender.Int(), num, 0)
	if err != nil {
		return nil, err
	}
	f := sys.NewFD(n)
	if sys.SameFile(os.Getpid(), n, c.TID(), int(fd)) && c.Check() == nil {
		return f, nil
	}
	return nil, f.Close()
}

// numbers lists the descriptors of a process, not more than most.
func (c *call) numbers(pid int) []int {
	names, _ := sys.ListAt(c.Proc().Int(), strconv.Itoa(pid)+"/fd")
	list := make([]int, 0, min(len(names), most))
	for _, name := range names[:min(len(names), most)] {
		if num, err := strconv.Atoi(name); err == nil {
			list = append(list, num)
		}
	}
	return list
}
