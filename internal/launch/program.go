package launch

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// What steps that have a meaning of their own are called.
const (
	stepExecute = "execute"
	stepCwd     = "enter working directory"

	stepNamespaces = "make namespaces"
)

// prepareFirst writes the second child's first steps, for which the policy is
// enough: it makes ready what every sandbox has, and waits for the plan.
func (c *children) prepareFirst(fds []inherited) {
	seq := &c.first
	// Init's ends are init's alone: were they held here, too, nobody would notice
	// that it is gone, and a call that asks would wait for ever.
	for _, fd := range []int{c.ctl.fd, c.link.init} {
		seq.Do("leave init its sockets", unix.SYS_CLOSE, fd)
	}
	c.handed = newMessage(make([]byte, 1), 1)
	if c.engine == policy.EngineNamespaces {
		c.handed = newMessage(make([]byte, 1), 2) // with the procfs
		for _, in := range fds {
			if in.isDir() {
				nsenv.Directory(seq, in.Num, in.entry())
			}
		}
		c.root = nsenv.Begin(seq, c.rules, c.handed.fd(1))
	}
	c.cues.await(seq, "wait for the plan")
}

// prepareProgram writes the steps that the plan adds, in the order in which each
// is still allowed: names, privileges, Landlock, filter, limits, program.
func (c *children) prepareProgram(s *setup) error {
	seq := &c.program
	if c.engine == policy.EngineNamespaces {
		c.root.Enter(seq, s.Plan)
		if c.ownNetwork {
			c.joinNetwork()
		}
		if s.Hostname != "" {
			seq.Do("--hostname "+s.Hostname, unix.SYS_SETHOSTNAME, script.String(s.Hostname), len(s.Hostname))
		}
	} else if err := allowExecution(s.Plan, c.rules); err != nil {
		return err
	}
	if err := dropPrivileges(seq, c.engine); err != nil {
		return err
	}
	if c.rules != nil {
		if err := allowInherited(c.rules, s.FDs); err != nil {
			return err
		}
		seq.Do("restrict with Landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, c.rules.FD(), 0)
	}
	if err := c.installFilter(seq); err != nil {
		return err
	}
	if s.Library {
		handOverNumbers(seq, c.link.program, c.handed)
	} else {
		handOver(seq, c.link.program, c.handed)
	}
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

// entry describes an inherited directory as a mount.
func (i inherited) entry() *plan.Entry {
	set := accessRights[unix.O_RDWR]
	if i.Rights != nil {
		set = *i.Rights
	}
	return &plan.Entry{Source: i.Path, ID: i.ID, Kind: plan.Dir, Rights: set}
}

// installFilter adds the installing of the filter, which the front generates
// while the steps before are at work; see [children.plan].
func (c *children) installFilter(seq *script.Sequence) error {
	flags, err := sys.ListenerFlags()
	if err != nil {
		return err
	}
	seq.Do("install the system call filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		script.Struct(&c.filter)).Into(c.handed.fd(0))
	return nil
}
