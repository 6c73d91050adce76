// Package supervisor answers the calls of sandboxed processes that ask: it
// receives them from the seccomp filter, copies what they point to once,
// judges the copy, and carries the call out on its own descriptors with the
// caller's credentials.
//
//	s, err := supervisor.New(supervisor.Config{Plan: p, Options: o})
//	err = s.Serve(listener)
//
// The supervising process is an ancestor of every sandboxed process. Under the
// namespaces engine it lives inside the sandbox's namespaces, so that a name
// means to it what it means to the caller; under the landlock engine names are
// walked over the plan.
//
// # Limitations
//
// What the kernel ties to the calling process stays tied to the supervisor for
// calls carried out here: the other end of a connection sees the supervisor's
// process id in SO_PEERCRED (user and group are the caller's), and a security
// module other than Landlock judges the supervisor.
package supervisor

import (
	"fmt"
	"sync"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// Config says what is supervised.
type Config struct {
	Plan    *plan.Plan
	Options Options

	// Mounts names the entry of each mount of the sandbox by its STATX_MNT_ID
	// (namespaces engine).
	Mounts map[uint64]*plan.Entry

	// Held are inherited descriptors with fewer rights than they could have, by
	// the object behind them: what no mount and no name decides.
	Held []plan.Entry

	// Namespace is the plan being looked up (landlock engine).
	Namespace *lookup.Namespace

	// Handlers answer the calls of processes that confine themselves. Nil: the
	// answers of a plan's engine.
	Handlers map[string]Handler

	// Rules, if not nil, is the Landlock ruleset that the sandbox's programs are
	// under, for what [Call.Bound] does. It stays the owner's.
	Rules *sys.FD

	// Proc is a directory descriptor of a procfs that shows the sandbox's
	// processes and this one; it stays the owner's. The program may have no
	// /proc at all. Nil opens /proc.
	Proc *sys.FD

	// MaxWorkers bounds the calls served at the same time; further callers wait
	// in the kernel. 0 is DefaultMaxWorkers.
	MaxWorkers int

	Logf   func(format string, args ...any) // mistakes of ours; nil discards
	Tracef func(format string, args ...any) // every answer; nil discards
}

// DefaultMaxWorkers is far below the 10,000 threads a Go program may have.
const DefaultMaxWorkers = 1024

// Supervisor serves one sandbox.
type Supervisor struct {
	cfg      Config
	ownProc  *sys.FD // to close, when Config.Proc was nil
	handlers map[string]Handler
	namei    Namei
	listener *notify.Listener

	base  *sys.Identity // of every thread at rest
	fixed bool          // no caller can have another
	umask uint32        // of this process
	// namespaces are this process's, by their kind; without the kinds that the kernel lacks.
	namespaces map[string]plan.ID

	// procPath says that /proc is the procfs of Config.Proc.
	procPath bool

	// fsMu guards working directory and umask of the process, for workers that
	// could not get their own: changing either takes it whole.
	fsMu sync.RWMutex

	words sync.Mutex // from looking at a process's word to changing it

	settings map[string]int // in place of the kernel's fs.protected_ ones, for tests

	pool    pool
	watch   watch
	bound   bound
	sockets registry
}

// New returns a supervisor that serves nobody yet.
func New(cfg Config) (*Supervisor, error) {
	s := &Supervisor{cfg: cfg}
	if cfg.Logf == nil {
		s.cfg.Logf = func(string, ...any) {}
	}
	if cfg.MaxWorkers <= 0 {
		s.cfg.MaxWorkers = DefaultMaxWorkers
	}
	if cfg.Proc == nil {
		n, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open /proc: %w", err)
		}
		s.ownProc = sys.NewFD(n)
		s.cfg.Proc = s.ownProc
	}
	if err := s.learnSelf(); err != nil {
		s.ownProc.Close()
		return nil, err
	}
	if s.handlers = cfg.Handlers; s.handlers == nil {
		s.handlers = Handlers(cfg.Options.Engine)
	}
	s.namei = &mountNamei{s}
	if cfg.Options.Engine == policy.EngineLandlock {
		s.namei = newPlanNamei(s)
	}
	s.pool.init(s)
	s.watch.init(s)
	s.bound.init(s)
	s.sockets.init()
	return s, nil
}

// learnSelf notes what this process's threads are judged by.
func (s *Supervisor) learnSelf() error {
	text, err := readProc(s.cfg.Proc, "self/status")
	if err != nil {
		return fmt.Errorf("read own status: %w", err)
	}
	st, err := parseStatus(text)
	if err != nil {
		return err
	}
	s.umask = st.umask
	var here, there unix.Stat_t
	s.procPath = unix.Stat("/proc", &here) == nil && unix.Fstat(s.cfg.Proc.Int(), &there) == nil &&
		here.Dev == there.Dev && here.Ino == there.Ino
	if s.base, err = sys.ThreadIdentity(); err != nil {
		return err
	}
	if err := s.learnNamespaces(); err != nil {
		return fmt.Errorf("look at own namespaces: %w", err)
	}
	s.fixed, err = sys.Fixed()
	return err
}

// Serve answers calls until no process is left that could ask, or until the
// listener is shut down. The listener stays the caller's to close.
func (s *Supervisor) Serve(l *notify.Listener) error {
	s.listener = l
	err := s.pool.run()
	s.ownProc.Close()
	return err
}

// heldEntry returns the limits of an inherited object; nil for any other.
func (s *Supervisor) heldEntry(fd int) (*plan.Entry, error) {
	if len(s.cfg.Held) == 0 {
		return nil, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	id := plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}
	for i := range s.cfg.Held {
		if s.cfg.Held[i].ID == id {
			return &s.cfg.Held[i], nil
		}
	}
	return nil, nil
}

// Namei returns what finds names for this sandbox's engine.
func (s *Supervisor) Namei() Namei { return s.namei }

// Plan returns the namespace that is supervised.
func (s *Supervisor) Plan() *plan.Plan { return s.cfg.Plan }

func (s *Supervisor) tracef(format string, args ...any) {
	if s.cfg.Tracef != nil {
		s.cfg.Tracef(format, args...)
	}
}
