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

// stageName is argv[0] of stage two. The numbers of its descriptors follow it:
// control socket, setup file, link.
const stageName = "capsicum: supervisor"

// Stage turns this process into stage two if it was started as such, and then
// never returns. Every main that starts sandboxes calls it before anything else.
func Stage() {
	if len(os.Args) != 2 || os.Args[0] != stageName {
		return
	}
	var fds []int
	for _, field := range strings.Split(os.Args[1], ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 3 {
			fds = nil
			break
		}
		fds = append(fds, n)
	}
	if len(fds) != 3 {
		fmt.Fprintf(os.Stderr, "capsicum: stage two: bad descriptors %q\n", os.Args[1])
		os.Exit(exitRefused)
	}
	os.Exit(second(channel{fds[0]}, os.NewFile(uintptr(fds[1]), "setup"), fds[2]))
}

// second is stage two: the sandbox's supervisor and init, until the program has
// ended. The program's process builds the sandbox meanwhile.
func second(ctl channel, setupFile *os.File, link int) int {
	if err := sys.CloexecFrom(3); err != nil {
		return tell(ctl, fmt.Errorf("mark descriptors close-on-exec: %w", err))
	}
	// Nobody of the same user traces us or reads our memory, even where there is
	// no Landlock to keep the sandbox from trying.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return tell(ctl, fmt.Errorf("become undumpable: %w", err))
	}
	s, err := readSetup(setupFile)
	if err != nil {
		return tell(ctl, err)
	}
	setupFile.Close()
	sb := &sandbox{setup: s, engine: engines[s.Engine]()}
	if err := sb.serve(link); err != nil && !errors.Is(err, io.EOF) {
		sb.destroy()
		return tell(ctl, err)
	}
	// After an end of file the program's process has failed; the front knows why.
	if err := sb.announce(ctl); err != nil {
		sb.destroy()
		return tell(ctl, err)
	}
	debug.SetGCPercent(100)
	heard := make(chan struct{})
	go watchFront(ctl, sb, heard)
	<-heard
	return sb.reap(ctl)
}

// tell reports why the start was refused.
func tell(ctl channel, err error) int {
	_ = ctl.send(refusal(err), -1) // nobody is left to hear it otherwise
	return exitRefused
}

// sandbox is stage two's view of what it supervises.
type sandbox struct {
	setup  *setup
	engine engine
	pid    int // the program, 0 if it was never started

	lingering atomic.Bool // the program has ended, and its orphans may go on
}

// engine is the seam between what makes names disappear and everything else.
type engine interface {
	// supervise completes the supervisor's configuration, with the sandbox's
	// procfs where it has one of its own. It runs while the program waits.
	supervise(c *supervisor.Config, s *setup, procfs *sys.FD) error
	// destroy ends every process of the sandbox but the caller.
	destroy()
}

var engines = map[policy.Engine]func() engine{
	policy.EngineNamespaces: func() engine { return &namespaces{} },
	policy.EngineLandlock:   func() engine { return &floor{} },
}

// destroy ends every process of the sandbox but this one.
func (sb *sandbox) destroy() { sb.engine.destroy() }

// serve takes over the filter's listener and starts answering. The program
// waits with its first question until then.
func (sb *sandbox) serve(link int) error {
	if p, ok := sb.engine.(interface{ prepare(*setup) error }); ok {
		if err := p.prepare(sb.setup); err != nil {
			return err
		}
	}
	defer unix.Close(link)
	pid, listener, procfs, err := takeOver(link)
	if err != nil {
		return err
	}
	sb.pid = pid
	f, err := observe()
	if err != nil {
		return err
	}
	cfg := supervisor.Config{
		Plan:    sb.setup.Plan,
		Options: filterOptions(sb.setup.Plan, sb.setup.Engine, sb.setup.Net, f),
	}
	if err := sb.engine.supervise(&cfg, sb.setup, procfs); err != nil {
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
	go func() {
		// Without answers the program would hang in its next asking call.
		if err := sup.Serve(l); err != nil {
			sb.destroy()
			unix.Exit(exitRefused)
		}
	}()
	return nil
}

// takeOver receives what the program's process hands over. io.EOF means that it
// ended before.
func takeOver(link int) (pid int, listener, procfs *sys.FD, err error) {
	buf, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(8))
	var n, oobn int
	err = sys.Retry(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(link, buf, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return 0, nil, nil, fmt.Errorf("receive the filter: %w", err)
	}
	if n == 0 {
		return 0, nil, nil, io.EOF
	}
	fds := attached(oob[:oobn])
	if n != 4 || len(fds) == 0 {
		return 0, nil, nil, fmt.Errorf("receive the filter: %d bytes and %d descriptors: %w", n, len(fds), unix.EPROTO)
	}
	if len(fds) > 1 {
		procfs = fds[1]
	}
	return int(binary.NativeEndian.Uint32(buf)), fds[0], procfs, nil
}

// announce tells the front that the program runs, with a pidfd of it.
func (sb *sandbox) announce(ctl channel) error {
	if sb.pid == 0 {
		return nil
	}
	pidfd, err := unix.PidfdOpen(sb.pid, 0)
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("open pidfd of the program: %w", err)
	}
	if pidfd >= 0 {
		defer unix.Close(pidfd)
	}
	if err := ctl.send(report{Kind: reportStarted}, pidfd); err != nil {
		return fmt.Errorf("report start: %w", err)
	}
	return nil
}

// watchFront ends the sandbox when the front is gone before the program: nobody
// is left to hear how it ends. Before that it hears, once, that the front has
// learnt the program's pid: a process that was collected has none.
func watchFront(ctl channel, sb *sandbox, heard chan<- struct{}) {
	var err error
	if sb.pid != 0 {
		_, _, err = ctl.receive()
	}
	if err == nil {
		close(heard)
		_, _, _ = ctl.receive() // there is no second word; it returns when the front is gone
	}
	if !sb.lingering.Load() {
		sb.destroy()
		unix.Exit(exitRefused)
	}
}
