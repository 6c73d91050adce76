package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// children are the two processes that the front starts: the supervisor, which
// executes this program again, and the program, which first builds the sandbox
// around itself. Both run prepared steps in the front's memory until they
// execute something.
type children struct {
	supervisor script.Sequence
	program    script.Sequence

	pid    script.Value // of the supervisor, known as soon as it exists
	mapped script.Value // 1 once its user namespace has its identity mapping
	loaded script.Value // 1 once the supervisor runs, if that has to be waited for

	namespaces uintptr // clone flags
	rules      *landlock.Ruleset
	hold       []*os.File // descriptors that the children use
}

// What the steps of the program that have a meaning of their own are called.
const (
	stepExecute = "execute"
	stepCwd     = "enter working directory"
)

// supervisorEnv tunes the supervisor's Go runtime. Its goroutines mostly wait in
// system calls, where each keeps a processor from the others for up to ten
// milliseconds: with plenty of processors nobody notices. Collecting garbage
// starts when the program runs; see [second].
var supervisorEnv = []string{"GOMAXPROCS=16", "GOGC=off"}

// link is the socket over which the program's process hands the supervisor the
// filter's listener, just before it executes the program.
type link struct{ program, supervisor *os.File }

func newLink() (link, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return link{}, fmt.Errorf("create link socket: %w", err)
	}
	return link{os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link")}, nil
}

// prepare writes down everything that will happen between fork and exec.
func prepare(s *setup, ctl int) (*children, error) {
	c := &children{pid: script.NewValue(), mapped: script.NewValue(), loaded: script.NewValue(), namespaces: nsenv.CloneFlags}
	if !s.Net {
		c.namespaces |= unix.CLONE_NEWNET
	}
	f, err := observe()
	if err != nil {
		return nil, err
	}
	s.Held = held(s.FDs)
	s.Filter = filterOptions(s, f)
	if f.abi > 0 {
		if c.rules, err = landlock.New(f.abi); err != nil {
			return nil, err
		}
	}
	l, err := newLink()
	if err != nil {
		return nil, err
	}
	c.hold = append(c.hold, l.program, l.supervisor)
	if err := c.prepareProgram(s, l, ctl); err != nil {
		c.close()
		return nil, err
	}
	if err := c.prepareSupervisor(s, ctl, int(l.supervisor.Fd())); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close lets go of what only the children needed.
func (c *children) close() {
	for _, f := range c.hold {
		f.Close()
	}
	if c.rules != nil {
		c.rules.Close()
	}
}

// prepareSupervisor writes the first child's steps: it forks the program's
// process and becomes the supervisor. Every signal but those that the Go runtime
// needs stays blocked in it for good: a terminal's signals are meant for the
// program, and one sent by the program must not end its own supervisor.
func (c *children) prepareSupervisor(s *setup, ctl, link int) error {
	seq := &c.supervisor
	if s.Engine == policy.EngineNamespaces {
		if os.Geteuid() == 0 {
			seq.Await("wait for the identity mapping", c.mapped)
		} else {
			nsenv.MapSelf(seq, os.Geteuid(), os.Getegid())
		}
	}
	seq.Clone("fork the program", unix.CLONE_VM|uintptr(unix.SIGCHLD), &c.program, script.NewValue())
	// The Go runtime unblocks what would end it, Ctrl-C first of all. A process
	// group of its own keeps a terminal's signals, and what a program or a shell
	// sends to its group, away from the supervisor from its first instruction.
	seq.Do("leave the program's process group", unix.SYS_SETPGID, 0, 0)
	switch {
	case os.Geteuid() == 0:
		if err := dropBounding(seq, "drop the supervisor's privileges", s.Engine, supervising); err != nil {
			return err
		}
	case s.Engine == policy.EngineNamespaces:
		nsenv.KeepCapabilities(seq)
	}
	setupFile, err := s.sealed()
	if err != nil {
		return err
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		setupFile.Close()
		return fmt.Errorf("open own executable: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open null device: %w", err)
	}
	c.hold = append(c.hold, setupFile, exe, null)
	const what = "start the supervisor"
	// The pipes and terminals behind 0, 1 and 2 are the program's alone: whoever
	// reads its output must see the end when it closes it.
	for num := range 3 {
		seq.Do(what, unix.SYS_DUP3, int(null.Fd()), num, 0)
	}
	o := orders{ctl: channel{ctl}, setup: int(setupFile.Fd()), link: link, linger: s.Linger, engine: s.Engine, state: s.State}
	for _, fd := range []int{o.ctl.fd, o.setup, o.link} {
		seq.Do(what, unix.SYS_FCNTL, fd, unix.F_SETFD, 0)
	}
	if err := seq.StayDeaf(); err != nil {
		return err
	}
	seq.Do(what, unix.SYS_EXECVEAT, int(exe.Fd()), script.String(""),
		script.Strings([]string{stageName, o.String()}), script.Strings(supervisorEnv), unix.AT_EMPTY_PATH)
	return nil
}

// prepareProgram writes the second child's steps, in the order in which each is
// still allowed: names, privileges, Landlock, filter, limits, program.
func (c *children) prepareProgram(s *setup, l link, ctl int) error {
	seq := &c.program
	// The supervisor's ends are the supervisor's alone: were they held here, too,
	// nobody would notice that it is gone, and a call that asks would wait for ever.
	for _, fd := range []int{ctl, int(l.supervisor.Fd())} {
		seq.Do("leave the supervisor its sockets", unix.SYS_CLOSE, fd)
	}
	h, handed := new(handover), 1
	if s.Engine == policy.EngineNamespaces {
		for _, in := range s.FDs {
			if in.isDir() {
				nsenv.Directory(seq, in.Num, in.entry())
			}
		}
		// pivot_root changes the root of the supervisor, too. If that needs a
		// loader and libraries, it must not find the sandbox's, which the program
		// may have written.
		if dynamic() {
			seq.Await("wait for the supervisor", c.loaded)
		}
		nsenv.Enter(seq, s.Plan, c.rules, h.procfs())
		handed = 2
		if s.Hostname != "" {
			seq.Do("--hostname "+s.Hostname, unix.SYS_SETHOSTNAME, script.String(s.Hostname), len(s.Hostname))
		}
	} else if err := allowExecution(s.Plan, c.rules); err != nil {
		return err
	}
	if err := dropPrivileges(seq, s.Engine); err != nil {
		return err
	}
	if c.rules != nil {
		if err := allowInherited(c.rules, s.FDs); err != nil {
			return err
		}
		seq.Do("restrict with Landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, c.rules.FD(), 0)
	}
	if err := installFilter(seq, s.Filter, h.listener()); err != nil {
		return err
	}
	h.send(seq, int(l.program.Fd()), handed)
	for _, in := range s.FDs {
		if in.Num > 2 {
			seq.Do("keep descriptor", unix.SYS_FCNTL, in.Num, unix.F_SETFD, 0)
		}
	}
	if err := setLimits(seq, s.Limits); err != nil {
		return err
	}
	if err := seq.RestoreSignals(); err != nil {
		return err
	}
	seq.Do(stepCwd, unix.SYS_CHDIR, script.String(s.Plan.Cwd))
	seq.Do(stepExecute, unix.SYS_EXECVE, script.String(s.Plan.Program.Path),
		script.Strings(s.Plan.Program.Argv), script.Strings(s.Env))
	return nil
}

// dynamic reports whether this executable needs a loader. The one that make
// builds does not; what go build makes where there is a C compiler does.
func dynamic() bool {
	const base = 7 // AT_BASE: where the loader was loaded
	auxv, err := unix.Auxv()
	return err != nil || slices.ContainsFunc(auxv, func(pair [2]uintptr) bool { return pair[0] == base && pair[1] != 0 })
}

// entry describes an inherited directory as a mount.
func (i inherited) entry() *plan.Entry {
	set := accessRights[unix.O_RDWR]
	if i.Rights != nil {
		set = *i.Rights
	}
	return &plan.Entry{Source: i.Path, ID: i.ID, Kind: plan.Dir, Rights: set}
}

// installFilter adds the installing of the filter for o, whose listener becomes
// known as listener.
func installFilter(seq *script.Sequence, o syscalls.Options, listener script.Value) error {
	prog, err := syscalls.Compile(sysno.Native, o)
	if err != nil {
		return fmt.Errorf("compile filter: %w", err)
	}
	flags, err := sys.ListenerFlags()
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		filter[i] = unix.SockFilter(in)
	}
	fprog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	seq.Do("install the system call filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		flags, script.Struct(fprog)).Into(listener)
	return nil
}

// handover is the one message on the link: the program's pid, with the listener
// and, under the namespaces engine, the sandbox's procfs. Earlier steps leave
// their results in it.
type handover struct {
	header  unix.Msghdr
	iov     unix.Iovec
	pid     uint32
	control struct {
		header unix.Cmsghdr
		fds    [2]uint32
	}
}

// supervised is the supervisor's answer to the handover.
const supervised = 1

func (h *handover) listener() script.Value { return script.ValueAt(&h.control.fds[0]) }
func (h *handover) procfs() script.Value   { return script.ValueAt(&h.control.fds[1]) }

// send adds the sending of the message, with the first fds descriptors.
func (h *handover) send(seq *script.Sequence, link, fds int) {
	const what = "hand the filter to the supervisor"
	seq.Do(what, unix.SYS_GETPID).Into(script.ValueAt(&h.pid))
	h.iov.Base = (*byte)(unsafe.Pointer(&h.pid))
	h.iov.SetLen(4)
	h.header.Iov, h.header.Iovlen = &h.iov, 1
	h.control.header.Level, h.control.header.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.control.header.SetLen(unix.CmsgLen(4 * fds))
	h.header.Control = (*byte)(unsafe.Pointer(&h.control))
	h.header.SetControllen(unix.CmsgSpace(4 * fds))
	seq.Do(what, unix.SYS_SENDMSG, link, script.Struct(h), unix.MSG_NOSIGNAL)
	// Until it has made itself unreadable the supervisor would be an open book to
	// a program of the same user. Its answer is one byte; an end of file is none.
	answer := new(uint64)
	seq.Do(what, unix.SYS_RECVFROM, link, script.Struct(answer), 1, 0, nil, nil)
	seq.Equal(what, answer, supervised, unix.EPIPE)
	seq.Do(what, unix.SYS_CLOSE, h.listener())
}

// start forks the supervisor, and returns when it runs.
func (c *children) start(engine policy.Engine) (int, error) {
	flags := unix.CLONE_VM | unix.CLONE_VFORK | uintptr(unix.SIGCHLD)
	if engine != policy.EngineNamespaces {
		return script.Start(flags, &c.supervisor, c.pid)
	}
	// The fork keeps a processor of the runtime until the supervisor executes,
	// and the mapping that it waits for needs another.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	over, mapErr := make(chan struct{}), make(chan error, 1)
	go func() { mapErr <- c.mapIdentity(over) }()
	pid, err := script.Start(flags|c.namespaces, &c.supervisor, c.pid)
	close(over)
	return pid, errors.Join(err, <-mapErr)
}

// mapIdentity writes root's identity mapping from outside while the supervisor
// waits for it.
func (c *children) mapIdentity(over <-chan struct{}) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for {
		if pid := int(c.pid.Load()); pid != 0 {
			if err := nsenv.MapAll(pid); err != nil {
				return errors.Join(err, unix.Kill(pid, unix.SIGKILL))
			}
			c.mapped.Store(1)
			return nil
		}
		select {
		case <-over:
			return nil // there was no child
		case <-time.After(20 * time.Microsecond):
		}
	}
}
