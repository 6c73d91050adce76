package lookup

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// handle is a descriptor that is either owned or borrowed from an entry. The
// zero handle has none.
type handle struct {
	n    int // descriptor + 1
	held *Entry
	ns   *Namespace
}

func owned(fd int) handle { return handle{n: fd + 1} }

func (h *handle) fd() int { return h.n - 1 }

func (h *handle) close() {
	switch {
	case h.held != nil:
		h.ns.release(h.held)
	case h.n > 0:
		unix.Close(h.n - 1)
	}
	*h = handle{}
}

// openAll opens every entry, so that a source that changed is found before the
// program starts; beyond the descriptor budget they are closed again.
func (n *Namespace) openAll() error {
	for _, e := range n.entries {
		h, err := n.acquire(e)
		if err != nil {
			n.Close()
			return fmt.Errorf("open %s: %w", e.source, err)
		}
		h.close()
	}
	return nil
}

// acquire borrows the descriptor of an entry. A closed one is opened again and
// must still be the object that was judged.
func (n *Namespace) acquire(e *Entry) (handle, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.fd >= 0 {
		n.recent.MoveToBack(e.slot)
	} else {
		if n.recent.Len() >= n.limit {
			n.evict()
		}
		fd, err := n.openAsSelf(e)
		if err != nil {
			return handle{}, err
		}
		e.fd = fd
		e.slot = n.recent.PushBack(e)
	}
	e.refs++
	return handle{n: e.fd + 1, held: e, ns: n}, nil
}

func (n *Namespace) release(e *Entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e.refs--
}

// evict closes the entry unused for longest. When all are in use the budget is
// exceeded: it has slack for that.
func (n *Namespace) evict() {
	for el := n.recent.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*Entry); e.refs == 0 {
			unix.Close(e.fd)
			e.fd = -1
			n.recent.Remove(el)
			return
		}
	}
}

// openAsSelf opens an entry on a fresh goroutine: the caller may be on a thread
// that wears a sandboxed process's credentials, which say nothing about the way
// to the source.
func (n *Namespace) openAsSelf(e *Entry) (int, error) {
	type result struct {
		fd  int
		err error
	}
	c := make(chan result)
	go func() {
		fd, err := n.openEntry(e)
		c <- result{fd, err}
	}()
	r := <-c
	return r.fd, r.err
}

func (n *Namespace) openEntry(e *Entry) (int, error) {
	if e.Kind != plan.Tmpfs && e.Kind != plan.Proc {
		fd, err := sys.OpenPinned(e.source, e.id.Dev, e.id.Ino)
		if err != nil {
			return -1, err
		}
		return fd.Release(), nil
	}
	fd, err := n.openSkeleton(e.Dest)
	if err != nil {
		return -1, err
	}
	id, _, err := identity(fd)
	if err == nil && id != e.id {
		err = sys.ErrChanged
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// identity returns what names the object behind fd, and its mode.
func identity(fd int) (plan.ID, uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return plan.ID{}, 0, err
	}
	return plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}, st.Mode, nil
}
