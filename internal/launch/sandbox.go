package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// sandbox is stage two's view of what it built.
type sandbox struct {
	setup  *setup
	engine engine
	facts  facts
	rules  *landlock.Ruleset // nil without Landlock
	null   *os.File
	pid    int // the program, 0 until it runs

	lingering atomic.Bool // the program has ended, and its orphans may go on
}

// engine is the seam between what makes names disappear and everything else.
type engine interface {
	// enter makes the names of the plan the only ones for what is started later.
	// It adds to rules, nil without Landlock, what it leaves to the kernel.
	enter(s *setup, rules *landlock.Ruleset) error
	// supervise completes the supervisor's configuration.
	supervise(c *supervisor.Config, s *setup) error
	// directory returns a descriptor of an inherited directory that does not
	// lead out of the sandbox.
	directory(in inherited) (*os.File, error)
	// destroy ends every process of the sandbox but the caller.
	destroy()
}

var engines = map[policy.Engine]func() engine{
	policy.EngineNamespaces: func() engine { return &namespaces{} },
	policy.EngineLandlock:   func() engine { return &floor{} },
}

// build makes the sandbox around the calling process, up to but not including
// what confines the program's own thread.
func build(s *setup) (*sandbox, error) {
	mk, ok := engines[s.Engine]
	if !ok {
		return nil, fmt.Errorf("unknown engine %q", s.Engine)
	}
	sb := &sandbox{setup: s, engine: mk(), facts: observe()}
	var err error
	if sb.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("open null device: %w", err)
	}
	if err := sb.directories(); err != nil {
		return nil, err
	}
	if sb.facts.abi > 0 {
		if sb.rules, err = landlock.New(sb.facts.abi); err != nil {
			return nil, err
		}
	}
	if err := sb.engine.enter(s, sb.rules); err != nil {
		return nil, err
	}
	if s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return nil, fmt.Errorf("--hostname %s: %w", s.Hostname, err)
		}
	}
	return sb, nil
}

// directories replaces each inherited directory by one that does not lead out:
// ".." from a bare directory descriptor would walk the host's tree.
func (sb *sandbox) directories() error {
	for _, in := range sb.setup.FDs {
		if !in.isDir() {
			continue
		}
		f, err := sb.engine.directory(in)
		if err != nil {
			return fmt.Errorf("--fd %d: %w", in.Num, err)
		}
		err = unix.Dup3(int(f.Fd()), in.Num, 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("--fd %d: replace descriptor: %w", in.Num, err)
		}
	}
	return nil
}

// start confines a thread, starts the program from it, and reports that it runs.
func (sb *sandbox) start(ctl channel) error {
	thread := make(chan started, 1)
	listening := make(chan *sys.FD, 1)
	serving := make(chan error, 1)
	go sb.confine(listening, serving, thread)

	select {
	case r := <-thread: // refused before there was a filter
		return r.err
	case fd := <-listening:
		serving <- sb.serve(fd)
	}
	r := <-thread
	if r.err != nil {
		return r.err
	}
	sb.pid = r.pid
	pidfd, err := unix.PidfdOpen(r.pid, 0)
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("open pidfd of the program: %w", err)
	}
	// The pipes and terminals behind 0, 1 and 2 are the program's alone from
	// here on: whoever reads its output must see the end when it closes it.
	if err := sb.letGo(); err != nil {
		return err
	}
	err = ctl.send(report{Kind: reportStarted}, pidfd)
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
	if err != nil {
		return fmt.Errorf("report start: %w", err)
	}
	return nil
}

// started is what became of the attempt to start the program.
type started struct {
	pid int
	err error
}

// confine runs on a thread of its own, which never leaves the sandbox: it takes
// on every restriction and then forks the program, which inherits them. The
// thread stays, idle, so that the program's parent does not appear to exit.
func (sb *sandbox) confine(listening chan<- *sys.FD, serving <-chan error, done chan<- started) {
	runtime.LockOSThread()
	listener, err := sb.restrict()
	if err == nil {
		listening <- listener
		err = <-serving
	}
	if err != nil {
		done <- started{err: err}
		select {}
	}
	pid, err := sb.exec()
	done <- started{pid, err}
	select {}
}

// restrict confines the calling thread, in the order in which each step is
// still allowed: privileges first, the filter last.
func (sb *sandbox) restrict() (*sys.FD, error) {
	if err := dropPrivileges(); err != nil {
		return nil, err
	}
	if sb.rules != nil {
		if err := allowInherited(sb.rules, sb.setup.FDs); err != nil {
			return nil, err
		}
		if err := sb.rules.Restrict(); err != nil {
			return nil, err
		}
		sb.rules.Close()
	}
	return installFilter(filterOptions(sb.setup.Plan, sb.setup.Engine, sb.setup.Net, sb.facts))
}

// allowInherited lets the program open again, through /dev/stdin and
// /proc/self/fd, what it already holds, with no more than it holds.
func allowInherited(rules *landlock.Ruleset, fds []inherited) error {
	for _, in := range fds {
		switch in.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFDIR:
		default:
			continue // pipes and sockets have no place in a file hierarchy
		}
		set, known := accessRights[in.Flags&unix.O_ACCMODE]
		if !known {
			continue
		}
		if in.isDir() && in.Rights != nil {
			set = *in.Rights
		}
		access := landlock.ForRights(set)
		if in.Mode&unix.S_IFMT == unix.S_IFCHR {
			access |= landlock.IoctlDev
		}
		// A descriptor Landlock cannot tie to a path needs no rule either.
		if err := rules.Allow(in.Num, in.isDir(), access); err != nil && !errors.Is(err, unix.EBADFD) {
			return fmt.Errorf("descriptor %d: %w", in.Num, err)
		}
	}
	return nil
}

// serve starts answering the filter's questions.
func (sb *sandbox) serve(listener *sys.FD) error {
	cfg := supervisor.Config{
		Plan:    sb.setup.Plan,
		Options: filterOptions(sb.setup.Plan, sb.setup.Engine, sb.setup.Net, sb.facts),
	}
	if err := sb.engine.supervise(&cfg, sb.setup); err != nil {
		return err
	}
	sup, err := supervisor.New(cfg)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	l, err := notify.NewListener(listener)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	go func() {
		// Without answers the program would hang in its next asking call.
		if err := sup.Serve(l); err != nil {
			sb.destroy()
			unix.Exit(exitRefused)
		}
	}()
	return nil
}

// exec starts the program from the calling thread.
func (sb *sandbox) exec() (int, error) {
	prog := sb.setup.Plan.Program
	attr := &syscall.ProcAttr{Dir: sb.setup.Plan.Cwd, Env: sb.setup.Env, Files: table(sb.setup.FDs), Sys: &syscall.SysProcAttr{}}
	limited := len(sb.setup.Limits) > 0
	attr.Sys.Ptrace = limited // stops it at its first instruction
	pid, err := syscall.ForkExec(prog.Path, prog.Argv, attr)
	if err != nil {
		return 0, cannotExecute(prog.Path, err)
	}
	if limited {
		if err := limitStopped(pid, sb.setup.Limits); err != nil {
			return 0, err
		}
	}
	return pid, nil
}

// cannotExecute gives an exec error the status that a shell would give it.
func cannotExecute(path string, err error) error {
	r := &Refused{Exit: exitCannotExecute, Message: fmt.Sprintf("%s: %v", path, err), Errno: errnoOf(err)}
	if r.Errno == unix.ENOENT {
		r.Exit = exitNotFound
		r.Message += " (the program, or the interpreter that it names)"
	}
	return r
}

// letGo points our own 0, 1 and 2 and every descriptor kept for the program at
// the null device.
func (sb *sandbox) letGo() error {
	for _, in := range sb.setup.FDs {
		if err := unix.Dup3(int(sb.null.Fd()), in.Num, unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("let go of descriptor %d: %w", in.Num, err)
		}
	}
	return nil
}

// installFilter puts the filter for o on the calling thread and returns its
// listener.
func installFilter(o syscalls.Options) (*sys.FD, error) {
	prog, err := syscalls.Compile(sysno.Native, o)
	if err != nil {
		return nil, fmt.Errorf("compile filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		filter[i] = unix.SockFilter(in)
	}
	installed, err := sys.InstallFilter(filter, true)
	if err != nil {
		return nil, fmt.Errorf("install filter: %w", err)
	}
	return installed.Listener, nil
}

// destroy ends every process of the sandbox but this one.
func (sb *sandbox) destroy() { sb.engine.destroy() }
