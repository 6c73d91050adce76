package launch

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
)

// TestTimerSlack: the program has the caller's timer slack, though the thread that
// starts it is one that the runtime's monitor has started.
func TestTimerSlack(t *testing.T) {
	const slack = 123456
	runtime.LockOSThread() // for good: the thread has another slack now
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 2_000_000, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	c, err := newChildren(&policy.Policy{}, policy.EngineLandlock, nil, slack)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.KeepAlive(c)
	defer c.kill()
	has, initially := script.NewValue(), script.NewValue()
	c.program.Do("read the slack", unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0, 0, 0).Into(has)
	c.program.Do("go back to the first", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	c.program.Do("read that", unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0, 0, 0).Into(initially)
	c.program.Do("end", unix.SYS_EXIT_GROUP, 0)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	if err := c.goOn(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); initially.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if has.Load() != slack || initially.Load() != slack {
		t.Errorf("the program has a timer slack of %d, and %d to go back to; want %d: %v, %v",
			has.Load(), initially.Load(), slack, c.first.Err(), c.program.Err())
	}
}
