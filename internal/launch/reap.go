package launch

import (
	"golang.org/x/sys/unix"
)

// reap is init's work: it collects every process that ends, tells the front
// what happens to the program, and returns when the sandbox is over.
func (sb *sandbox) reap(ctl channel) int {
	ended := false
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED|unix.WCONTINUED|unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil: // ECHILD: every orphan has ended, too
			return 0
		case pid != sb.pid:
			continue
		}
		rep := report{Status: uint32(status)}
		switch {
		case status.Stopped():
			rep.Kind = reportStopped
		case status.Continued():
			rep.Kind = reportContinued
		default:
			rep.Kind = reportExited
			ended = true
		}
		if ended {
			sb.end()
		}
		if err := ctl.send(rep, -1); err != nil && ended {
			return exitRefused
		}
		if ended && !sb.setup.Linger {
			return 0
		}
	}
}

// end is the end of the program, and of the sandbox unless it lingers. The
// front may go away from here on.
func (sb *sandbox) end() {
	if sb.setup.Linger {
		sb.lingering.Store(true)
		return
	}
	sb.destroy()
}
