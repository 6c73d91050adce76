package slot

import (
	"math"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

// need is what a call asks of the descriptor in one of its registers, under
// conditions that registers show.
type need struct {
	arg    int
	rights rights.Set
	tests  []test
	// when restricts the need to some options; nil is always.
	when func(Options) bool
	// list, where it is set, replaces rights: it says under which further tests
	// the call lacks something.
	list func(c filecaps.Caps) []test
}

// asks is the need for rights of the descriptor in register arg.
func asks(arg int, r ...rights.Right) need { return need{arg: arg, rights: rights.Of(r...)} }

// where restricts a need to calls for which every test holds.
func (n need) where(tests ...test) need { n.tests = tests; return n }

// if_ restricts a need to some options.
func (n need) if_(when func(Options) bool) need { n.when = when; return n }

// listed is a need that caps decide in another way than by rights.
func listed(arg int, list func(filecaps.Caps) []test) need { return need{arg: arg, list: list} }

// row is what one call asks of its descriptors.
type row struct {
	name  string
	needs []need
}

// group is a number of rows with the same needs.
type group struct {
	names string
	needs []need
}

// unlimited is what no limited descriptor has: a need for it stands for what no
// right permits.
var unlimited = func(filecaps.Caps) []test { return []test{} }

// table is the table by row, made when the first limit is.
var table = sync.OnceValue(func() []row {
	var out []row
	for _, g := range groups() {
		for name := range strings.FieldsSeq(g.names) {
			out = append(out, row{name, g.needs})
		}
	}
	return out
})

const allBits = math.MaxUint64

// Arguments that x/sys does not name.
const (
	pPidfd     = 3
	noOffset   = allBits
	ioctlClone = 0x40049409 // FICLONE: the third argument is the source
)

// movingFlags are the flags of preadv2 and pwritev2 that may change the place that is read
// or written: all but those known not to. RWF_NOAPPEND does: where everything is written at
// the end (O_APPEND), it writes at the offset instead, also the file's own.
const movingFlags = math.MaxUint32 &^ (unix.RWF_HIPRI | unix.RWF_DSYNC | unix.RWF_SYNC | unix.RWF_NOWAIT | unix.RWF_APPEND |
	unix.RWF_ATOMIC | unix.RWF_DONTCACHE | unix.RWF_NOSIGNAL)

// groups is the one table of what a filter knows of descriptors. Names beneath a
// directory are not in it: an absolute one makes no use of the descriptor, and
// what the name is no register shows.
func groups() []group {
	return []group{
		// Reading and writing.
		{"read readv getdents getdents64 readahead recvfrom recvmsg recvmmsg mq_timedreceive", []need{asks(0, rights.Read)}},
		{"write writev sendmsg sendmmsg mq_timedsend", []need{asks(0, rights.Write)}},
		{"pread64 preadv", []need{asks(0, rights.Pread)}},
		{"pwrite64 pwritev fallocate", []need{asks(0, rights.Pwrite)}},
		{"preadv2", []need{
			asks(0, rights.Read),
			asks(0, rights.Seek).where(hasAny(5, movingFlags)),
			asks(0, rights.Seek).where(notOffset(3)),
		}},
		{"pwritev2", []need{
			asks(0, rights.Write),
			asks(0, rights.Seek).where(hasAny(5, movingFlags)),
			asks(0, rights.Seek).where(hasNone(5, unix.RWF_APPEND), notOffset(3)),
			asks(0, rights.Fsync).where(hasAny(5, unix.RWF_SYNC|unix.RWF_DSYNC)),
		}},
		{"lseek", []need{asks(0, rights.Seek)}},
		{"fsync fdatasync syncfs", []need{asks(0, rights.Fsync)}},
		{"sync_file_range", []need{asks(0, rights.Fsync, rights.Seek)}},
		{"ftruncate", []need{asks(0, rights.Ftruncate)}},
		{"copy_file_range splice", []need{
			asks(0, rights.Read), asks(0, rights.Seek).where(notNull(1)),
			asks(2, rights.Write), asks(2, rights.Seek).where(notNull(3)),
		}},
		{"sendfile", []need{asks(0, rights.Write), asks(1, rights.Pread)}},
		{"tee", []need{asks(0, rights.Read), asks(1, rights.Write)}},
		{"vmsplice", []need{
			asks(0, rights.Read).if_(func(o Options) bool { return o.ReadOnly }),
			asks(0, rights.Write).if_(writable),
		}},
		{"mmap", mapped(
			asks(4, rights.MmapR).if_(func(o Options) bool { return !o.Mprotect }),
			asks(4, rights.MmapW).where(hasAny(3, unix.MAP_SHARED)).if_(func(o Options) bool { return !o.Mprotect && !o.ReadOnly }),
			asks(4, rights.Mmap),
			asks(4, rights.MmapR).where(hasAny(2, unix.PROT_READ)),
			asks(4, rights.MmapW).where(hasAny(2, unix.PROT_WRITE), hasAny(3, unix.MAP_SHARED)),
			asks(4, rights.MmapX).where(hasAny(2, unix.PROT_EXEC)),
		)},

		// What a file is. A stat of nothing but a descriptor is fstat.
		{"fstat cachestat", []need{asks(0, rights.Fstat)}},
		{"newfstatat statx", []need{asks(0, rights.Fstat).where(isNull(1))}},
		{"fstatfs", []need{asks(0, rights.Fstatfs)}},
		{"fchmod", []need{asks(0, rights.Fchmod)}},
		{"fchown", []need{asks(0, rights.Fchown)}},
		{"utimensat futimesat", []need{asks(0, rights.Futimes).where(isNull(1))}},
		{"fgetxattr", []need{asks(0, rights.ExtattrGet)}},
		{"fsetxattr", []need{asks(0, rights.ExtattrSet)}},
		{"flistxattr", []need{asks(0, rights.ExtattrList)}},
		{"fremovexattr", []need{asks(0, rights.ExtattrDelete)}},
		{"fchdir", []need{asks(0, rights.Fchdir)}},

		// The descriptor itself.
		{"flock", []need{asks(0, rights.Flock)}},
		{"fcntl", []need{listed(0, refusedCommands)}},
		{"ioctl", []need{
			listed(0, refusedControls),
			asks(2, rights.Pread).where(is(1, ioctlClone)),
		}},

		// Waiting.
		{"epoll_ctl", []need{asks(0, rights.KqueueChange), asks(2, rights.Event)}},
		{"epoll_wait epoll_pwait epoll_pwait2", []need{asks(0, rights.KqueueEvent)}},
		{"timerfd_settime", []need{asks(0, rights.Write), asks(0, rights.Read).where(notNull(3))}},
		{"timerfd_gettime", []need{asks(0, rights.Read)}},
		{"signalfd signalfd4", []need{asks(0, rights.Write)}},
		{"inotify_add_watch", []need{asks(0, rights.InotifyAdd)}},
		{"inotify_rm_watch", []need{asks(0, rights.InotifyRm)}},
		{"fanotify_mark", []need{
			listed(0, refusedMarks),
			asks(3, rights.Fstat).where(isNull(4)),
		}},
		{"mq_notify mq_getsetattr", []need{asks(0, rights.Event)}},

		// Sockets.
		{"accept accept4", []need{asks(0, rights.Accept)}},
		{"bind", []need{asks(0, rights.Bind)}},
		{"connect", []need{asks(0, rights.Connect)}},
		{"listen", []need{asks(0, rights.Listen)}},
		{"shutdown", []need{asks(0, rights.Shutdown)}},
		{"getpeername", []need{asks(0, rights.Getpeername)}},
		{"getsockname", []need{asks(0, rights.Getsockname)}},
		{"getsockopt", []need{asks(0, rights.Getsockopt)}},
		{"setsockopt", []need{asks(0, rights.Setsockopt)}},
		{"sendto", []need{asks(0, rights.Write), asks(0, rights.Connect).where(notNull(4))}},

		// Processes.
		{"pidfd_send_signal", []need{asks(0, rights.Pdkill)}},
		{"pidfd_getfd", []need{asks(0, rights.Pddupfd)}},
		{"waitid", []need{asks(1, rights.Pdwait).where(is(0, pPidfd))}},

		// What no right stands for, so that nothing limited may be used for it.
		{"setns process_madvise process_mrelease quotactl_fd fsmount fspick mount_setattr", []need{listed(0, unlimited)}},
		{"move_mount", []need{listed(0, unlimited), listed(2, unlimited)}},
		{"fsconfig", []need{
			listed(0, unlimited),
			listed(4, unlimited).where(is(1, unix.FSCONFIG_SET_PATH, unix.FSCONFIG_SET_PATH_EMPTY, unix.FSCONFIG_SET_FD)),
		}},
	}
}

func writable(o Options) bool { return !o.ReadOnly }

// notOffset tests that argument arg is an offset, not the -1 that stands for the
// file's own.
func notOffset(arg int) test {
	return test{arg: arg, op: notIn, wide: true, values: []uint64{noOffset}}
}

// mapped restricts needs to mappings of a descriptor.
func mapped(needs ...need) []need {
	for i := range needs {
		needs[i].tests = append([]test{hasNone(3, unix.MAP_ANONYMOUS)}, needs[i].tests...)
	}
	return needs
}

// refusedControls returns under which further tests an ioctl is refused, nil for
// none.
func refusedControls(c filecaps.Caps) []test {
	switch {
	case !c.Rights.IsSet(rights.Ioctl) || c.Listed && len(c.Ioctls) == 0:
		return []test{}
	case c.Listed:
		return []test{{arg: 1, op: notIn, values: widen(c.Ioctls)}}
	}
	return nil
}

// refusedCommands returns under which further tests an fcntl is refused.
func refusedCommands(c filecaps.Caps) []test {
	var allowed []uint64
	for _, cmd := range commands() {
		if cmd.allowed(c) {
			allowed = append(allowed, uint64(cmd.number))
		}
	}
	return []test{{arg: 1, op: notIn, values: allowed}}
}

// refusedMarks returns under which further tests a fanotify_mark is refused. One
// that neither adds nor removes does nothing.
func refusedMarks(c filecaps.Caps) []test {
	adds, removes := c.Rights.IsSet(rights.InotifyAdd), c.Rights.IsSet(rights.InotifyRm)
	switch {
	case adds && removes:
		return nil
	case adds:
		return []test{hasAny(1, unix.FAN_MARK_REMOVE|unix.FAN_MARK_FLUSH)}
	case removes:
		return []test{hasAny(1, unix.FAN_MARK_ADD)}
	}
	return []test{}
}

// lacks returns under which further tests c lacks what n asks for, nil if it
// lacks nothing.
func (n need) lacks(c filecaps.Caps, o Options) []test {
	switch {
	case n.when != nil && !n.when(o):
		return nil
	case n.list != nil:
		return n.list(c)
	case c.Rights.Contains(n.rights):
		return nil
	}
	return []test{}
}

// had reports whether an earlier filter refuses what further tests refuse now.
func (n need) had(further []test, o Options) bool {
	if o.Had == nil {
		return false
	}
	o.ReadOnly = o.Had.ReadOnly
	return sameTests(further, n.lacks(o.Had.Caps, o))
}

// clauses returns what a filter for fd with c refuses of the call.
func (r row) clauses(fd int, c filecaps.Caps, o Options) []clause {
	var out []clause
	for _, n := range r.needs {
		further := n.lacks(c, o)
		if further == nil || n.had(further, o) {
			continue
		}
		tests := slices.Concat([]test{is(n.arg, uint64(fd))}, n.tests, further)
		if slices.ContainsFunc(out, func(e clause) bool { return within(tests, e.tests) }) {
			continue
		}
		out = append(out, clause{tests, filecaps.ENOTCAPABLE})
	}
	return out
}

// within reports whether every call that tests hold for is one that wider holds
// for, because it has no other tests.
func within(tests, wider []test) bool {
	return !slices.ContainsFunc(wider, func(w test) bool { return !slices.ContainsFunc(tests, w.same) })
}
