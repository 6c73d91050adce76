package capmode

import (
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/syscalls"
)

// goesOn are calls that both tables may ask about, and that the Warden never carries
// out itself: it refuses them, or lets them go on to the run's handler.
var goesOn = []string{
	"bind", "connect", "fchmod", "fchown", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "ftruncate",
	"getxattrat", "inotify_add_watch", "kill", "listxattrat", "removexattrat", "sendto", "setxattrat",
}

// judgedHere are those that it may carry out. Each asks [supervisor.Call.Granted] before it
// does anything: which is refused what it has no rule for.
var judgedHere = []string{
	"faccessat", "faccessat2", "fchmodat", "fchmodat2", "fchownat", "futimesat", "newfstatat", "openat", "openat2", "sendmmsg", "sendmsg",
	"statx", "utimensat",
}

// handedOver are those that, where names are walked over a plan, it judges and hands to
// the run's handler with what it judged. A call of an empty name, which is about a
// descriptor, may be carried out here if the run has no question about it.
var handedOver = []string{
	"faccessat", "faccessat2", "fchmodat", "fchmodat2", "fchownat", "futimesat", "linkat", "mkdirat", "mknodat", "newfstatat", "openat",
	"openat2", "readlinkat", "renameat", "renameat2", "statx", "symlinkat", "unlinkat", "utimensat",
}

// goesOnThere are those that it never carries out there.
var goesOnThere = []string{
	"bind", "connect", "execve", "execveat", "fchdir", "fchmod", "fchown", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr",
	"fstat", "fstatfs", "ftruncate", "getxattrat", "inotify_add_watch", "kill", "listxattrat", "pidfd_send_signal", "prlimit64",
	"removexattrat", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "sendto", "setxattrat", "tgkill", "tkill",
}

// TestBothAsk is the complete list of calls with two judges. To extend it, show which
// of the lists a call belongs to.
func TestBothAsk(t *testing.T) {
	net := func(o syscalls.Options) syscalls.Options {
		o.SignalScope, o.PtraceScope, o.Net, o.Dgram = true, true, true, false
		return o
	}
	for engine, want := range map[policy.Engine][]string{
		policy.EngineNamespaces: slices.Concat(goesOn, judgedHere),
		// Messages are asked about only where datagrams are mediated, which no run does.
		policy.EngineLandlock: slices.Concat(goesOnThere, handedOver, []string{"sendmmsg", "sendmsg"}),
	} {
		o := syscalls.Options{Engine: engine, Lacking: syscalls.Guardable(), Flock: true, Dgram: true}
		run := append(syscalls.Asks(o), syscalls.Asks(net(o))...)
		own := syscalls.Asks(syscalls.Options{Mode: syscalls.Attached})
		run = slices.DeleteFunc(run, func(name string) bool { return !slices.Contains(own, name) })
		// What is refused is not asked about, whoever would ask.
		o.Library = true
		asked := append(syscalls.Asks(o), syscalls.Asks(net(o))...)
		run = slices.DeleteFunc(run, func(name string) bool { return !slices.Contains(asked, name) })
		slices.Sort(run)
		run = slices.Compact(run)
		slices.Sort(want)
		if !slices.Equal(run, want) {
			t.Errorf("%s: both ask about %v, want %v", engine, run, want)
		}
		w := new(Warden)
		table := w.Within(supervisor.Handlers(engine))
		for _, name := range append(own, supervisor.RequestName) {
			if table[name] == nil {
				t.Errorf("%s: %s asks and has no handler", engine, name)
			}
		}
	}
}
