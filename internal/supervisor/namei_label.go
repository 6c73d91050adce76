package supervisor

import (
	"fmt"
	"sync"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// A label is a working directory the kernel does not know: one whose name in the
// sandbox is not its name on the host. It is a number in the process's word.
const labelBits = 63 - fdtable.LabelBits

const maxLabels = 4096

type labelKey struct {
	id   plan.ID
	path string
}

type label struct {
	key   labelKey
	fd    *sys.FD
	place lookup.Place
}

// labels is the table behind the numbers. A number is never used twice.
type labels struct {
	mu   sync.Mutex
	next uint64
	max  int
	byID map[uint64]*label
	ids  map[labelKey]uint64
}

func (l *labels) init() {
	l.max = maxLabels
	l.byID = make(map[uint64]*label)
	l.ids = make(map[labelKey]uint64)
}

// base returns what label id names. An unknown one is a directory that is gone.
func (l *labels) base(id uint64) (lookup.Base, *sys.FD, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[id]
	if !ok {
		return lookup.Base{}, nil, unix.ENOENT
	}
	fd, err := e.fd.Dup()
	if err != nil {
		return lookup.Base{}, nil, err
	}
	return lookup.Base{FD: fd.Int(), Place: e.place}, fd, nil
}

// add returns the label of the directory fd at place, a new one if need be.
func (l *labels) add(proc *sys.FD, fd int, place lookup.Place) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	key := labelKey{plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}, place.Path}
	l.mu.Lock()
	defer l.mu.Unlock()
	if id, ok := l.ids[key]; ok {
		return id, nil
	}
	if len(l.byID) >= l.max {
		if err := l.sweep(proc); err != nil {
			return 0, err
		}
	}
	if len(l.byID) >= l.max || l.next >= 1<<labelBits-1 {
		return 0, fmt.Errorf("too many working directories: %w", unix.ENOMEM)
	}
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	l.next++
	l.byID[l.next] = &label{key, sys.NewFD(n), place}
	l.ids[key] = l.next
	return l.next, nil
}

// sweep forgets the labels no process has. A process forked while it looks may
// be missed if its parent is gone by then; its directory is gone for it then,
// which is an error and no authority.
func (l *labels) sweep(proc *sys.FD) error {
	used := make(map[uint64]bool)
	for range 2 { // a child is seen in the second round, its parent in the first
		pids, err := sys.NumbersAt(proc.Int(), ".")
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if id, err := labelOf(proc, pid); err == nil {
				used[id] = true
			}
		}
	}
	for id, e := range l.byID {
		if !used[id] {
			delete(l.byID, id)
			delete(l.ids, e.key)
			e.fd.Close()
		}
	}
	return nil
}

// labelOf reads the label of a process, 0 for none.
func labelOf(proc *sys.FD, pid int) (uint64, error) {
	word, err := wordOf(proc, pid)
	if err == unix.ESRCH {
		return 0, notify.ErrGone
	}
	return wordIn(word) >> fdtable.LabelBits, err
}

// setLabel gives the caller a label, or takes it away with 0.
func setLabel(c *Call, id uint64) error {
	old, err := labelOf(c.Proc(), c.TID())
	if err != nil || old == id {
		return err
	}
	tgid, err := c.TGID()
	if err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	return c.setWord(tgid, ^uint64(forkMask), id<<fdtable.LabelBits)
}
