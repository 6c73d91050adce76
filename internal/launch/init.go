package launch

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
)

// supervisorEnv tunes the supervisor's Go runtime. Its goroutines mostly wait in
// system calls, where each keeps a processor from the others for up to ten
// milliseconds: with plenty of processors nobody notices. Collecting garbage
// starts when it is ready to answer; see [sandbox.serve].
var supervisorEnv = []string{"GOMAXPROCS=16", "GOGC=off"}

// prepareInit writes the first child's steps. It forks the program's process,
// takes over the filter's listener, and waits. A program that ends without
// having asked anything needs no supervisor; at the first question, and at
// whatever else happens, init executes this program again to be one. Every
// signal but those that the Go runtime needs is blocked in it for good: a
// terminal's signals are meant for the program, and one sent by the program must
// not end its own supervisor.
func (c *children) prepareInit(linger bool, slack int) error {
	seq := &c.init
	exe, err := c.openFile("/proc/self/exe", unix.O_RDONLY)
	if err != nil {
		return err
	}
	null, err := c.openFile(os.DevNull, unix.O_RDWR)
	if err != nil {
		return err
	}

	// The thread that forks may be one that the runtime's monitor has started.
	seq.Do("keep the timer slack", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, slack, 0, 0, 0)
	// An end of file is the front's death, for init and for the program's process.
	for _, fd := range []int{c.front.fd, c.cues.lifeline.Int()} {
		seq.Do("leave the front its sockets", unix.SYS_CLOSE, fd)
	}
	switch {
	case mappedByFront(c.engine):
		c.cues.await(seq, "wait for the identity mapping")
	case c.engine == policy.EngineNamespaces:
		nsenv.MapSelf(seq, os.Geteuid(), os.Getegid())
	}
	// What the program leaves behind comes to init, also without a pid namespace.
	seq.Do("become child subreaper", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	if c.engine == policy.EngineNamespaces {
		seq.Do(stepNamespaces, unix.SYS_UNSHARE, nsenv.UnshareFlags)
	}
	ns := script.NewValue()
	if c.ownNetwork {
		seq.Do(stepNamespaces, unix.SYS_OPENAT, unix.AT_FDCWD, script.String("/proc/self/ns"), unix.O_PATH|unix.O_CLOEXEC, 0).Into(ns)
	}
	seq.Clone("fork the program", unix.CLONE_VM|uintptr(unix.SIGCHLD), &c.first, c.pid)
	if c.ownNetwork {
		c.makeNetwork(ns)
	}
	o := orders{ctl: c.ctl, setup: c.setup.Int(), listener: c.link.init, procfs: null.Int()}
	if c.rules != nil {
		o.rules = c.rules.FD()
	}
	c.detach(o, exe.Int())
	c.takeOver(o)
	c.announce()
	c.await(linger, o.listener)
	return c.supervise(o, exe.Int())
}

// detach adds what makes init let go of everything that is the program's: whoever
// reads the program's output must see the end when it closes it. A process group
// of its own keeps a terminal's signals, and what a program or a shell sends to
// its group, away: the Go runtime unblocks what would end it.
func (c *children) detach(o orders, exe int) {
	const what = "leave the program's process group and files"
	c.init.Do(what, unix.SYS_SETPGID, 0, 0)
	for num := range 3 {
		c.init.Do(what, unix.SYS_DUP3, o.procfs, num, 0) // still the null device
	}
	// No number that will be given a meaning may be free: a descriptor that is
	// received could get it by chance.
	keep := []int{o.ctl.fd, o.setup, o.listener, o.procfs, exe}
	if o.rules != 0 {
		keep = append(keep, o.rules)
	}
	slices.Sort(keep)
	first := 3
	for _, fd := range keep {
		if fd > first {
			c.init.Do(what, unix.SYS_CLOSE_RANGE, first, fd-1, 0)
		}
		first = fd + 1
	}
	c.init.Do(what, unix.SYS_CLOSE_RANGE, first, int(^uint32(0)), 0)
}

// announce adds the telling of the front that the program runs, with a pidfd of
// it, and the wait until the front knows its pid: a process that was collected
// has none.
func (c *children) announce() {
	const what = "report the start"
	m := newMessage(report{Kind: reportStarted}.encode(), 1)
	c.init.Do(what, unix.SYS_PIDFD_OPEN, c.pid, 0).Into(m.fd(0))
	c.init.Do(what, unix.SYS_SENDMSG, c.ctl.fd, script.Struct(m), unix.MSG_NOSIGNAL)
	c.init.Do(what, unix.SYS_CLOSE, m.fd(0))
	awaitByte(&c.init, what, c.ctl.fd)
}

// await adds the wait for the first question, for anything that happens to a
// child, and for the front's death. The end of the program is the end of the
// sandbox, unless that lingers: init goes, and leaves the status where the front
// reads it.
func (c *children) await(linger bool, listener int) {
	const what = "wait for the program"
	seq := &c.init
	chld := uint64(1) << (unix.SIGCHLD - 1)
	poll := &[3]unix.PollFd{{Events: unix.POLLIN}, {Fd: int32(c.ctl.fd)}, {Fd: int32(listener), Events: unix.POLLIN}}
	signals := script.ValueAt((*uint32)(unsafe.Pointer(&poll[0].Fd)))
	questions := script.ValueAt((*uint32)(unsafe.Pointer(&poll[2].Events))) // and Revents, its upper half
	seq.Do(what, unix.SYS_SIGNALFD4, -1, script.Struct(&chld), 8, unix.SFD_CLOEXEC).Into(signals)
	seq.Do(what, unix.SYS_PPOLL, script.Struct(poll), 3, nil, nil, 0).Forgive(unix.EINTR)
	if linger {
		return
	}
	// A process that ends lets go of its filter first. When nobody is left who
	// could ask, the program's end is near.
	seq.SkipUnless(questions, unix.POLLHUP<<16, 1)
	seq.Do(what, unix.SYS_PPOLL, script.Struct(poll), 2, nil, nil, 0).Forgive(unix.EINTR)
	seq.Do(what, unix.SYS_WAIT4, c.pid, c.status.Pointer(), unix.WNOHANG, nil).Into(c.ended)
	seq.SkipUnless(c.ended, ^uint32(0), 1)
	seq.Do(what, unix.SYS_EXIT_GROUP, 0)
}

// supervise adds the last steps: init executes this program as supervisor. That
// is no open book to the program either while it starts: it has capabilities
// that the program has not, or there is Landlock.
func (c *children) supervise(o orders, exe int) error {
	const what = "start the supervisor"
	seq := &c.init
	awaitByte(seq, "wait for the supervisor's setup", o.ctl.fd)
	switch {
	case os.Geteuid() == 0:
		if err := dropBounding(seq, "drop the supervisor's privileges", c.engine, supervising); err != nil {
			return err
		}
	case c.engine == policy.EngineNamespaces:
		nsenv.KeepCapabilities(seq)
	}
	seq.Do(what, unix.SYS_PWRITE64, o.setup, c.pid.Pointer(), pidSize, 0)
	for _, fd := range []int{o.ctl.fd, o.setup} {
		seq.Do(what, unix.SYS_FCNTL, fd, unix.F_SETFD, 0)
	}
	if o.rules != 0 {
		seq.SkipUnless(c.numbers, 1, 1)
		seq.Do(what, unix.SYS_FCNTL, o.rules, unix.F_SETFD, 0)
	}
	if err := seq.StayDeaf(); err != nil {
		return err
	}
	seq.Do(what, unix.SYS_EXECVEAT, exe, script.String(""),
		script.Strings([]string{stageName, o.String()}), script.Strings(supervisorEnv), unix.AT_EMPTY_PATH)
	return nil
}
