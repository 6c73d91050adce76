package sys

import (
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPipeSignals sends signals to every thread of a busy process.
func TestPipeSignals(t *testing.T) {
	const variable = "CAPSICUM_TEST_SIGNALS"
	if os.Getenv(variable) == "" {
		cmd := exec.Command("/bin/sh", "-c", `trap "" HUP; exec "$0" -test.run='^TestPipeSignals$'`, os.Args[0])
		cmd.Env = append(os.Environ(), variable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	pipe, err := PipeSignals([]unix.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	for range 4 {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
				}
			}
		}()
	}
	send := func(sig unix.Signal) {
		if err := unix.Kill(unix.Getpid(), sig); err != nil {
			t.Error(err)
		}
	}
	send(unix.SIGHUP) // ignored, and stays so
	got := map[unix.Signal]int{}
	for range 200 {
		send(unix.SIGTERM)
		send(unix.SIGUSR1)
		for seen := 0; seen < 2; {
			fds := []unix.PollFd{{Fd: int32(pipe.Int()), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, int((10 * time.Second).Milliseconds()))
			if err == unix.EINTR {
				continue
			}
			if err != nil || n != 1 {
				t.Fatal(n, err, got)
			}
			var b [4]byte
			if n, err := unix.Read(pipe.Int(), b[:]); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			got[unix.Signal(binary.NativeEndian.Uint32(b[:]))]++
			seen++
		}
	}
	close(stop)
	if got[unix.SIGTERM] != 200 || got[unix.SIGUSR1] != 200 || len(got) != 2 {
		t.Errorf("%v", got)
	}
}
