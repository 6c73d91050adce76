package attach

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/capmode"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
)

// stageName is argv[0] of a supervisor; argv[1] is the process it is for.
const stageName = roster.SupervisorName

// sharedFD is the supervisor's descriptor of the shared page.
const sharedFD = 3

// A program that imports this package is executed again to be its own
// supervisor. That happens here, before its main, and before the initialisation
// of packages that import this one.
func init() {
	if len(os.Args) == 2 && os.Args[0] == stageName {
		os.Exit(stage(os.Args[1]))
	}
	if len(os.Args) == 1 && os.Args[0] == tryName {
		os.Exit(try())
	}
}

// stage is a supervisor's life; its result is an exit status that nobody sees.
func stage(arg string) int {
	pid, err := strconv.Atoi(arg)
	if err != nil || pid <= 0 {
		fmt.Fprintf(os.Stderr, "%s: process %q: %v\n", stageName, arg, unix.EINVAL)
		return 2
	}
	p, err := mapPage(sharedFD)
	if err != nil {
		return 2
	}
	if err := serve(p, pid); err != nil {
		p.fail(err)
		return 1
	}
	return 0
}

// options are those of a process that confines itself.
var options = syscalls.Options{Mode: syscalls.Attached}

func serve(p *page, pid int) error {
	target, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	program := sys.NewFD(target)
	alive := func() bool { return unix.PidfdSendSignal(target, 0, nil, 0) != unix.ESRCH }
	// Nobody of the same user traces us or reads our memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	if err := p.await(stateIntroduced, alive); err != nil {
		return err
	}
	w, err := capmode.New(pid)
	if err != nil {
		return err
	}
	// Early: it takes a thread, and if there are none to be had there is no supervisor.
	// One that can't report serves all the same.
	go func() {
		if s, err := roster.Bind(); err == nil {
			_ = roster.Serve(s, w.Report)
		}
	}()
	haveThreads()
	s, err := supervisor.New(supervisor.Config{Options: options, Handlers: w.Handlers()})
	if err != nil {
		return err
	}
	if err := probe(target, pid); err != nil {
		return err
	}
	if err := uniform(pid); err != nil {
		return err
	}
	if err := p.write(options); err != nil {
		return err
	}
	p.set(stateReady)
	if err := p.await(stateInstalled, alive); err != nil || p.listener < 0 {
		return err
	}
	var n int
	err = sys.Retry(func() (err error) { n, err = unix.PidfdGetfd(target, int(atomic.LoadInt32(&p.listener)), 0); return })
	program.Close()
	if err != nil {
		return fmt.Errorf("take over the filter's listener: %w", err)
	}
	l, err := notify.NewListener(sys.NewFD(n))
	if err != nil {
		return err
	}
	p.set(stateServing)
	if err := unix.Close(sharedFD); err != nil {
		return err
	}
	return s.Serve(l)
}

// probe tries what answering takes, before anything depends on it: copying a
// descriptor of the process, and reading its memory. Whoever may do the first may
// do the second.
func probe(target, pid int) error {
	for fd := range 1 << 16 {
		n, err := unix.PidfdGetfd(target, fd, 0)
		switch err {
		case nil:
			return unix.Close(n)
		case unix.EBADF:
			continue
		}
		return fmt.Errorf("copy a descriptor of process %d: %w", pid, err)
	}
	return fmt.Errorf("copy a descriptor of process %d: %w", pid, unix.EBADF)
}

// uniform refuses a process that is not what a supervisor takes it for: one table of
// descriptors, and calls that the filter sees. Once there is the filter neither can
// change.
func uniform(pid int) error {
	threads, err := sys.Threads(pid)
	if err != nil {
		return err
	}
	for _, tid := range threads {
		if !sys.SameFiles(pid, tid) {
			return fmt.Errorf("thread %d has descriptors of its own: %w", tid, unix.EBUSY)
		}
		if err := sys.FiltersSee(pid, tid); err != nil {
			return err
		}
	}
	return nil
}
