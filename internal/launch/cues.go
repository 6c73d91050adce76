package launch

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// cues are how the front tells the children that what they wait for is there:
// init its identity mapping, and then the program's process the plan. They are
// counted in an eventfd. A write to a pipe or socket would wake the child on the
// front's own processor, where it waits until the front sleeps; this one may wake
// it on another.
type cues struct {
	given    *sys.FD // the eventfd
	lifeline *sys.FD // a pipe's end for writing: when it is closed, there is no more front

	// The numbers in the children.
	taken, broken int
}

func (c *children) openCues() error {
	n, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE)
	if err != nil {
		return fmt.Errorf("create eventfd: %w", err)
	}
	c.cues.given, c.cues.taken = sys.NewFD(n), n
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("create pipe: %w", err)
	}
	c.cues.broken, c.cues.lifeline = pipe[0], sys.NewFD(pipe[1])
	c.hold = append(c.hold, sys.NewFD(pipe[0]))
	return nil
}

// give gives the next cue.
func (c *cues) give() error {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	err := sys.Retry(func() error { _, err := unix.Write(c.given.Int(), one); return err })
	if err != nil {
		return fmt.Errorf("give a cue: %w", err)
	}
	return nil
}

// await adds a child's wait for the next cue; it fails when the front is gone.
func (c *cues) await(seq *script.Sequence, what string) {
	poll := &[2]unix.PollFd{{Fd: int32(c.taken), Events: unix.POLLIN}, {Fd: int32(c.broken), Events: unix.POLLIN}}
	seq.Do(what, unix.SYS_PPOLL, script.Struct(poll), len(poll), nil, nil, 0)
	seq.Do(what, unix.SYS_READ, c.taken, script.Struct(new(uint64)), 8)
}
