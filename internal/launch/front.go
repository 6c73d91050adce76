package launch

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// front is the command's side of one run.
type front struct {
	events   func(Event)
	setup    *setup
	children *children
	signals  *sys.FD // see [receive]
	program  *sys.FD // pidfd, nil until started
	pid      int
	left     bool // the program has ended, and its orphans are the supervisor's

	stops   int       // how often the program was reported stopped
	stopped bool      // and it was not reported continued since
	resumed time.Time // when we last were continued after it
	nudge   time.Time // when to look whether it was continued, zero for never
	nudged  int       // stops when nudge was set
}

// follow sees the program through to its end.
func (f *front) follow() (int, error) {
	for {
		ready := [2]unix.PollFd{{Fd: int32(f.children.front.fd), Events: unix.POLLIN}, {Fd: int32(f.signals.Int()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready[:], f.patience())
		if err != nil && err != unix.EINTR {
			return 0, fmt.Errorf("wait for the sandbox: %w", err)
		}
		if n == 0 {
			f.wake()
		}
		if n > 0 && ready[1].Revents != 0 {
			f.forward()
		}
		if n > 0 && ready[0].Revents != 0 {
			if done, status, err := f.hear(); done {
				return status, err
			}
		}
	}
}

// hear acts on one report and says whether it was the last.
func (f *front) hear() (done bool, status int, err error) {
	r, pidfd, err := f.children.front.receive()
	if errors.Is(err, io.EOF) {
		status, err = f.gone()
		return true, status, err
	}
	if err != nil {
		return true, 0, err
	}
	return f.handle(r, pidfd)
}

// handle acts on one report and says whether it was the last.
func (f *front) handle(r report, pidfd *sys.FD) (done bool, status int, err error) {
	ws := unix.WaitStatus(r.Status)
	switch r.Kind {
	case reportStarted:
		f.program = pidfd
		f.pid = pidOf(pidfd)
		if err := f.answer(reportHeard); err != nil {
			return true, 0, err
		}
		letGo(f.setup.FDs)
		f.events(f.event("started"))
		// Not before: the program's process has more use for both processors.
		if err := f.setup.write(f.children.setup); err != nil {
			return true, 0, err
		}
		if err := f.answer(reportReady); err != nil {
			return true, 0, err
		}
		if f.setup.Filter.Library {
			f.children.beAsked()
		}
	case reportStopped:
		ev := f.event("stopped")
		ev.Signal = int(ws.StopSignal())
		f.events(ev)
		f.stop(ws.StopSignal())
	case reportContinued:
		f.stopped = false
		f.events(f.event("continued"))
	case reportExited:
		if f.left = f.setup.Linger; f.left {
			f.children.disown()
		} else {
			f.children.wait()
		}
		status, err = f.exited(ws)
		return true, status, err
	case reportRefused:
		f.children.wait()
		f.children.killLeft()
		return true, 0, refusedBy(r)
	}
	return false, 0, nil
}

// answer tells init how far we are. If that is gone, its end is on the way.
func (f *front) answer(kind reportKind) error {
	err := f.children.front.send(report{Kind: kind}, -1)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("answer the sandbox: %w", err)
	}
	return nil
}

// event is an event of this run.
func (f *front) event(kind string) Event {
	return Event{Type: kind, Engine: f.setup.Engine, PID: f.pid, Time: time.Now()}
}

// exited ends a run whose program has ended.
func (f *front) exited(ws unix.WaitStatus) (int, error) {
	if err := f.failed(); err != nil {
		return 0, err
	}
	ev := f.event("exited")
	ev.Exit = ws.ExitStatus()
	if ws.Signaled() {
		ev.Signal = int(ws.Signal())
		ev.Exit = exitSignal + ev.Signal
	}
	f.events(ev)
	return ev.Exit, nil
}

// gone ends a run whose init, or supervisor, went away without a word. Either
// the program ended before there was a supervisor, or its process failed before
// it was handed over, or the supervisor was killed, and everything it supervised
// goes with it.
func (f *front) gone() (int, error) {
	status := f.children.wait()
	f.children.killLeft()
	if f.children.ended.Load() != 0 {
		return f.exited(unix.WaitStatus(f.children.status.Load()))
	}
	if err := f.failed(); err != nil {
		return 0, err
	}
	if f.program == nil {
		return 0, refuse("the sandbox ended before the program was started (wait status %#x)", uint32(status))
	}
	return exitSignal + int(unix.SIGKILL), nil
}
