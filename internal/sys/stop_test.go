package sys

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStopBy stops a process that handles the signal, and continues it.
func TestStopBy(t *testing.T) {
	const variable = "CAPSICUM_TEST_STOP"
	if name := os.Getenv(variable); name != "" {
		sig := unix.SignalNum(name)
		c := make(chan os.Signal, 4)
		if sig != unix.SIGSTOP {
			signal.Notify(c, sig)
		}
		if err := StopBy(sig); err != nil {
			t.Fatal(err)
		}
		if sig != unix.SIGSTOP {
			if err := unix.Kill(unix.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
			<-c // it is handled again
		}
		return
	}
	for _, sig := range []unix.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGSTOP} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestStopBy$")
			cmd.Env = append(os.Environ(), variable+"="+unix.SignalName(sig))
			// A group that is not orphaned, or the kernel ignores terminal stops.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var status unix.WaitStatus
			err := Retry(func() error {
				_, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil)
				return err
			})
			if err != nil || !status.Stopped() || status.StopSignal() != sig {
				t.Fatalf("wait status %#x, %v, want stopped by %v", status, err, sig)
			}
			if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
