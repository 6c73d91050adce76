package sys

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDeafen deafens a process of its own: nothing undoes it.
func TestDeafen(t *testing.T) {
	if os.Getenv("CAPSICUM_TEST_DEAFEN") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestDeafen$", "-test.v")
		cmd.Env = append(os.Environ(), "CAPSICUM_TEST_DEAFEN=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: TestDeafen") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(unix.SIGHUP)
	if err := Deafen(); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGTSTP, unix.SIGUSR1, unix.SIGABRT, unix.SIGCHLD, unix.SIGPIPE, 40} {
		for range 100 {
			if err := unix.Kill(os.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A child starts with the defaults, but for what was ignored.
	out, err := exec.Command("/bin/grep", "SigIgn", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out))[1]; got != "0000000000000001" {
		t.Errorf("child ignores %s, want SIGHUP only", got)
	}
}
