package capmode

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// waitAnswers answers the calls that wait for descriptors listed in memory.
func (w *Warden) waitAnswers() []answer {
	return []answer{
		{[]string{"poll", "ppoll"}, poll},
		{[]string{"select", "pselect6"}, selects},
	}
}

const waiting = "waiting for a descriptor whose number comes after the look tells only that it is ready"

// maxPoll is the most descriptors that a poll is looked at for; the kernel's bound
// is RLIMIT_NOFILE.
const maxPoll = 1 << 20

const pollSize = 8 // struct pollfd: int fd; short events, revents

// poll is carried out by the kernel unless a descriptor may not be waited for: that
// one is POLLNVAL, as if it were not open, and the call returns at once.
func poll(c *call) supervisor.Result {
	n := c.Arg(1)
	if n > maxPoll {
		return supervisor.Errno(unix.EINVAL)
	}
	raw, err := c.Bytes(c.Arg(0), int(n)*pollSize)
	t := c.table()
	defer t.Unlock()
	if err != nil {
		return c.unlisted(t, err)
	}
	refused := false
	for i := range int(n) {
		refused = refused || !waitable(t, int32(binary.NativeEndian.Uint32(raw[i*pollSize:])))
	}
	if !refused {
		return c.goOn(only(none), waiting)
	}
	return c.pollNow(t, raw)
}

// unlisted judges a wait whose list could not be looked at: it may go on if there is
// nothing that may not be waited for.
func (c *call) unlisted(t *fdtable.Table, err error) supervisor.Result {
	for _, s := range t.Limited(0, math.MaxInt32) {
		if !s.Parked && !s.Caps.Rights.IsSet(rights.Event) {
			return fail(err)
		}
	}
	return c.goOn(only(none), waiting)
}

// waitable reports whether fd may be waited for, as far as its rights go.
func waitable(t *fdtable.Table, fd int32) bool {
	if fd < 0 {
		return true
	}
	s, limited := t.Slot(int(fd))
	return !limited || s.Parked || s.Caps.Rights.IsSet(rights.Event)
}

// pollNow is a poll that does not wait, because the answer for one descriptor is
// known.
func (c *call) pollNow(t *fdtable.Table, raw []byte) supervisor.Result {
	ready := 0
	for i := 0; i < len(raw); i += pollSize {
		fd := int32(binary.NativeEndian.Uint32(raw[i:]))
		events := int16(binary.NativeEndian.Uint16(raw[i+4:]))
		found := int16(0)
		switch {
		case fd < 0:
		case !waitable(t, fd):
			found = unix.POLLNVAL
		default:
			var err error
			if found, err = c.readiness(fd, events); err != nil {
				return fail(err)
			}
		}
		if found != 0 {
			ready++
		}
		binary.NativeEndian.PutUint16(raw[i+6:], uint16(found))
	}
	if err := c.Write(c.Arg(0), raw); err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(ready))
}

func (c *call) readiness(fd int32, events int16) (int16, error) {
	f, err := c.copyOf(fd)
	if err == unix.EBADF {
		return unix.POLLNVAL, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	list := []unix.PollFd{{Fd: int32(f.Int()), Events: events}}
	err = sys.Retry(func() error { _, err := unix.Poll(list, 0); return err })
	return list[0].Revents, err
}

// selects is carried out by the kernel unless a descriptor may not be waited for:
// then the whole call fails.
func selects(c *call) supervisor.Result {
	n := int(c.Int(0))
	if n < 0 {
		return supervisor.Errno(unix.EINVAL)
	}
	// The kernel reads no further than numbers are in use, and the sets need not be
	// longer: only what is limited is looked at.
	t := c.table()
	defer func() { t.Unlock() }()
	for top := -1; ; {
		was := top
		for fd := range t.Limited(0, n-1) {
			top = max(top, fd)
		}
		if top == was {
			return c.goOn(only(none), waiting)
		}
		t.Unlock() // the memory may be such that whoever reads it waits
		sets, err := c.setsOf(top + 1)
		t = c.table()
		if err != nil {
			return c.unlisted(t, err)
		}
		for fd := range t.Limited(0, top) {
			if sets[fd/8]&(1<<(fd%8)) != 0 && !waitable(t, int32(fd)) {
				return supervisor.Errno(eNotCapable)
			}
		}
	}
}

// setsOf returns what is in any of the three sets of a select, of n numbers.
func (c *call) setsOf(n int) ([]byte, error) {
	all := make([]byte, (n+63)/64*8)
	for _, arg := range []int{1, 2, 3} {
		if c.Arg(arg) == 0 {
			continue
		}
		set, err := c.Bytes(c.Arg(arg), len(all))
		if err != nil {
			return nil, err
		}
		for i := range set {
			all[i] |= set[i]
		}
	}
	return all, nil
}
