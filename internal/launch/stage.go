package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// stageName is argv[0] of stage two. What it needs at once follows in argv[1];
// see [orders].
const stageName = "capsicum: supervisor"

// orders are what the supervisor has to know before it reads its setup, which
// it does beside the program's first steps.
type orders struct {
	ctl    channel
	setup  int // descriptor of the setup file
	link   int
	linger bool
	engine policy.Engine
	state  string // the landlock engine's private directory
}

// String is orders as an argument; parseOrders reads it.
func (o orders) String() string {
	return fmt.Sprintf("%d,%d,%d,%t,%s,%s", o.ctl.fd, o.setup, o.link, o.linger, o.engine, o.state)
}

func parseOrders(arg string) (orders, error) {
	var o orders
	fields := strings.SplitN(arg, ",", 6)
	if len(fields) != 6 {
		return o, fmt.Errorf("orders %q: %w", arg, unix.EINVAL)
	}
	for i, fd := range []*int{&o.ctl.fd, &o.setup, &o.link} {
		n, err := strconv.Atoi(fields[i])
		if err != nil || n < 3 {
			return o, fmt.Errorf("orders %q: descriptor %q: %w", arg, fields[i], unix.EBADF)
		}
		*fd = n
	}
	o.linger, o.engine, o.state = fields[3] == "true", policy.Engine(fields[4]), fields[5]
	if engines[o.engine] == nil {
		return o, fmt.Errorf("orders %q: no engine %q: %w", arg, fields[4], unix.EINVAL)
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
// ended. The program's process builds the sandbox meanwhile.
func second(o orders) int {
	sb := &sandbox{orders: o, engine: engines[o.engine](o.state)}
	if err := secure(); err != nil {
		return sb.refuse(err)
	}
	if dynamic() {
		if err := o.ctl.send(report{Kind: reportLoaded}, -1); err != nil {
			return exitRefused // the front is gone
		}
	}
	listener, procfs, err := sb.takeOver()
	if err == nil {
		err = sb.announce()
	}
	switch {
	case errors.Is(err, io.EOF): // the program's process failed before; the front knows why
		return sb.reap()
	case err != nil:
		return sb.refuse(err)
	}
	go func() {
		// Without answers the program would hang in its next asking call.
		if err := sb.serve(listener, procfs); err != nil {
			unix.Exit(sb.refuse(err))
		}
	}()
	sb.hear()
	return sb.reap()
}

// secure takes on what must hold before the sandbox has any other process.
func secure() error {
	if err := sys.CloexecFrom(3); err != nil {
		return fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	// Nobody of the same user traces us or reads our memory, even where there is
	// no Landlock to keep the sandbox from trying.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become child subreaper: %w", err)
	}
	return nil
}

// sandbox is stage two's view of what it supervises.
type sandbox struct {
	orders
	engine engine
	pid    int // the program, 0 if it was never started

	lingering atomic.Bool // the program has ended, and its orphans may go on
}

// refuse ends everything and reports why.
func (sb *sandbox) refuse(err error) int {
	sb.engine.destroy()
	_ = sb.ctl.send(refusal(err), -1) // nobody is left to hear it otherwise
	return exitRefused
}

// engine is the seam between what makes names disappear and everything else.
type engine interface {
	// supervise completes the supervisor's configuration, with the sandbox's
	// procfs where it has one of its own.
	supervise(c *supervisor.Config, procfs *sys.FD) error
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
func (sb *sandbox) serve(listener, procfs *sys.FD) error {
	s, err := readSetup(os.NewFile(uintptr(sb.setup), "setup"))
	if err != nil {
		return err
	}
	cfg := supervisor.Config{Plan: s.Plan, Options: s.Filter, Held: s.Held}
	if err := sb.engine.supervise(&cfg, procfs); err != nil {
		return err
	}
	sup, err := supervisor.New(cfg)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	l, err := notify.NewListener(listener)
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	debug.SetGCPercent(100)
	return sup.Serve(l)
}

// takeOver receives what the program's process hands over: its pid, the filter's
// listener and, where it has one of its own, the sandbox's procfs. io.EOF means
// that it ended before.
func (sb *sandbox) takeOver() (listener, procfs *sys.FD, err error) {
	defer unix.Close(sb.link)
	buf, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(8))
	var n, oobn int
	err = sys.Retry(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(sb.link, buf, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("receive the filter: %w", err)
	}
	if n == 0 {
		return nil, nil, io.EOF
	}
	fds := attached(oob[:oobn])
	if n != 4 || len(fds) == 0 {
		return nil, nil, fmt.Errorf("receive the filter: %d bytes and %d descriptors: %w", n, len(fds), unix.EPROTO)
	}
	if len(fds) > 1 {
		procfs = fds[1]
	}
	sb.pid = int(binary.NativeEndian.Uint32(buf))
	err = sys.Retry(func() error { return unix.Sendmsg(sb.link, []byte{supervised}, nil, nil, unix.MSG_NOSIGNAL) })
	if err != nil {
		return nil, nil, fmt.Errorf("take the filter: %w", err)
	}
	return fds[0], procfs, nil
}

// announce tells the front that the program runs, with a pidfd of it.
func (sb *sandbox) announce() error {
	pidfd, err := unix.PidfdOpen(sb.pid, 0)
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("open pidfd of the program: %w", err)
	}
	if pidfd >= 0 {
		defer unix.Close(pidfd)
	}
	if err := sb.ctl.send(report{Kind: reportStarted}, pidfd); err != nil {
		return fmt.Errorf("report start: %w", err)
	}
	return nil
}

// hear waits until the front has learnt the program's pid: a process that was
// collected has none. From then on it watches: when the front is gone before the
// program, nobody is left to hear how that ends, and the sandbox ends.
func (sb *sandbox) hear() {
	if _, _, err := sb.ctl.receive(); err != nil {
		sb.abandon()
	}
	go func() {
		_, _, _ = sb.ctl.receive() // there is no second word; it returns when the front is gone
		if !sb.lingering.Load() {
			sb.abandon()
		}
	}()
}

// abandon ends the sandbox without anybody to tell.
func (sb *sandbox) abandon() {
	sb.engine.destroy()
	unix.Exit(exitRefused)
}
