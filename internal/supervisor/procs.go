package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// maxDepth bounds a walk up the process tree; a cycle of reused ids must end.
const maxDepth = 4096

// members lists the processes of the sandbox at this moment.
func (s *Supervisor) members() []int {
	all, err := sys.NumbersAt(s.cfg.Proc.Int(), ".")
	if err != nil {
		s.cfg.Logf("list processes: %v", err)
		return nil
	}
	var pids []int
	for _, pid := range all {
		if s.lineage(pid) != nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lineage returns pid and its ancestors up to this process, nil when this
// process is not among them. Under the namespaces engine everything but this
// process that has a number is in the sandbox.
func (s *Supervisor) lineage(pid int) []int {
	self := unix.Getpid()
	if pid == self {
		return nil
	}
	var line []int
	for p := pid; len(line) < maxDepth && p > 0; {
		line = append(line, p)
		st, err := s.processStatus(p)
		if err != nil {
			return nil
		}
		if st.ppid == self || s.cfg.Options.Engine == policy.EngineNamespaces {
			return line
		}
		p = st.ppid
	}
	return nil
}

func (s *Supervisor) processStatus(pid int) (*status, error) {
	text, err := readProc(s.cfg.Proc, strconv.Itoa(pid)+"/status")
	if err != nil {
		return nil, err
	}
	return parseStatus(text)
}

// member opens a process, or with PIDFD_THREAD a thread, of the sandbox. It is
// ESRCH for anything else.
//
// The walk reads numbers that may be reused while it goes on. A parent that
// ends hands its children to another, whose number it can never have had at the
// same time: two walks that agree were right in between. The descriptor,
// opened before and alive after, ties the number to one process.
func (s *Supervisor) member(pid int, flags int) (*sys.FD, error) {
	if pid <= 0 {
		return nil, unix.ESRCH
	}
	n, err := unix.PidfdOpen(pid, flags)
	if err != nil {
		return nil, err
	}
	fd := sys.NewFD(n)
	if err := s.confirm(fd, pid); err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	return fd, nil
}

// InSandbox returns ESRCH for a process that is not of the sandbox.
func (c *Call) InSandbox(pid int) error {
	fd, err := c.s.member(pid, 0)
	fd.Close()
	return err
}

// confirm checks that the process fd was opened for by the number pid belongs
// to the sandbox.
func (s *Supervisor) confirm(fd *sys.FD, pid int) error {
	line := s.lineage(pid)
	if line == nil || !slices.Equal(line, s.lineage(pid)) {
		return unix.ESRCH
	}
	// EPERM also says that it is there: this is before credentials are put on.
	if err := unix.PidfdSendSignal(fd.Int(), 0, nil, 0); err != nil && err != unix.EPERM {
		return unix.ESRCH
	}
	return nil
}

// pidOf reads which process a pidfd is for, from the link text of fdinfo.
func (s *Supervisor) pidOf(fd *sys.FD) (int, error) {
	text, err := readProc(s.cfg.Proc, "self/fdinfo/"+strconv.Itoa(fd.Int()))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if v, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
			pid, err := strconv.Atoi(string(bytes.TrimSpace(v)))
			if err != nil || pid <= 0 {
				return 0, unix.ESRCH
			}
			return pid, nil
		}
	}
	return 0, unix.EBADF
}

// processHandlers answers the calls that signal others where the kernel cannot
// keep signals inside the sandbox. The sender a receiver sees is the
// supervisor.
func processHandlers() []answer {
	return []answer{
		{"kill", killCall},
		{"tkill", func(c *Call) Result { return c.signalThread(0, c.Int(0), c.Int(1), 0) }},
		{"tgkill", func(c *Call) Result { return c.signalThread(c.Int(0), c.Int(1), c.Int(2), 0) }},
		{"rt_sigqueueinfo", func(c *Call) Result { return c.queue(c.Int(0), c.Int(1), c.Arg(2)) }},
		{"rt_tgsigqueueinfo", func(c *Call) Result { return c.signalThread(c.Int(0), c.Int(1), c.Int(2), c.Arg(3)) }},
		{"pidfd_send_signal", pidfdSignalCall},
	}
}

// signal sends a signal to a member as the caller.
func (c *Call) signal(fd *sys.FD, sig int32, info *unix.Siginfo) error {
	if sig < 0 || sig > 64 {
		return unix.EINVAL
	}
	return c.As(func() error { return unix.PidfdSendSignal(fd.Int(), unix.Signal(sig), info, 0) })
}

// killCall is kill(2). Groups and "everybody" reach members only; the caller's
// group may have been started outside.
func killCall(c *Call) Result {
	pid, sig := c.Int(0), c.Int(1)
	if pid > 0 {
		fd, err := c.s.member(int(pid), 0)
		if err != nil {
			return Fail(err)
		}
		defer fd.Close()
		return Fail(c.signal(fd, sig, nil))
	}
	in, err := c.group(pid)
	if err != nil {
		return Fail(err)
	}
	return Fail(c.signalAll(sig, in))
}

// group returns the test for the processes that kill means by pid <= 0.
func (c *Call) group(pid int32) (func(int) bool, error) {
	if pid == -1 {
		own, err := c.TGID()
		return func(p int) bool { return p != own }, err
	}
	group := -int(pid)
	if pid == 0 {
		var err error
		if group, err = unix.Getpgid(c.TID()); err != nil {
			return nil, notify.ErrGone
		}
		if err := c.Check(); err != nil {
			return nil, err
		}
	}
	return func(p int) bool {
		g, err := unix.Getpgid(p)
		return err == nil && g == group
	}, nil
}

// signalAll signals each member in the group; success for one is success, as
// for the kernel. Members that start meanwhile are looked for again: a group
// that forks while it is killed must not survive by that.
func (c *Call) signalAll(sig int32, in func(int) bool) error {
	done := make(map[int]bool)
	result := error(unix.ESRCH)
	for range 8 {
		fresh := false
		for _, pid := range c.s.members() {
			if done[pid] || !in(pid) {
				continue
			}
			done[pid], fresh = true, true
			fd, err := c.s.member(pid, 0)
			if err != nil {
				continue
			}
			if !in(pid) { // judged again, now that the number is tied down
				fd.Close()
				continue
			}
			err = c.signal(fd, sig, nil)
			fd.Close()
			if err == nil || result == unix.ESRCH {
				if result != nil {
					result = err
				}
			}
		}
		if !fresh || sig == 0 {
			break
		}
	}
	return result
}

// signalThread is tgkill, tkill (no tgid) and rt_tgsigqueueinfo.
func (c *Call) signalThread(tgid, tid, sig int32, info uint64) Result {
	if tid <= 0 || tgid < 0 {
		return Errno(unix.EINVAL)
	}
	si, err := c.siginfo(info, sig)
	if err != nil {
		return Fail(err)
	}
	fd, err := c.s.member(int(tid), unix.PIDFD_THREAD)
	if err == unix.EINVAL { // before Linux 6.9
		return c.signalOldThread(tgid, tid, sig, si)
	}
	if err != nil {
		return Fail(err)
	}
	defer fd.Close()
	if tgid != 0 {
		st, err := c.s.processStatus(int(tid))
		if err != nil || st.tgid != int(tgid) || c.s.confirm(fd, int(tid)) != nil {
			return Errno(unix.ESRCH)
		}
	}
	return Fail(c.signal(fd, sig, si))
}

// signalOldThread signals a thread by number, which nothing can tie down
// before Linux 6.9; tgkill at least fails once the pair of numbers is not in
// use any more. A thread of the caller's own process is beyond doubt.
func (c *Call) signalOldThread(tgid, tid, sig int32, si *unix.Siginfo) Result {
	own, err := c.TGID()
	if err != nil {
		return Fail(err)
	}
	st, err := c.s.processStatus(int(tid))
	if err != nil || tgid != 0 && st.tgid != int(tgid) {
		return Errno(unix.ESRCH)
	}
	if st.tgid != own {
		fd, err := c.s.member(st.tgid, 0)
		if err != nil {
			return Fail(err)
		}
		defer fd.Close()
		if st.tgid != int(tid) || si != nil {
			return Fail(c.signal(fd, sig, si))
		}
	}
	return Fail(c.As(func() error { return unix.Tgkill(st.tgid, int(tid), unix.Signal(sig)) }))
}

// queue is rt_sigqueueinfo.
func (c *Call) queue(pid, sig int32, info uint64) Result {
	si, err := c.siginfo(info, sig)
	if err != nil {
		return Fail(err)
	}
	fd, err := c.s.member(int(pid), 0)
	if err != nil {
		return Fail(err)
	}
	defer fd.Close()
	return Fail(c.signal(fd, sig, si))
}

const siginfoSize = 128

// siginfo copies the information that goes with a queued signal. Only the codes
// a process may send to others are taken; nil for a null pointer.
func (c *Call) siginfo(addr uint64, sig int32) (*unix.Siginfo, error) {
	if addr == 0 {
		return nil, nil
	}
	raw, err := c.Bytes(addr, siginfoSize)
	if err != nil {
		return nil, err
	}
	code := int32(binary.NativeEndian.Uint32(raw[8:]))
	if code >= 0 || code == siTkill {
		return nil, unix.EPERM
	}
	binary.NativeEndian.PutUint32(raw, uint32(sig))
	return sys.SiginfoFrom([siginfoSize]byte(raw)), nil
}

const siTkill = -6

func pidfdSignalCall(c *Call) Result {
	si, err := c.siginfo(c.Arg(2), c.Int(1))
	if err != nil {
		return Fail(err)
	}
	flags := c.Arg(3)
	if uint32(flags) != 0 {
		// Thread and group scopes are newer than the floor, and programs fall
		// back from EINVAL.
		return Errno(unix.EINVAL)
	}
	fd, err := c.DupFull(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer fd.Close()
	pid, err := c.s.pidOf(fd)
	if err != nil {
		return Fail(err)
	}
	if err := c.s.confirm(fd, pid); err != nil {
		return Fail(err)
	}
	return Fail(c.signal(fd, c.Int(1), si))
}
