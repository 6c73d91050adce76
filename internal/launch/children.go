package launch

import (
	"errors"
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
	program script.Sequence

	pid    script.Value // the program's, as init has it
	ended  script.Value // not 0: init has seen the program end, and it is all over
	status script.Value // its wait status then

	front, ctl              int // the control socket's ends: the front's, and init's
	link                    link
	setup                   *sys.FD
	filter                  unix.SockFprog
	filterReady, tellFilter *sys.FD // a pipe: a byte in it says that filter is filled in
	rules                   *landlock.Ruleset
	hold                    []*sys.FD // descriptors that the children use
}

// prepare writes down everything that will happen between fork and exec.
func prepare(s *setup, front, ctl int) (c *children, err error) {
	c = &children{pid: script.NewValue(), ended: script.NewValue(), status: script.NewValue(), front: front, ctl: ctl}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	f, err := observe()
	if err != nil {
		return c, err
	}
	s.Held = held(s.FDs)
	s.Filter = filterOptions(s, f)
	if f.abi > 0 {
		if c.rules, err = landlock.New(f.abi); err != nil {
			return c, err
		}
	}
	if c.link, err = newLink(); err != nil {
		return c, err
	}
	c.hold = append(c.hold, c.link.program, c.link.init)
	if c.setup, err = newSetupFile(); err != nil {
		return c, err
	}
	c.hold = append(c.hold, c.setup)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return c, fmt.Errorf("create pipe: %w", err)
	}
	c.filterReady, c.tellFilter = sys.NewFD(pipe[0]), sys.NewFD(pipe[1])
	c.hold = append(c.hold, c.filterReady, c.tellFilter)
	if err := c.prepareProgram(s); err != nil {
		return c, err
	}
	return c, c.prepareInit(s)
}

// open opens a file of the host for the children.
func (c *children) open(name string, flags int) (*sys.FD, error) {
	n, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	fd := sys.NewFD(n)
	c.hold = append(c.hold, fd)
	return fd, nil
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

// start forks the sandbox's init.
func (c *children) start(s *setup) (pid int, err error) {
	flags := unix.CLONE_VM | uintptr(unix.SIGCHLD)
	if s.Engine == policy.EngineNamespaces {
		flags |= nsenv.CloneFlags
		if !s.Net {
			flags |= unix.CLONE_NEWNET
		}
	}
	if pid, err = script.Start(flags, &c.init); err != nil {
		return 0, notStarted(err, s.Engine)
	}
	if err = c.finish(pid, s); err != nil {
		err = errors.Join(fmt.Errorf("start the sandbox: %w", err), unix.Kill(pid, unix.SIGKILL))
		_ = sys.Retry(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
		return 0, err
	}
	return pid, nil
}

// finish does, while the children are at work, what they need later: init its
// identity mapping, the program its filter, and the supervisor, should there be
// one, the setup.
func (c *children) finish(pid int, s *setup) error {
	if mappedByFront(s.Engine) {
		if err := nsenv.MapAll(pid); err != nil {
			return err
		}
		if err := (channel{c.front}).send(report{Kind: reportMapped}, -1); err != nil {
			return err
		}
	}
	prog, err := syscalls.Compile(sysno.Native, s.Filter)
	if err != nil {
		return fmt.Errorf("compile filter: %w", err)
	}
	code := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		code[i] = unix.SockFilter(in)
	}
	c.filter = unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, err := unix.Write(c.tellFilter.Int(), []byte{1}); err != nil {
		return fmt.Errorf("hand over the filter: %w", err)
	}
	return s.write(c.setup)
}

// mappedByFront reports whether init's user namespace gets its mapping from
// outside: only root may map more than itself, and only from there.
func mappedByFront(e policy.Engine) bool { return e == policy.EngineNamespaces && os.Geteuid() == 0 }
