package procdesc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// Child is a program to start.
type Child struct {
	Path    string   // executed by name, or
	Program *os.File // as what is open
	Args    []string
	Env     []string
	Dir     string     // "" is where we are
	Files   []*os.File // the child's descriptors; nil is a closed one
	Daemon  bool       // the last close does not kill

	Supervised bool // this process has a supervisor

	Setsid  bool
	Setpgid bool
	Pgid    int
	User    *syscall.Credential

	clears bool   // the kernel resets signal handlers as it forks
	starts uint32 // 0 once the program is executed, or was not: the kernel writes it
}

// message is room for a message that brings one descriptor.
type message struct {
	header unix.Msghdr
	iov    unix.Iovec
	data   byte
	_      [7]byte
	cmsg   unix.Cmsghdr
	fd     uint32
	beyond uint32 // of a pair, the other; not sent
}

// newMessage returns a message that is one byte, and one descriptor.
func newMessage() *message {
	m := &message{data: 1}
	m.iov = unix.Iovec{Base: &m.data, Len: 1}
	m.header.Iov, m.header.Iovlen = &m.iov, 1
	m.header.Control = (*byte)(unsafe.Pointer(&m.cmsg))
	m.header.SetControllen(24)
	m.cmsg.Level, m.cmsg.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	m.cmsg.SetLen(unix.CmsgLen(4))
	return m
}

// Start starts a program, and returns its process descriptor, which is closed on exec.
func Start(c *Child) (*sys.FD, error) {
	Sweep()
	c.clears, c.starts = sys.HasClone3(), 1
	here, there, err := pair(c.Supervised)
	if err != nil {
		return nil, err
	}
	defer here.Close()
	child, err := c.steps(here.Int(), there.Int())
	if err != nil {
		return nil, errors.Join(err, there.Close())
	}
	h, err := c.help(child, there.Int())
	if err != nil {
		return nil, errors.Join(err, there.Close())
	}
	pid, err := script.Start(unix.CLONE_VM, &h.seq)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fork: %w", err), there.Close())
	}
	h.keep(pid)
	if err := there.Close(); err != nil {
		return nil, err
	}
	fd, err := c.receive(here.Int())
	runtime.KeepAlive(c)
	if err == nil && fd == nil {
		err = unix.ECHILD
	}
	if err != nil || child.Err() != nil {
		// Who failed first says why.
		for _, s := range []*script.Sequence{&h.seq, child} {
			if serr := s.Err(); serr != nil {
				err = serr
			}
		}
	}
	if err != nil {
		if fd != nil {
			fd.Close()
		}
		return nil, err
	}
	return fd, nil
}

// low is where numbers begin that are in nobody's way.
const low = 10

// pair makes the sockets over which descriptors go.
func pair(supervised bool) (here, there *sys.FD, err error) {
	n, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make sockets: %w", err)
	}
	here, there = sys.NewFD(n[0]), sys.NewFD(n[1])
	if !supervised {
		return here, there, nil
	}
	defer there.Close()
	high, err := unix.FcntlInt(uintptr(n[1]), unix.F_DUPFD_CLOEXEC, stackable)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("get a descriptor above %d: %w", stackable-1, err), here.Close())
	}
	return here, sys.NewFD(high), nil
}

// receive waits until the program is executed, and takes the descriptor, if it came.
func (c *Child) receive(from int) (*sys.FD, error) {
	for atomic.LoadUint32(&c.starts) != 0 {
		sys.WaitWord(&c.starts, 1, 20*time.Millisecond)
		n, _, err := unix.Recvfrom(from, make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_PEEK)
		if n == 0 && err == nil {
			return nil, nil // the helper has ended
		}
	}
	control := make([]byte, 24)
	var m sys.Received
	err := sys.Retry(func() (err error) {
		m, err = sys.RawRecvmsg(from, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return
	})
	switch {
	case err == unix.EAGAIN || err == nil && m.Data == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("receive descriptor: %w", err)
	case m.Control != len(control):
		return nil, fmt.Errorf("receive descriptor: %w", unix.EMFILE)
	}
	return sys.NewFD(int(int32(binary.NativeEndian.Uint32(control[16:])))), nil
}

// steps writes what the child does before it executes the program. here and there are
// the ends of the pair over which the descriptor goes to us, and the other end to the
// helper.
func (c *Child) steps(here, there int) (*script.Sequence, error) {
	s := new(script.Sequence)
	s.Grow(30 + 2*len(c.Files))
	ours, helpers := newMessage(), newMessage()
	self, end := script.NewValue(), script.ValueAt(&ours.beyond)
	const make, die = "make process descriptor", "die with the last descriptor"
	s.Do("tell that it is executed", unix.SYS_SET_TID_ADDRESS, script.ValueAt(&c.starts).Pointer())
	s.Do(make, unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0,
		script.ValueAt(&ours.fd).Pointer())
	s.Do(make, unix.SYS_SHUTDOWN, end, unix.SHUT_RD) // nothing is sent from a descriptor
	// fstat tells that it is one, and the time of the start.
	s.Do(make, unix.SYS_FCHMOD, script.ValueAt(&ours.fd), 0o700)
	s.Do(make, unix.SYS_UTIMENSAT, script.ValueAt(&ours.fd), nil, nil, 0)
	kind := uint32(mark)
	if c.Daemon {
		kind = markDaemon
	}
	if c.Supervised {
		s.Do(make, request.Number, int(request.Pdmark), script.ValueAt(&ours.fd), int(kind-mark))
	} else {
		s.Do(make, unix.SYS_SETSOCKOPT, script.ValueAt(&ours.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, script.Struct(&kind), 4)
	}
	if !c.Daemon {
		s.Do(die, unix.SYS_GETPID).Into(self)
		s.Do(die, unix.SYS_FCNTL, end, unix.F_SETSIG, int(unix.SIGKILL))
		s.Do(die, unix.SYS_FCNTL, end, unix.F_SETOWN, self)
		s.Do(die, unix.SYS_FCNTL, end, unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK|unix.O_ASYNC)
	}
	s.Do(make, unix.SYS_FCNTL, end, unix.F_DUPFD_CLOEXEC, low).Into(script.ValueAt(&helpers.fd))
	s.Do(make, unix.SYS_SENDMSG, here, script.Struct(helpers), unix.MSG_NOSIGNAL)
	s.Do(make, unix.SYS_SENDMSG, there, script.Struct(ours), unix.MSG_NOSIGNAL)
	if err := c.become(s); err != nil {
		return nil, err
	}
	return s, nil
}

// become writes what makes the child what c says.
func (c *Child) become(s *script.Sequence) error {
	first := max(len(c.Files), low)
	program := c.arrange(s, first)
	if c.Setsid {
		s.Do("start session", unix.SYS_SETSID)
	}
	if c.Setpgid {
		s.Do("set process group", unix.SYS_SETPGID, 0, c.Pgid)
	}
	if u := c.User; u != nil {
		if !u.NoSetGroups {
			groups := append(make([]uint32, 0, len(u.Groups)+1), u.Groups...)
			s.Do("set groups", unix.SYS_SETGROUPS, len(u.Groups), script.Struct(&groups[:1][0]))
		}
		s.Do("set group", unix.SYS_SETGID, int(u.Gid))
		s.Do("set user", unix.SYS_SETUID, int(u.Uid))
	}
	if c.Dir != "" {
		s.Do("change directory", unix.SYS_CHDIR, script.String(c.Dir))
	}
	if !c.Daemon {
		// Nobody would kill the child at the last close if its helper died. After what
		// changes the user, which would clear it.
		s.Do("die with the helper", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL), 0, 0, 0)
	}
	restore := s.RestoreSignals
	if c.clears {
		restore = s.RestoreMask
	}
	if err := restore(); err != nil {
		return err
	}
	// Whoever ignores SIGCHLD starts programs that do, too, but for the helper in between.
	ignores, err := sys.Ignores(unix.SIGCHLD)
	if err != nil {
		return err
	}
	if ignores {
		s.Do("ignore children", unix.SYS_RT_SIGACTION, int(unix.SIGCHLD), script.Struct(&[4]uintptr{1}), nil, 8) // SIG_IGN
	}
	args, env := script.Strings(c.Args), script.Strings(c.Env)
	if c.Program != nil {
		s.Do("execute", unix.SYS_EXECVEAT, program, script.String(""), args, env, unix.AT_EMPTY_PATH)
	} else {
		s.Do("execute", unix.SYS_EXECVE, script.String(c.Path), args, env)
	}
	return nil
}

// arrange writes what puts the child's files under their numbers, below first, and
// returns the number of the program, if it is held open.
func (c *Child) arrange(s *script.Sequence, first int) (program script.Value) {
	const what = "arrange descriptors"
	program = script.NewValue()
	if c.Program != nil {
		s.Do(what, unix.SYS_FCNTL, number(c.Program), unix.F_DUPFD_CLOEXEC, first).Into(program)
	}
	// Out of the way first: one's number may be another's place.
	away := make([]script.Value, len(c.Files))
	for i, f := range c.Files {
		if f != nil && number(f) != i {
			away[i] = script.NewValue()
			s.Do(what, unix.SYS_FCNTL, number(f), unix.F_DUPFD_CLOEXEC, first).Into(away[i])
		}
	}
	for i, f := range c.Files {
		switch {
		case f == nil:
			s.Do(what, unix.SYS_CLOSE, i).Forgive(unix.EBADF)
		case number(f) == i:
			s.Do(what, unix.SYS_FCNTL, i, unix.F_SETFD, 0)
		default:
			s.Do(what, unix.SYS_DUP3, away[i], i, 0)
		}
	}
	return program
}

// number returns a file's number, and makes it one that blocks: programs expect that of
// what they are started with.
func number(f *os.File) int { return int(f.Fd()) }
