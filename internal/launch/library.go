package launch

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/capmode"
	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// Library says how a program that confines itself is confined in a run.
type Library struct {
	For        string `json:"for"`           // what says that the program may; see [plan.Program]
	Supervised bool   `json:"supervised"`    // by the run's supervisor; else by filters alone
	Why        string `json:"why,omitempty"` // it is not supervised
}

// library decides it. The answer is about this machine and this plan, and the same
// each time: --dry-run asks, and the start.
func library(pl *plan.Plan, engine policy.Engine, f facts) (Library, error) {
	l := Library{For: pl.Program.Library}
	if l.For == "" {
		return l, nil
	}
	errata, err := landlock.SignalsOwnThreads(f.abi)
	if err != nil {
		return l, err
	}
	switch {
	case !f.copies:
		l.Why = "this machine lets nobody copy descriptors"
	case engine == policy.EngineLandlock && !wordFree():
		l.Why = "it needs RLIMIT_LOCKS, which is limited here"
	case engine == policy.EngineNamespaces && !hasProc(pl):
		l.Why = "it needs /proc in the sandbox"
	case !dumpable():
		l.Why = "the capsicum program may be executed but not read"
	case !errata:
		l.Why = "this kernel's Landlock keeps signals from threads of one process"
	default:
		l.Supervised = true
	}
	return l, nil
}

// hasProc reports whether the sandbox has a procfs where names of the supervisor's
// own descriptors are looked up.
func hasProc(pl *plan.Plan) bool {
	for i := range pl.Entries {
		if e := &pl.Entries[i]; e.Dest == "/proc" {
			return e.Kind == plan.Proc
		}
	}
	return false
}

// wordFree reports whether a process's limit RLIMIT_LOCKS can have any value, by which
// it is told where it comes from and which working directory it has.
func wordFree() bool {
	var l unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_LOCKS, &l) == nil && l.Max == unix.RLIM_INFINITY
}

// dumpable reports whether init may copy a descriptor of the program's process, which
// runs in our memory until it executes.
func dumpable() bool {
	n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && n == 1
}

// linkPasses reports whether the filter of a program that may confine itself lets the
// link's end be used before anybody answers.
func (c *children) linkPasses() bool {
	return c.link.program > 2 && c.link.program < fdtable.FirstAsking
}

// beAsked gives the supervisor a socket with a name in the front's network namespace,
// for those who ask what its programs have confined themselves to: names in its own
// nobody else sees. No program of the sandbox has that socket: it goes straight to the
// supervisor, when the program has been started. Where there is none the run goes on
// all the same.
func (c *children) beAsked() {
	if c.engine == policy.EngineNamespaces && !mappedByFront(c.engine) && ownLikeOthers() {
		return
	}
	s, err := roster.Bind()
	if err != nil {
		return
	}
	defer s.Close()
	_ = c.front.send(report{Kind: reportAsked}, s.Int())
}

// ownLikeOthers reports whether our user looks, in a user namespace with only that one,
// like any other: that one's supervisor could not tell who asks.
func ownLikeOthers() bool {
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	return err != nil || strings.TrimSpace(string(text)) == strconv.Itoa(os.Geteuid())
}

// confine completes the configuration of a supervisor whose programs may confine
// themselves.
func (sb *sandbox) confine(c *supervisor.Config) error {
	w, err := capmode.New(sb.pid)
	if err != nil {
		return err
	}
	// One that can't report serves all the same.
	go func() { _ = roster.Serve(<-sb.asked, w.Report) }()
	c.Handlers = w.Within(supervisor.Handlers(sb.setup.Engine))
	if sb.rules != 0 {
		c.Rules = sys.NewFD(sb.rules)
	}
	return nil
}
