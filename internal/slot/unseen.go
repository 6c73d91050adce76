package slot

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// Controls that take descriptors in memory, or let the kernel keep one.
const (
	ioctlCloneRange = 0x4020940d
	ioctlDedupe     = 0xc0189436
	seccompAddFD    = 0x40182103
	loopSetFD       = 0x4c00
	loopChangeFD    = 0x4c06
	loopConfigure   = 0x4c0a
)

// unseenGroups lists what reaches any descriptor through memory, in or out of
// capability mode. It is refused from the first limit on where nobody can look.
func unseenGroups() []modeGroup {
	refused := []clause{notcapable()}
	return []modeGroup{
		{"sendmsg sendmmsg", "could pass a limited descriptor on, which would arrive unlimited", refused, nil},
		{"io_submit io_uring_setup io_uring_enter io_uring_register bpf", "names descriptors in memory", refused, nil},
		{"pidfd_getfd", "takes unlimited copies, also out of the process itself", refused, nil},
		{"ioctl", "names descriptors in memory", []clause{
			notcapable(is(1, ioctlCloneRange, ioctlDedupe, seccompAddFD, loopSetFD, loopChangeFD, loopConfigure)),
		}, nil},
		{"clone", "a process with the same table would not hear of later limits", []clause{
			notcapable(hasAny(0, unix.CLONE_FILES), hasNone(0, unix.CLONE_THREAD)),
		}, nil},
		{"clone3", "its flags are in memory; libraries then use clone", []clause{{nil, unix.ENOSYS}}, nil},
	}
}

// pollGroups lists what waits for descriptors that are named in memory. Without
// descriptors it is a way to sleep.
func pollGroups() []modeGroup {
	return []modeGroup{
		{"poll ppoll", "", []clause{notcapable(isNot(1, 0))}, nil},
		{"select pselect6", "", []clause{notcapable(isNot(0, 0))}, nil},
	}
}

// copies are the calls that make another descriptor of the one in register 0.
var copies = []string{"dup", "dup2", "dup3", "accept", "accept4"}

// unseen adds what is refused where nobody can be asked.
func (p *program) unseen(fd int, c filecaps.Caps, o Options) {
	add := func(name string, list ...clause) {
		if o.CapabilityMode && refusedInMode(name) {
			return
		}
		if len(p.calls[name]) == 0 {
			p.calls[name] = leftToMode(name, o)
		}
		p.calls[name] = slices.Concat(p.calls[name], list)
	}
	if o.Had == nil {
		for _, name := range copies {
			add(name, notcapable(is(0, uint64(fd))))
		}
		add("fcntl", notcapable(is(0, uint64(fd)), is(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC)))
		p.lookups(fd, o)
	}
	var groups []modeGroup
	if o.First {
		p.unlisted = unix.ENOSYS
		groups = unseenGroups()
	}
	if o.Poll && !c.Rights.IsSet(rights.Event) {
		groups = append(groups, pollGroups()...)
	}
	for _, g := range groups {
		for _, name := range strings.Fields(g.names) {
			add(name, g.refused...)
		}
	}
}

// directory is a register that a call looks a name up from. A null name, in a
// register too, is none: the call is then about the descriptor itself.
type directory struct {
	name string
	arg  int
	path int // the register that may be null, or 0
}

// directories lists every such register, made when the first limit without a
// supervisor is.
var directories = sync.OnceValue(func() []directory {
	nameless := map[string]int{"newfstatat": 1, "statx": 1, "utimensat": 1, "futimesat": 1, "fanotify_mark": 4}
	var out []directory
	for _, name := range sysno.Names() {
		for arg, kind := range sysno.Args(name) {
			if kind == sysno.DirFD {
				out = append(out, directory{name, arg, nameless[name]})
			}
		}
	}
	return out
})

// lookups refuses every call that resolves a name from fd. In capability mode
// they are refused for every directory.
func (p *program) lookups(fd int, o Options) {
	if o.CapabilityMode {
		return
	}
	for _, d := range directories() {
		c := notcapable(is(d.arg, uint64(fd)))
		if d.path != 0 {
			c.tests = append(c.tests, notNull(d.path))
		}
		p.calls[d.name] = append(p.calls[d.name], c)
	}
}
