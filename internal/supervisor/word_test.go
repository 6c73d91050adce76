package supervisor

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWordIn(t *testing.T) {
	for limit, want := range map[uint64]uint64{
		0: 0, 5: 5, math.MaxInt64: math.MaxInt64, 1 << 63: 0, 1<<63 | 5: 0, unix.RLIM_INFINITY: 0,
	} {
		if got := wordIn(unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}); got != want {
			t.Errorf("limit %#x holds %#x, want %#x", limit, got, want)
		}
	}
}

// TestLastLabel: a label that has no room must not run into what is another's.
func TestLastLabel(t *testing.T) {
	if err := new(Call).SetForkLabel(1, forkMask+1); err != unix.EAGAIN {
		t.Errorf("%v, want %v", err, unix.EAGAIN)
	}
}
