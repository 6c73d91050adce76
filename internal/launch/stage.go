package launch

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// stageName is argv[0] of stage two; [orders] are argv[1].
const stageName = "capsicum: supervisor"

// orders are the descriptors that init leaves to the supervisor.
type orders struct {
	ctl      channel
	setup    int
	listener int
	procfs   int // of the sandbox, if it has one of its own
	rules    int // the program's Landlock ruleset, 0 for none
}

// fields lists the descriptors in the order in which String writes them.
func (o *orders) fields() []*int {
	return []*int{&o.ctl.fd, &o.setup, &o.listener, &o.procfs, &o.rules}
}

// String is orders as an argument; parseOrders reads it.
func (o orders) String() string {
	return fmt.Sprintf("%d,%d,%d,%d,%d", o.ctl.fd, o.setup, o.listener, o.procfs, o.rules)
}

func parseOrders(arg string) (orders, error) {
	var o orders
	words := strings.Split(arg, ",")
	if len(words) != len(o.fields()) {
		return o, fmt.Errorf("orders %q: %w", arg, unix.EINVAL)
	}
	for i, fd := range o.fields() {
		n, err := strconv.ParseUint(words[i], 10, 31)
		if err != nil || n < 3 && (n > 0 || fd != &o.rules) {
			return o, fmt.Errorf("orders %q: descriptor %q: %w", arg, words[i], unix.EBADF)
		}
		*fd = int(n)
	}
	return o, nil
}

// Stage turns this process into stage two if it was started as such, and then
// never returns. Every main that starts sandboxes calls it before anything else.
func Stage() {
	if len(os.Args) != 2 || os.Args[0] != stageName {
		return
	}
	o, err := parseOrders(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "capsicum: stage two:", err)
		os.Exit(exitRefused)
	}
	os.Exit(second(o))
}

// second is stage two: the sandbox's supervisor and init, until the program has
// ended. The program runs already, and waits for its first answer.
func second(o orders) int {
	if err := secure(); err != nil {
		return o.refuse(err)
	}
	s, pid, err := readSetup(os.NewFile(uintptr(o.setup), "setup"))
	if err != nil {
		return o.refuse(err)
	}
	sb := &sandbox{orders: o, setup: s, pid: pid, engine: engines[s.Engine](s.State), asked: make(chan *sys.FD, 1)}
	go func() {
		// Without answers the program would hang in its next asking call.
		if err := sb.serve(); err != nil {
			unix.Exit(sb.refuse(err))
		}
	}()
	go sb.watch()
	return sb.reap()
}

// secure takes on again what executing took away.
func secure() error {
	if err := sys.CloexecFrom(3); err != nil {
		return fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	// Nobody of the same user traces us or reads our memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	return nil
}

// refuse reports why there is no supervisor; the front ends what is left.
func (o orders) refuse(err error) int {
	_ = o.ctl.send(refusal(err), -1) // nobody is left to hear it otherwise
	return exitRefused
}

// sandbox is stage two's view of what it supervises.
type sandbox struct {
	orders
	setup  *setup
	engine engine
	pid    int          // the program
	asked  chan *sys.FD // a socket of package roster, if there is one

	lingering atomic.Bool // the program has ended, and its orphans may go on
	ending    sync.Mutex  // locked for good by who destroys everything
}

// destroy ends the sandbox. Only who comes first returns, to say why and to end this
// process: nobody does that in the middle of it.
func (sb *sandbox) destroy() {
	sb.ending.Lock()
	sb.engine.destroy()
}

// refuse ends everything and reports why.
func (sb *sandbox) refuse(err error) int {
	sb.destroy()
	return sb.orders.refuse(err)
}

// engine is the seam between what makes names disappear and everything else.
type engine interface {
	// supervise completes the supervisor's configuration, with the sandbox's
	// procfs where it has one of its own.
	supervise(c *supervisor.Config, procfs int) error
	// destroy ends every process of the sandbox but the caller.
	destroy()
}

// engines makes each engine, given its private directory on the host.
var engines = map[policy.Engine]func(state string) engine{
	policy.EngineNamespaces: func(string) engine { return namespaces{} },
	policy.EngineLandlock:   func(state string) engine { return &floor{state: state} },
}

// serve answers the program's questions until nobody is left to ask. The first
// of them waits until it is ready.
func (sb *sandbox) serve() error {
	cfg := supervisor.Config{Plan: sb.setup.Plan, Options: sb.setup.Filter, Held: sb.setup.Held}
	if err := sb.engine.supervise(&cfg, sb.procfs); err != nil {
		return err
	}
	if sb.setup.Filter.Library {
		if err := sb.confine(&cfg); err != nil {
			return fmt.Errorf("start supervisor: %w", err)
		}
	}
	sup, err := supervisor.New(cfg)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	l, err := notify.NewListener(sys.NewFD(sb.listener))
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	debug.SetGCPercent(100)
	return sup.Serve(l)
}

// watch returns, and ends the sandbox, when the front is gone before the
// program: nobody is left to hear how that ends. All that the front says is where
// we are asked.
func (sb *sandbox) watch() {
	for r, fd, err := sb.ctl.receive(); err == nil; r, fd, err = sb.ctl.receive() {
		if r.Kind == reportAsked && fd.Valid() {
			sb.asked <- fd
		} else {
			fd.Close()
		}
	}
	if !sb.lingering.Load() {
		sb.abandon()
	}
}

// abandon ends the sandbox without anybody to tell.
func (sb *sandbox) abandon() {
	sb.destroy()
	unix.Exit(exitRefused)
}
