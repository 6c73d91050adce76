package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/selfcopy"
)

// TestMain is the program itself, or a worker, when it is called so.
func TestMain(m *testing.M) {
	if os.Getenv("WORKERS_TEST") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program returns a command that is the program, as an ordinary user too if we are root.
func program(t *testing.T, user bool, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(selfcopy.Make(t))
	cmd.Env = append(append(os.Environ(), "WORKERS_TEST=1"), env...)
	if user && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1500, Gid: 1500}}
	}
	return cmd
}

func TestWork(t *testing.T) {
	for _, user := range []bool{false, true} {
		out, err := program(t, user).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got := strings.Split(strings.TrimSpace(string(out)), "\n")
		slices.Sort(got)
		want := []string{"part 0: 499500", "part 1: 1499500", "part 2: 2499500", "part 2: killed, try 0", "part 3: 3499500"}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestNoneIsLeaked kills the program: its output, which the workers have too, ends.
func TestNoneIsLeaked(t *testing.T) {
	for _, user := range []bool{false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := program(t, user, "HANG=1")
		cmd.Stdout, cmd.Stderr = w, os.Stderr
		if err := errors.Join(cmd.Start(), w.Close()); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(r)
		for range 4 {
			if line, err := in.ReadString('\n'); err != nil || !strings.HasSuffix(line, "hangs\n") {
				t.Fatalf("%q, %v", line, err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
			t.Errorf("after the program is killed: %q, %v: workers are left", rest, err)
		}
		_ = cmd.Wait()
	}
}
