package capmode

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// pin is what numbers a call that is let go on looks up, and whether it hands on what
// its memory names, which may be any number and may change as long as the call is
// not over; or whose label a fork copies.
type pin struct {
	fd, other int
	sends     bool
	births    *births
}

// none is no number.
const none = -1

// only is a call that looks up fd, or nothing.
func only(fd int32) pin { return pin{fd: int(fd), other: none} }

// sending is a call on fd that hands on what its memory names.
func sending(fd int32) pin { return pin{fd: int(fd), other: none, sends: true} }

// continued is a call that was let go on. Nothing tells when its thread has looked
// its numbers up; until it surely has, no descriptor with fewer rights may come
// there.
type continued struct {
	pin
	call string
	let  atomic.Bool // the answer is out: until then the thread sleeps without having begun
	ran  uint64      // what the thread had run when it was first looked at, in nanoseconds
}

func (k *continued) names(n int) bool { return k.fd == n || k.other == n }

// looksUpFirst reports whether k looks up all that it will before it waits.
func (k *continued) looksUpFirst() bool { return !k.sends && slices.Contains(lookUpFirst, k.call) }

// pins are the calls that were let go on, by thread, of all processes that share a
// descriptor table.
type pins struct {
	mu sync.Mutex
	by map[int]*continued
}

func newPins() *pins { return &pins{by: map[int]*continued{}} }

// set notes that thread tid was let into k.
func (s *pins) set(tid int, k *continued) {
	s.mu.Lock()
	s.by[tid] = k
	s.mu.Unlock()
}

// drop notes that thread tid is past whatever it was let into.
func (s *pins) drop(tid int) {
	s.mu.Lock()
	delete(s.by, tid)
	s.mu.Unlock()
}

// pinned reports whether a call that was let go on, by a thread other than except,
// may still look number n up.
func (p *process) pinned(n, except int) bool {
	p.pins.mu.Lock()
	defer p.pins.mu.Unlock()
	for tid, k := range p.pins.by {
		if tid != except && k.names(n) {
			return true
		}
	}
	return false
}

// settled waits until no call that was let go on may still look number n up. It gives up
// only after long: a busy machine may keep the thread from running, and no program expects
// a dup2 to fail then. But a thread may also wait for memory, or a lock, for ever.
func (c *call) settled(n int) bool {
	c.Yield()
	return c.over(5*time.Second, func(k *continued) bool { return k.names(n) })
}

// sent waits, no longer than patience, until every call that was let go and hands on
// what its memory names is over, or has looked that up. A descriptor with fewer rights
// that comes before could be passed on with all.
func (c *call) sent(patience time.Duration) bool {
	return c.over(patience, func(k *continued) bool { return k.sends })
}

// over waits, no longer than patience, until every call of another thread that was let
// go on and matters is past what it matters for.
func (c *call) over(patience time.Duration, matters func(*continued) bool) bool {
	const shortest, longest = 50 * time.Microsecond, time.Millisecond
	start := time.Now()
	for pause := shortest; ; pause = min(2*pause, longest) {
		left := false
		c.p.pins.mu.Lock()
		for tid, k := range c.p.pins.by {
			switch {
			case tid == c.TID() || !matters(k):
			case c.past(tid, k):
				delete(c.p.pins.by, tid)
			default:
				left = true
			}
		}
		c.p.pins.mu.Unlock()
		if !left {
			return true
		}
		if time.Since(start) >= patience {
			return false
		}
		time.Sleep(pause)
	}
}

// lookUpFirst are calls that look their descriptor up before they touch memory or
// wait for anything: asleep in one of them, a thread is past that. Others may sleep,
// or run for long, on a page of their arguments, which somebody fills when it suits
// him, or which is huge.
var lookUpFirst = []string{
	"read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "recvfrom", "recvmsg", "accept", "accept4",
	"ioctl", "flock", "fsync", "fdatasync", "connect", "dup", "dup2", "dup3", "fcntl", "lseek", "fstat", "fchmod", "fchown",
	"ftruncate", "fallocate", "syncfs", "sync_file_range", "listen", "shutdown", "getsockname", "getpeername", "getsockopt",
	"getdents", "getdents64", "fchdir",
}

// enough is how long a thread has to have run, since it was let into a call, to be
// surely past the beginning of one that it does not sleep in.
const enough = uint64(time.Millisecond)

// past reports whether thread tid has surely looked up the numbers of the call that
// it was let into: it is dead, or in another call, or asleep in one that looks them
// up first, or has run for long.
func (c *call) past(tid int, k *continued) bool {
	if !k.let.Load() {
		return false
	}
	if k.births != nil && c.copied(tid) {
		return true
	}
	thread := strconv.Itoa(tid)
	stat, err := c.ReadProc(thread + "/stat")
	if err != nil {
		return err == unix.ESRCH
	}
	fields := sys.StatFields(stat)
	if len(fields) == 0 {
		return false
	}
	switch fields[0] {
	case "Z", "X":
		return true
	case "R":
		return k.looksUpFirst() && c.ranEnough(thread, k)
	case "D": // it may wait for a lock on its way out of the question
		return false
	}
	// The number of the call it is in, "running", or -1 outside any.
	text, err := c.ReadProc(thread + "/syscall")
	if err != nil {
		return false
	}
	number, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte(" "))
	nr, err := strconv.Atoi(string(number))
	if err != nil {
		return false
	}
	name, known := sysno.Name(sysno.Native, nr)
	return !known || name != k.call || k.looksUpFirst() || k.sends && c.waitsForRoom(thread)
}

// roomWaits are where the kernel waits, in a send on an AF_UNIX socket, for room in the
// receiver's queue. It has taken the descriptors to pass on by then.
var roomWaits = []string{"sock_alloc_send_pskb", "unix_wait_for_peer"}

// waitsForRoom reports whether a thread that sleeps does so in one of them. Kernels
// without names of their functions do not tell.
func (c *call) waitsForRoom(thread string) bool {
	where, err := c.ReadProc(thread + "/wchan")
	return err == nil && slices.Contains(roomWaits, string(where))
}

// ranEnough reports whether a thread that runs has left the beginning of its call.
func (c *call) ranEnough(thread string, k *continued) bool {
	text, err := c.ReadProc(thread + "/schedstat")
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	ran, err := strconv.ParseUint(string(first), 10, 64)
	if err != nil {
		return false
	}
	if k.ran == 0 {
		k.ran = ran + 1
	}
	return ran+1 >= k.ran+enough
}
