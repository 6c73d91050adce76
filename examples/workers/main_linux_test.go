package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

// TestMain is the program itself, or a worker, when it is called so.
func TestMain(m *testing.M) {
	switch os.Getenv("WORKERS_TEST") {
	case "":
	case "ordinary":
		if os.Args[0] != workerName {
			if err := ordinary(); err != nil {
				panic(err)
			}
		}
		worker(os.Args[1:])
		os.Exit(0)
	default:
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program returns a command that is the program, as an ordinary user too if we are root.
func program(t *testing.T, user bool, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(exetest.Self(t))
	cmd.Env = append(append(os.Environ(), "WORKERS_TEST=1"), env...)
	if user && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1500, Gid: 1500}}
	}
	return cmd
}

// ordinary starts four workers as any program starts others, and waits.
func ordinary() error {
	var errs []error
	for part := range 4 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{workerName, strconv.Itoa(part), "0"}
		cmd.Stdout = os.Stdout
		errs = append(errs, cmd.Start())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
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

// TestNoneIsLeaked kills the program: its output, which the workers have too, ends. That
// of a program whose workers are ordinary children goes on.
func TestNoneIsLeaked(t *testing.T) {
	for _, user := range []bool{false, true} {
		for kind, end := range map[string]error{"program": nil, "ordinary": os.ErrDeadlineExceeded} {
			if got := killed(t, user, kind); !errors.Is(got, end) {
				t.Errorf("%s: its output after it was killed: %v, want %v", kind, got, end)
			}
		}
	}
}

// killed kills a program whose workers hang, and returns how its output ends.
func killed(t *testing.T, user bool, kind string) error {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := program(t, user, "HANG=1", "WORKERS_TEST="+kind)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	// What is leaked is in the group.
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	in := bufio.NewReader(r)
	for range 4 {
		if line, err := in.ReadString('\n'); err != nil || !strings.HasSuffix(line, "hangs\n") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait := 10 * time.Second
	if kind == "ordinary" {
		wait = 300 * time.Millisecond
	}
	if err := r.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(in)
	_ = cmd.Wait()
	return err
}
