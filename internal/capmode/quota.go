package capmode

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
)

// What calls hold of the supervisor until they are answered - a thread, descriptors -
// others have not. A process with many threads could have it all, with calls that wait
// for what never comes; then nobody else would be answered. So nobody gets more than
// is left: whoever asks for less finds some, however many take as much as they can.

// workers is how many calls are served at a time; the others wait in the kernel.
const workers = supervisor.DefaultMaxWorkers

// within reports whether who has mine may have it, as all have so many of most.
func within(mine, all, most int32) bool { return mine <= most-all }

// admit counts a call of p that is to be served, and reports whether it may be.
func (w *Warden) admit(p *process) bool {
	if within(p.serving.Add(1), w.serving.Add(1), workers) {
		return true
	}
	w.leave(p)
	return false
}

// leave undoes admit.
func (w *Warden) leave(p *process) {
	p.serving.Add(-1)
	w.serving.Add(-1)
}

// Blocking is [supervisor.Call.Blocking], for as many calls of a process as leave it
// some that do not wait.
func (c *call) Blocking(f func() error) error {
	if !within(2*c.p.serving.Load(), c.w.serving.Load(), workers) {
		return unix.ENOMEM
	}
	return c.Call.Blocking(f)
}

// keepable returns how many descriptors may be kept for callers of each kind, in this
// process.
func keepable() int {
	const most = 1 << 14
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(l.Cur/4, most))
}
