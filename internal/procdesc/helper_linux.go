package procdesc

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// helper is a child's parent. It is a process of no program: a list of system calls,
// run in this process's memory. It holds the other end of the child's descriptor, and
// nothing else, and does nothing but wait.
type helper struct {
	seq    script.Sequence
	child  *script.Sequence
	record *record
	brings *message

	unsealed uint32 // 0 once the filter is there
}

// help writes the steps of the helper of the child that c says. there is the end over
// which the other end of the descriptor comes.
func (c *Child) help(child *script.Sequence, there int) (*helper, error) {
	filter, err := seal()
	if err != nil {
		return nil, err
	}
	h := &helper{child: child, record: &record{magic: magic}, brings: newMessage(), unsealed: 1}
	pid, end := script.NewValue(), script.ValueAt(&h.brings.fd)
	s := &h.seq
	s.Grow(20)
	// The kernel collects the children of who ignores SIGCHLD, and how they ended is lost. The
	// helper has its own actions.
	s.Do("hear of the child", unix.SYS_RT_SIGACTION, int(unix.SIGCHLD), script.Struct(new([4]uintptr)), nil, 8)
	// What is waited for is the program's execution, which ends the use of our memory.
	if c.clears {
		s.CloneClear("fork", unix.CLONE_VM|unix.CLONE_VFORK, unix.SIGCHLD, child, pid)
	} else {
		s.Clone("fork", unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), child, pid)
	}
	tidy(s, there, c.Supervised)
	s.Do("receive the helper's end", unix.SYS_RECVMSG, there, script.Struct(h.brings), unix.MSG_DONTWAIT)
	const confine = "confine the helper"
	s.Do(confine, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	s.Do(confine, unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, script.Struct(filter))
	s.Do("let go of the starter", unix.SYS_CLOSE, there).Into(script.ValueAt(&h.unsealed))
	s.Do("wait", unix.SYS_WAITID, unix.P_PID, pid, script.Struct(&h.record.info), unix.WEXITED|unix.WNOWAIT|unix.WALL,
		script.Struct(&h.record.rusage))
	s.Do("send exit status", unix.SYS_SENDTO, end, script.Struct(h.record), RecordSize, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil, 0).
		Forgive(unix.EPIPE) // nobody is there to read it
	// The child's number is free for others only after its holders can know of its end.
	s.Do("close", unix.SYS_SHUTDOWN, end, unix.SHUT_RDWR)
	s.Do("wait", unix.SYS_WAIT4, pid, nil, unix.WALL, nil)
	s.Do("end", unix.SYS_EXIT_GROUP, 0)
	return h, nil
}

// tidy closes everything but there. A supervisor does not let numbers be closed
// together for which filters were stacked; from stackable on there are none.
func tidy(s *script.Sequence, there int, supervised bool) {
	const what = "close the helper's descriptors"
	last := int(^uint32(0))
	if !supervised {
		s.Do(what, unix.SYS_CLOSE_RANGE, 0, there-1, 0)
		s.Do(what, unix.SYS_CLOSE_RANGE, there+1, last, 0)
		return
	}
	failed := script.ValueAt(&[]uint32{1}[0])
	s.Do(what, unix.SYS_CLOSE_RANGE, 0, stackable-1, 0).Into(failed).Forgive(unix.ENOSYS)
	s.Grow(stackable + 20)
	s.SkipUnless(failed, 1, stackable)
	for n := range stackable {
		s.Do(what, unix.SYS_CLOSE, n).Forgive(unix.EBADF)
	}
	if there > stackable {
		s.Do(what, unix.SYS_CLOSE_RANGE, stackable, there-1, 0)
	}
	s.Do(what, unix.SYS_CLOSE_RANGE, there+1, last, 0)
}

// stackable is below which numbers filters are stacked for.
const stackable = fdtable.FirstAsking

// seal compiles the filter of helpers. A helper runs in this process's memory and has
// not what the process gives up later: were it not for the filter, whoever takes the
// process over could make it do what he likes, outside.
var seal = sync.OnceValues(func() (*unix.SockFprog, error) {
	var b cbpf.Builder
	pass, refuse := b.Label(), b.Label()
	// The kernel tries every number on a filter that looks at nothing else, to remember
	// what it always permits: three quarters of the time that this takes, for a process
	// that makes six calls. A look at an argument keeps it from that.
	b.Load(cbpf.OffLow(0))
	b.Load(cbpf.OffArch)
	b.JumpEqual(uint32(sysno.Native), cbpf.Next, refuse)
	b.Load(cbpf.OffNr)
	for _, nr := range []uint32{unix.SYS_WAITID, unix.SYS_WAIT4, unix.SYS_SENDTO, unix.SYS_SHUTDOWN, unix.SYS_CLOSE, unix.SYS_EXIT_GROUP} {
		b.JumpEqual(nr, pass, cbpf.Next)
	}
	b.Bind(refuse)
	b.Ret(unix.SECCOMP_RET_KILL_PROCESS)
	b.Bind(pass)
	b.Ret(unix.SECCOMP_RET_ALLOW)
	prog, err := b.Assemble()
	if err != nil {
		return nil, fmt.Errorf("compile helper's filter: %w", err)
	}
	return &unix.SockFprog{Len: uint16(len(prog)), Filter: unsafe.SliceData(prog)}, nil
})

// list is helpers that nobody has waited for, by process id: what they run and write
// must stay where it is.
type list struct {
	sync.Mutex
	by       map[int]*helper
	unsealed []int // some of them, which may be so
}

var helpers list

func (h *helper) keep(pid int) {
	helpers.Lock()
	defer helpers.Unlock()
	if helpers.by == nil {
		helpers.by = map[int]*helper{}
	}
	helpers.by[pid] = h
	helpers.unsealed = append(helpers.unsealed, pid)
}

// Sweep waits for helpers that have ended. No signal told so, and no wait for any child
// returns them.
func Sweep() {
	helpers.Lock()
	defer helpers.Unlock()
	for pid := range helpers.by {
		helpers.ended(pid)
	}
}

// ended forgets a helper that has ended, and reports whether it had.
func (l *list) ended(pid int) bool {
	got, err := sys.Collect(pid, unix.WALL|unix.WNOHANG)
	if got != pid && !errors.Is(err, unix.ECHILD) {
		return false
	}
	delete(l.by, pid)
	return true
}

// Settle waits until every helper has its filter. Whoever confines this process must:
// until then a helper can do what the process will not be able to.
func Settle() {
	helpers.Lock()
	defer helpers.Unlock()
	for _, pid := range helpers.unsealed {
		for {
			h := helpers.by[pid]
			if h == nil || atomic.LoadUint32(&h.unsealed) == 0 || helpers.ended(pid) {
				break
			}
			sys.AwaitWord(&h.unsealed, 1, 20*time.Microsecond) // nobody wakes: it is looked at again
		}
	}
	helpers.unsealed = helpers.unsealed[:0]
}
