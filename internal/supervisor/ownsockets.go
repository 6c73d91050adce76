package supervisor

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// registrySize bounds what is remembered of each kind. What is forgotten can
// no longer be connected to without a grant.
const registrySize = 4096

// registry knows the sockets the sandbox bound: it may connect to them although
// no grant says so, because nobody else answers there.
type registry struct {
	mu       sync.Mutex
	paths    recent[inode]
	abstract recent[abstractName]
	holders  map[abstractName]holder
	binding  atomic.Int32 // binds under way: their names may be there already, and not here
}

// inode is a file for as long as it exists. The birth time tells it from a
// later one that got the same number.
type inode struct {
	major, minor uint32
	ino          uint64
	birth        unix.StatxTimestamp
}

// abstractName is unique among the sockets of one type in a network namespace.
type abstractName struct {
	typ  int
	name string
}

// holder is where an abstract socket was when it was bound.
type holder struct {
	tgid int
	fd   int32
	ino  uint64 // of the socket itself
}

// recent is a set that forgets its oldest member.
type recent[K comparable] struct {
	have map[K]struct{}
	ring []K
	next int
}

func (r *recent[K]) add(k K) (forgotten K, full bool) {
	if r.have == nil {
		r.have = make(map[K]struct{})
	}
	if _, ok := r.have[k]; ok {
		return forgotten, false
	}
	r.have[k] = struct{}{}
	if len(r.ring) < registrySize {
		r.ring = append(r.ring, k)
		return forgotten, false
	}
	forgotten = r.ring[r.next]
	delete(r.have, forgotten)
	r.ring[r.next] = k
	r.next = (r.next + 1) % registrySize
	return forgotten, true
}

func (r *recent[K]) has(k K) bool {
	_, ok := r.have[k]
	return ok
}

func (r *registry) init() { r.holders = make(map[abstractName]holder) }

// statxInode identifies the file behind an O_PATH descriptor.
func statxInode(fd *sys.FD) (inode, *unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(fd.Int(), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return inode{}, nil, err
	}
	id := inode{major: st.Dev_major, minor: st.Dev_minor, ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.birth = st.Btime
	}
	return id, &st, nil
}

// clockSlack is how much coarser a file system's times may be than the clock.
const clockSlack = 20 * time.Millisecond

// fileTime is the clock that files get their times from. It stands still between
// two ticks, however long a busy machine makes them.
func fileTime() (time.Time, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now)
	return time.Unix(now.Unix()), err
}

// bound remembers the socket that was just made as name in parent. Somebody
// may have moved another socket to the name meanwhile: one that is older than
// the bind is not ours.
func (r *registry) bound(parent *sys.FD, name string, before time.Time) error {
	n, err := sys.OpenName(parent.Int(), name)
	if err != nil {
		return err
	}
	fd := sys.NewFD(n)
	defer fd.Close()
	id, st, err := statxInode(fd)
	if err != nil {
		return err
	}
	made := id.birth
	if made == (unix.StatxTimestamp{}) {
		made = st.Ctime // a file system without birth times
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || time.Unix(made.Sec, int64(made.Nsec)).Before(before.Add(-clockSlack)) {
		return unix.ESTALE
	}
	r.mu.Lock()
	r.paths.add(id)
	r.mu.Unlock()
	return nil
}

// own reports whether the sandbox bound the socket behind an O_PATH
// descriptor.
func (r *registry) own(fd *sys.FD) bool {
	id, _, err := statxInode(fd)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paths.has(id)
}

// named remembers an abstract name that sock, the caller's descriptor fd, has
// been bound to.
func (r *registry) named(c *Call, sock *sys.FD, fd int32) error {
	key, err := abstractOf(sock)
	if err != nil || key.name == "" {
		return err
	}
	ino, err := inoOf(sock)
	if err != nil {
		return err
	}
	tgid, err := c.TGID()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, full := r.abstract.add(key); full {
		delete(r.holders, old)
	}
	r.holders[key] = holder{tgid, fd, ino}
	return nil
}

// hold returns a descriptor of the sandbox's own socket that has an abstract
// name. As long as it is open the name cannot become anybody else's.
func (r *registry) hold(s *Supervisor, key abstractName) (*sys.FD, error) {
	r.mu.Lock()
	h, ok := r.holders[key]
	r.mu.Unlock()
	if !ok {
		return nil, unix.ECONNREFUSED
	}
	if fd := h.copyFrom(h.tgid, h.fd, key); fd != nil {
		return fd, nil
	}
	// Closed there, or handed on: look who has it now.
	want := "socket:[" + strconv.FormatUint(h.ino, 10) + "]"
	for _, pid := range s.members() {
		for _, fd := range s.descriptorsOf(pid, want) {
			if got := h.copyFrom(pid, fd, key); got != nil {
				return got, nil
			}
		}
	}
	return nil, unix.ECONNREFUSED
}

// copyFrom copies a descriptor if it is the socket that was bound. Socket and
// name are looked at on the copy, so a reused process id leads nowhere.
func (h holder) copyFrom(pid int, fd int32, key abstractName) *sys.FD {
	n, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	p := sys.NewFD(n)
	defer p.Close()
	n, err = unix.PidfdGetfd(p.Int(), int(fd), 0)
	if err != nil {
		return nil
	}
	sock := sys.NewFD(n)
	ino, err := inoOf(sock)
	if err == nil && ino == h.ino {
		if got, err := abstractOf(sock); err == nil && got == key {
			return sock
		}
	}
	sock.Close()
	return nil
}

// abstractOf returns a Unix socket's own abstract name; empty when it has none.
func abstractOf(sock *sys.FD) (abstractName, error) {
	typ, err := unix.GetsockoptInt(sock.Int(), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return abstractName{}, err
	}
	raw, err := sys.RawGetsockname(sock.Int())
	if err != nil {
		return abstractName{}, err
	}
	addr, err := parseSockaddr(raw)
	if err != nil || addr.family != unix.AF_UNIX {
		return abstractName{}, err
	}
	name, err := addr.unixName()
	return abstractName{typ, name.abstract}, err
}

func inoOf(fd *sys.FD) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd.Int(), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// descriptorsOf lists a process's descriptors whose link reads want.
func (s *Supervisor) descriptorsOf(pid int, want string) []int32 {
	dir := strconv.Itoa(pid) + "/fd"
	numbers, err := sys.NumbersAt(s.cfg.Proc.Int(), dir)
	if err != nil {
		return nil
	}
	var out []int32
	for _, n := range numbers {
		link, err := sys.Readlink(s.cfg.Proc.Int(), dir+"/"+strconv.Itoa(n))
		if err == nil && strings.HasPrefix(link, want) {
			out = append(out, int32(n))
		}
	}
	return out
}
