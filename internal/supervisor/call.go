package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// PathMax is the size of the longest name the kernel takes, with its
// terminator.
const PathMax = unix.PathMax

// Handler answers one call. It may block only inside [Call.Blocking]. An error
// in the answer is an errno; what a handler cannot explain ends as EIO.
type Handler func(*Call) Result

// Call is one received system call. It is used by one goroutine, which is
// locked to one thread, and is over when the handler returns.
//
// Everything read through a Call was read while its caller waited: each method
// checks that afterwards and returns [notify.ErrGone] otherwise. It is still
// only a copy; handlers act on what they copied and never look twice.
type Call struct {
	Name string // as in the table: "connect"

	s   *Supervisor
	w   *worker
	n   notify.Notification
	mem notify.Mem

	status *status // of the caller; nil until asked for
	shares *bool   // whether its capabilities are about the same as ours; nil until asked for
	task   *sys.FD // of the calling thread, where somebody keeps one
	judged judged
}

// Through makes the call use a pidfd of the calling thread, which stays its owner's,
// rather than open one each time.
func (c *Call) Through(task *sys.FD) { c.task = task }

// Arg returns argument register i, untouched.
func (c *Call) Arg(i int) uint64 { return c.n.Data.Args[i] }

// Int returns argument i as the kernel reads an int: the low 32 bits.
func (c *Call) Int(i int) int32 { return int32(uint32(c.n.Data.Args[i])) }

// Fd returns argument i as a descriptor number, which is an int.
func (c *Call) Fd(i int) int32 { return c.Int(i) }

// TID is the calling thread, in this process's pid namespace.
func (c *Call) TID() int { return int(c.n.PID) }

// TGID is the process of the calling thread.
func (c *Call) TGID() (int, error) {
	st, err := c.readStatus()
	if err != nil {
		return 0, err
	}
	return st.tgid, nil
}

// Filters returns how many filters the calling thread had when it was first looked at
// for this call.
func (c *Call) Filters() (int, error) {
	st, err := c.readStatus()
	if err != nil {
		return 0, err
	}
	return st.filters, nil
}

// Path copies the name argument i points to: at most [PathMax] bytes,
// ENAMETOOLONG and EFAULT as the kernel has them.
func (c *Call) Path(i int) (string, error) { return c.mem.String(c.Arg(i), PathMax) }

// String copies the string at addr of at most max bytes with its terminator.
func (c *Call) String(addr uint64, max int) (string, error) { return c.mem.String(addr, max) }

// Bytes copies n bytes at addr.
func (c *Call) Bytes(addr uint64, n int) ([]byte, error) {
	buf := make([]byte, n)
	if err := c.mem.Read(addr, buf); err != nil {
		return nil, err
	}
	return buf, nil
}

// Write copies buf into the caller's memory at addr.
func (c *Call) Write(addr uint64, buf []byte) error { return c.mem.Write(addr, buf) }

// Check returns [notify.ErrGone] when the caller does not wait any more. What
// was learnt through the thread id before a successful Check was about the
// caller.
func (c *Call) Check() error {
	if !c.s.listener.Valid(c.n.ID) {
		return notify.ErrGone
	}
	return nil
}

// Proc is a directory descriptor of a procfs that shows the sandbox's
// processes and this one. It stays the supervisor's.
func (c *Call) Proc() *sys.FD { return c.s.cfg.Proc }

// Supervisor returns the supervisor that serves the call.
func (c *Call) Supervisor() *Supervisor { return c.s }

// Dup returns a copy of the caller's descriptor fd, or EBADF. Where the
// machine refuses pidfd_getfd the copy is an O_PATH descriptor of the same
// object; [Call.DupFull] never returns such a one.
func (c *Call) Dup(fd int32) (*sys.FD, error) {
	f, err := c.DupFull(fd)
	if err == nil || !errors.Is(err, errNoGetfd) {
		return f, err
	}
	return c.openProc("fd/" + strconv.Itoa(int(fd)))
}

// IsOpen reports whether the caller's number fd is in use. It can be told also where
// nobody may look into the process, as under Yama: what fd leads to may be looked up
// even so.
func (c *Call) IsOpen(fd int32) bool {
	f, err := c.DupFull(fd)
	if errors.Is(err, errNoGetfd) {
		var st unix.Stat_t
		name := strconv.Itoa(c.TID()) + "/fd/" + strconv.Itoa(int(fd))
		err = sys.Retry(func() error { return unix.Fstatat(c.Proc().Int(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
		return err != unix.ENOENT
	}
	f.Close()
	return err != unix.EBADF
}

// HasNumber fails with EMFILE if all numbers that the caller may have for descriptors are
// in use.
func (c *Call) HasNumber() error {
	limit, err := c.OpenFiles(c.TID())
	if err != nil {
		return err
	}
	if last := min(limit, 1<<31) - 1; limit > 0 && !c.IsOpen(int32(last)) {
		return nil // mostly: they are given out from the lowest on
	}
	numbers, err := sys.NumbersAt(c.Proc().Int(), strconv.Itoa(c.TID())+"/fd")
	if err == unix.EACCES {
		return c.Check() // it may not be looked into, and the kernel says so in the end
	}
	if err != nil {
		return err
	}
	numbers = slices.DeleteFunc(numbers, func(n int) bool { return uint64(n) >= limit })
	if uint64(len(numbers)) >= limit {
		return unix.EMFILE
	}
	return c.Check()
}

// Put gives the caller a copy of fd under number num, in place of what is there,
// or under the lowest free one for num < 0, and returns the number. The call still
// waits for its answer.
func (c *Call) Put(fd *sys.FD, num int, cloexec bool) (int, error) {
	return c.s.listener.Put(c.n.ID, fd.Int(), num, cloexec)
}

// ReadProc returns the text of a small file of the proc file system.
func (c *Call) ReadProc(name string) ([]byte, error) {
	text, err := readProc(c.Proc(), name)
	if err == nil {
		err = c.Check()
	}
	return text, err
}

// OpenProc opens what a link of the caller's in the proc file system leads to
// ("root", "cwd") with O_PATH.
func (c *Call) OpenProc(link string) (*sys.FD, error) { return c.openProc(link) }

// errNoGetfd says that pidfd_getfd is refused on this machine.
var errNoGetfd error = noGetfd{}

type noGetfd struct{}

func (noGetfd) Error() string { return "copy descriptor of another process: " + unix.EACCES.Error() }
func (noGetfd) Unwrap() error { return unix.EACCES }

// DupFull returns a copy of the caller's descriptor fd that shares its open
// file: offset, flags, connection. It is refused with EACCES where the machine
// refuses pidfd_getfd.
func (c *Call) DupFull(fd int32) (*sys.FD, error) {
	if fd < 0 {
		return nil, unix.EBADF
	}
	p, err := c.task, error(nil)
	if p == nil {
		if p, err = c.pidfd(); err != nil {
			return nil, err
		}
		defer p.Close()
	}
	var n int
	err = sys.Retry(func() (err error) { n, err = unix.PidfdGetfd(p.Int(), int(fd), 0); return })
	switch {
	case err == unix.EPERM || err == unix.ENOSYS:
		return nil, errNoGetfd
	case err == unix.ESRCH:
		return nil, notify.ErrGone
	case err != nil:
		return nil, err
	}
	f := sys.NewFD(n)
	if err := c.Check(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// pidfd returns a descriptor of the calling thread, or before Linux 6.9 of its
// process. The two differ only for a thread that left its process's descriptor
// table; it is then shown a descriptor of its own process all the same.
func (c *Call) pidfd() (*sys.FD, error) {
	n, err := unix.PidfdOpen(c.TID(), unix.PIDFD_THREAD)
	if err == unix.EINVAL {
		var tgid int
		if tgid, err = c.TGID(); err != nil {
			return nil, err
		}
		n, err = unix.PidfdOpen(tgid, 0)
	}
	if err == unix.ESRCH {
		return nil, notify.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open pidfd of thread %d: %w", c.TID(), err)
	}
	return sys.NewFD(n), nil
}

// Dir returns an O_PATH descriptor of the directory the caller means by fd;
// AT_FDCWD is its working directory. EBADF and ENOTDIR are as the kernel has
// them.
func (c *Call) Dir(fd int32) (*sys.FD, error) {
	name := "cwd"
	if fd != unix.AT_FDCWD {
		if fd < 0 {
			return nil, unix.EBADF
		}
		name = "fd/" + strconv.Itoa(int(fd))
	}
	f, err := c.openProc(name)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, errors.Join(unix.ENOTDIR, f.Close())
	}
	return f, nil
}

// openProc opens /proc/TID/name with O_PATH, following the link that name is.
func (c *Call) openProc(name string) (*sys.FD, error) {
	var n int
	err := sys.Retry(func() (err error) {
		n, err = unix.Openat(c.Proc().Int(), strconv.Itoa(c.TID())+"/"+name, unix.O_PATH|unix.O_CLOEXEC, 0)
		return
	})
	if err != nil {
		if cerr := c.Check(); cerr != nil {
			return nil, cerr
		}
		switch err {
		case unix.ENOENT:
			err = unix.EBADF
		case unix.EPERM:
			err = unix.EACCES
		}
		return nil, err
	}
	f := sys.NewFD(n)
	if err := c.Check(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
