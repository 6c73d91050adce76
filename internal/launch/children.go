package launch

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// children are the two processes that the front starts: the sandbox's init,
// which becomes the supervisor when there is something to supervise, and the
// program, which first builds the sandbox around itself. Both run prepared steps
// in the front's memory until they execute something.
type children struct {
	init    script.Sequence
	first   script.Sequence // the program's steps that need no plan
	program script.Sequence // and those that do

	initPID int          // 0 once collected
	pid     script.Value // the program's, as init has it
	numbers script.Value // not 0: init copies what the program's process hands over
	ended   script.Value // not 0: init has seen the program end, and it is all over
	status  script.Value // its wait status then

	engine     policy.Engine
	ownNetwork bool    // it gets a network namespace
	front, ctl channel // the control socket's ends: the front's, and init's
	link       link
	cues       cues
	setup      *sys.FD
	rules      *landlock.Ruleset
	root       *nsenv.Root
	handed     *message
	filter     unix.SockFprog
	hold       []*sys.FD // descriptors that the children use

	strangers []int // children that the front had before
}

// newChildren makes them ready to start.
func newChildren(p *policy.Policy, engine policy.Engine, fds []inherited, slack int) (c *children, err error) {
	c = &children{engine: engine, ownNetwork: engine == policy.EngineNamespaces && !p.Net,
		front: channel{-1}, ctl: channel{-1}, pid: script.NewValue(), ended: script.NewValue(), status: script.NewValue(),
		numbers: script.NewValue()}
	defer func() {
		if err != nil {
			c.let()
			c.kill()
		}
	}()
	if err := c.open(); err != nil {
		return c, err
	}
	if engine == policy.EngineLandlock {
		// What the supervisor leaves behind when it is killed comes to us.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return c, fmt.Errorf("become child subreaper: %w", err)
		}
		c.strangers = childrenOf(os.Getpid())
	}
	c.prepareFirst(fds)
	return c, c.prepareInit(p.Linger, slack)
}

// open opens everything that both sides hold.
func (c *children) open() (err error) {
	f, err := observe()
	if err != nil {
		return err
	}
	if f.abi > 0 {
		if c.rules, err = landlock.New(f.abi); err != nil {
			return err
		}
	}
	if c.front, c.ctl, err = newChannel(); err != nil {
		return err
	}
	if err := c.openLink(); err != nil {
		return err
	}
	if err := c.openCues(); err != nil {
		return err
	}
	if c.setup, err = newSetupFile(); err != nil {
		return err
	}
	return nil
}

// openFile opens a file of the host for the children.
func (c *children) openFile(name string, flags int) (*sys.FD, error) {
	n, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	fd := sys.NewFD(n)
	c.hold = append(c.hold, fd)
	return fd, nil
}

// start forks the sandbox's init, which forks the program, as far as both get
// without a plan.
func (c *children) start() (err error) {
	defer c.let()
	flags := unix.CLONE_VM | uintptr(unix.SIGCHLD)
	if c.engine == policy.EngineNamespaces {
		flags |= nsenv.BirthFlags
	}
	if c.initPID, err = script.Start(flags, &c.init); err != nil {
		return notStarted(err, c.engine)
	}
	if mappedByFront(c.engine) {
		if err = nsenv.MapAll(c.initPID); err == nil {
			err = c.cues.give()
		}
	}
	return err
}

// mappedByFront reports whether init's user namespace gets its mapping from
// outside: only root may map more than itself, and only from there.
func mappedByFront(e policy.Engine) bool { return e == policy.EngineNamespaces && os.Geteuid() == 0 }

// plan prepares what depends on the plan: the rest of the program's steps, and
// its filter.
func (c *children) plan(s *setup) error {
	f, err := observe()
	if err != nil {
		return err
	}
	s.Held = held(s.FDs)
	if s.Library = s.Library && c.linkPasses(); s.Library {
		c.numbers.Store(1)
	}
	s.Filter = filterOptions(s, f)
	if err := c.prepareProgram(s); err != nil {
		return err
	}
	prog, err := syscalls.Compile(sysno.Native, s.Filter)
	if err != nil {
		return fmt.Errorf("compile filter: %w", err)
	}
	c.filter = unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	return nil
}

// goOn lets the program's process go on with what was planned.
func (c *children) goOn() error {
	c.first.Then(&c.program)
	return c.cues.give()
}

// let lets go of what only the children needed.
func (c *children) let() {
	for _, fd := range c.hold {
		fd.Close()
	}
	c.ctl.close()
}

// kill ends what is still there of the sandbox, and lets go of it.
func (c *children) kill() {
	if c.initPID != 0 {
		_ = unix.Kill(c.initPID, unix.SIGKILL)
		_ = c.wait()
		c.killLeft()
	}
	for _, fd := range []*sys.FD{c.cues.given, c.cues.lifeline, c.setup} {
		fd.Close()
	}
	c.front.close()
	if c.rules != nil {
		c.rules.Close()
	}
}

// killLeft ends what init left behind. A pid namespace ends with its init.
func (c *children) killLeft() {
	if c.engine == policy.EngineLandlock {
		killDescendants(c.strangers)
	}
}

// wait collects init.
func (c *children) wait() unix.WaitStatus {
	var status unix.WaitStatus
	_ = sys.Retry(func() error { // ECHILD: collected already
		_, err := unix.Wait4(c.initPID, &status, 0, nil)
		return err
	})
	c.initPID = 0
	return status
}

// disown leaves init, and what it supervises, to themselves.
func (c *children) disown() { c.initPID = 0 }
