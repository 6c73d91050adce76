package capmode

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/rights"
)

// processAnswers answers the calls that make processes, turn them into other
// programs, and signal them.
func (w *Warden) processAnswers() []answer {
	return []answer{
		{[]string{"fork", "vfork"}, func(c *call) supervisor.Result { return c.fork(false) }},
		{[]string{"clone"}, func(c *call) supervisor.Result { return c.fork(c.Arg(0)&unix.CLONE_FILES != 0) }},
		{[]string{"execve"}, func(c *call) supervisor.Result { return c.execute(none, filecaps.Full()) }},
		{[]string{"execveat"}, executeAt},
		{[]string{"kill", "rt_sigqueueinfo", "tgkill", "rt_tgsigqueueinfo", "pidfd_open", "getpgid", "getsid"}, onSelf},
		{[]string{"tkill", "prlimit64", "sched_setparam", "sched_getparam", "sched_setscheduler", "sched_getscheduler", "sched_setattr",
			"sched_getattr", "sched_setaffinity", "sched_getaffinity", "sched_rr_get_interval", "get_robust_list"}, onOwnThread},
		{[]string{"prctl"}, onSupervisor},
		{[]string{"capget"}, capabilitiesOf},
	}
}

const whoAsks = "only registers were looked at, and who asks"

// onSelf lets a process in capability mode act only on itself.
func onSelf(c *call) supervisor.Result {
	if c.p.table.Mode() && !c.isSelf(c.Int(0)) {
		return supervisor.Errno(eCapMode)
	}
	return supervisor.Continue(whoAsks)
}

// onOwnThread lets a process in capability mode act only on its own threads.
func onOwnThread(c *call) supervisor.Result {
	if c.p.table.Mode() {
		if _, ok := c.thread(c.Int(0)); !ok {
			return supervisor.Errno(eCapMode)
		}
	}
	return supervisor.Continue(whoAsks)
}

// onSupervisor lets a process in capability mode name its supervisor to Yama, and nobody
// else: whether a process exists is the global namespace's to tell.
func onSupervisor(c *call) supervisor.Result {
	if named := c.Arg(1); c.p.table.Mode() && (named == 0 || named != uint64(c.Self())) {
		return supervisor.Errno(eCapMode)
	}
	return supervisor.Continue(whoAsks)
}

// executeAt is fexecve and its relatives. In capability mode what is executed is
// the descriptor itself, and must need nothing that has a name: an interpreter or a
// loader would be looked up in the global namespace.
func executeAt(c *call) supervisor.Result {
	dir, flags := c.Fd(0), uint32(c.Int(4))
	strict := c.p.table.Mode()
	switch {
	case strict && dir == unix.AT_FDCWD:
		return supervisor.Errno(eCapMode)
	case dir == unix.AT_FDCWD:
		return c.execute(none, filecaps.Full())
	}
	t := c.table()
	if _, limited := t.Slot(int(dir)); !limited && !strict {
		t.Unlock()
		return c.execute(dir, filecaps.Full())
	}
	t.Unlock()
	name, err := c.Path(1)
	if err != nil {
		return fail(err)
	}
	t = c.table()
	f, caps, err := c.held(t, dir)
	t.Unlock()
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if caps.IsFull() && !strict {
		return c.execute(dir, caps)
	}
	if name != "" {
		return supervisor.Errno(eNotCapable)
	}
	switch {
	case flags&unix.AT_EMPTY_PATH == 0:
		return supervisor.Errno(unix.ENOENT)
	case !caps.Rights.IsSet(rights.Fexecve):
		return supervisor.Errno(eNotCapable)
	}
	if !strict {
		return c.execute(dir, caps)
	}
	return c.executeCopy(dir, f, caps)
}
