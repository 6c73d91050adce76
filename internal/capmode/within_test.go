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

// TestBothAsk is the complete list of calls with two judges. To extend it, show which
// of both lists a call belongs to.
func TestBothAsk(t *testing.T) {
	var run []string
	for _, o := range []syscalls.Options{
		{Engine: policy.EngineNamespaces, Lacking: syscalls.Guardable(), Flock: true, Dgram: true},
		{Engine: policy.EngineNamespaces, Lacking: syscalls.Guardable(), Flock: true, SignalScope: true, PtraceScope: true, Net: true},
	} {
		run = append(run, syscalls.Asks(o)...)
	}
	own := syscalls.Asks(syscalls.Options{Mode: syscalls.Attached})
	run = slices.DeleteFunc(run, func(name string) bool { return !slices.Contains(own, name) })
	slices.Sort(run)
	run = slices.Compact(run)
	want := slices.Concat(goesOn, judgedHere)
	slices.Sort(want)
	if !slices.Equal(run, want) {
		t.Errorf("both ask about %v, want %v", run, want)
	}
	w := new(Warden)
	table := w.Within(supervisor.Handlers(policy.EngineNamespaces))
	for _, name := range append(own, supervisor.RequestName) {
		if table[name] == nil {
			t.Errorf("%s asks and has no handler", name)
		}
	}
}
