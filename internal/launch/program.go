package launch

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// What the steps of the program that have a meaning of their own are called.
const (
	stepExecute = "execute"
	stepCwd     = "enter working directory"
)

// prepareProgram writes the second child's steps, in the order in which each is
// still allowed: names, privileges, Landlock, filter, limits, program.
func (c *children) prepareProgram(s *setup) error {
	seq := &c.program
	// Init's ends are init's alone: were they held here, too, nobody would notice
	// that it is gone, and a call that asks would wait for ever.
	for _, fd := range []int{c.ctl, c.link.init.Int()} {
		seq.Do("leave init its sockets", unix.SYS_CLOSE, fd)
	}
	handed := 1
	if s.Engine == policy.EngineNamespaces {
		handed = 2 // with the procfs
	}
	m := newMessage(make([]byte, 1), handed)
	if s.Engine == policy.EngineNamespaces {
		for _, in := range s.FDs {
			if in.isDir() {
				nsenv.Directory(seq, in.Num, in.entry())
			}
		}
		nsenv.Enter(seq, s.Plan, c.rules, m.fd(1))
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
	if err := c.installFilter(seq, m.fd(0)); err != nil {
		return err
	}
	handOver(seq, c.link.program.Int(), m)
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

// installFilter adds the installing of the filter, whose listener becomes known
// as listener. The front generates the filter while the steps before this one
// run, and then lets go on; see [children.finish].
func (c *children) installFilter(seq *script.Sequence, listener script.Value) error {
	const what = "install the system call filter"
	flags, err := sys.ListenerFlags()
	if err != nil {
		return err
	}
	n := new(uint64)
	seq.Do(what, unix.SYS_READ, c.filterReady.Int(), script.Struct(new(uint64)), 1).Into(low(n))
	seq.Equal(what, n, 1, unix.EPIPE)
	seq.Do(what, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, script.Struct(&c.filter)).Into(listener)
	return nil
}
