package launch

import "golang.org/x/sys/unix"

// reap is init's work: it collects every process that ends, tells the front
// what happens to the program, and returns when the sandbox is over.
func (sb *sandbox) reap() int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED|unix.WCONTINUED|unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil: // ECHILD: every process has ended
			sb.destroy() // of an engine whose sandbox is more than processes
			return 0
		case pid != sb.pid:
			continue // an orphan
		}
		rep := report{Kind: reportExited, Status: uint32(status)}
		switch {
		case status.Stopped():
			rep.Kind = reportStopped
		case status.Continued():
			rep.Kind = reportContinued
		default:
			sb.end()
		}
		sent := sb.ctl.send(rep, -1)
		if rep.Kind == reportExited && !sb.setup.Linger {
			return 0
		}
		if sent != nil && !sb.lingering.Load() {
			sb.destroy()
			return exitRefused
		}
	}
}

// end is the end of the program, and of the sandbox unless it lingers. The
// front may go away from here on.
func (sb *sandbox) end() {
	if !sb.setup.Linger {
		sb.destroy()
		return
	}
	sb.ending.Lock() // the program may have been ended by who destroys everything
	sb.lingering.Store(true)
	sb.ending.Unlock()
}
