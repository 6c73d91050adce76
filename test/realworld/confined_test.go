//go:build realworld

package realworld

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/request"
)

const (
	capabilityMode = -134 // ECAPMODE, which no kernel says
	notCapable     = -135
	noCall         = -int64(syscall.ENOSYS)
	staticMode     = 4 // the question of the mode that filters answer; see package slot
)

// An action that is tried from within a program in the middle of its job.
type action struct {
	name string
	call call
	want map[string]int64 // by form
	// plain is the answer to a program that is not confined.
	plain func(got int64) bool
}

func works(got int64) bool { return got >= 0 }

func is(want int64) func(int64) bool { return func(got int64) bool { return got == want } }

func everywhere(want int64) map[string]int64 {
	return map[string]int64{"supervised": want, "static": want}
}

func actions(parent, pid int) []action {
	const here = -100 // AT_FDCWD
	address := "\x02\x00\x00\x35\x7f\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"
	return []action{
		{"getpid, to see that this way of asking works", call{syscall.SYS_GETPID, nil}, everywhere(int64(pid)), is(int64(pid))},
		{"a request that says nothing", call{request.Number, []any{int(request.Stacked), -1}},
			map[string]int64{"supervised": -int64(syscall.EINVAL), "static": noCall}, is(noCall)},
		{"the mode", call{request.Number, []any{staticMode}}, everywhere(capabilityMode), is(noCall)},
		{"open /etc/passwd", call{syscall.SYS_OPENAT, []any{here, "/etc/passwd", syscall.O_RDONLY}}, everywhere(capabilityMode), works},
		{"open ., by the older call", call{syscall.SYS_OPEN, []any{".", syscall.O_RDONLY}}, everywhere(capabilityMode), works},
		{"access /", call{syscall.SYS_ACCESS, []any{"/", 0}}, everywhere(capabilityMode), works},
		{"make a directory", call{syscall.SYS_MKDIR, []any{"made", 0o700}}, everywhere(capabilityMode), works},
		{"look for the parent", call{syscall.SYS_KILL, []any{parent, 0}}, everywhere(capabilityMode), works},
		{"connect", call{syscall.SYS_CONNECT, []any{0, address, len(address)}}, everywhere(capabilityMode), is(-int64(syscall.ENOTSOCK))},
		{"fchmod of the input", call{syscall.SYS_FCHMOD, []any{0, 0o600}}, everywhere(notCapable), works},
	}
}

// A worker is a program that has read half of its input, and waits for more.
type worker struct {
	cmd    *exec.Cmd
	rest   []byte
	stdin  io.WriteCloser
	output bytes.Buffer
	errors bytes.Buffer
}

func start(t *testing.T, path string, input []byte, env []string, args ...string) *worker {
	t.Helper()
	w := &worker{cmd: exec.Command(path, args...), rest: input[len(input)/2:]}
	w.cmd.Dir = t.TempDir()
	w.cmd.Env = append(os.Environ(), env...)
	w.cmd.Stdout, w.cmd.Stderr = &w.output, &w.errors
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	if _, err := w.stdin.Write(input[:len(input)/2]); err != nil {
		t.Fatalf("feed %s: %v\n%s", path, err, &w.errors)
	}
	return w
}

// finish gives it the rest, and returns all of its output.
func (w *worker) finish(t *testing.T) []byte {
	t.Helper()
	if _, err := w.stdin.Write(w.rest); err != nil {
		t.Errorf("feed the rest: %v", err)
	}
	if err := w.stdin.Close(); err != nil {
		t.Error(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", w.cmd.Path, err, &w.errors)
	}
	return w.output.Bytes()
}

// supervisors are the processes that supervise a process.
func supervisors(t *testing.T, pid int) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		// One that has just ended can't be read, and supervises nobody.
		if line, _ := os.ReadFile(name); string(line) == fmt.Sprintf("capsicum: supervisor of\x00%d\x00", pid) {
			found = append(found, filepath.Base(filepath.Dir(name)))
		}
	}
	return found
}

// filters is how many filters the kernel runs before a call of the process.
func filters(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\nSeccomp_filters:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if !found || err != nil {
		t.Fatalf("no number of filters: %q", line)
	}
	return n
}

// forms are the ways in which the library confines.
var forms = map[string][]string{
	"supervised": nil,
	"static":     {"CAPSICUM_SUPERVISOR=/nonexistent/capsicum"},
}

// TestConfined stops each program in the middle of its job and tries what it must not
// do, in capability mode and with rights taken away; then has the job finished. The
// same program without the library can do all of it.
func TestConfined(t *testing.T) {
	for _, p := range programs {
		input := p.input(t)
		want := output(t, p.binary(t, "plain"), input, p.args...)
		for form := range forms {
			t.Run(p.name+"/"+form, func(t *testing.T) { confined(t, p, form, input, want) })
		}
		t.Run(p.name+"/plain", func(t *testing.T) {
			args := p.args
			if os.Geteuid() == 0 {
				args = append(args, p.stayRoot...)
			}
			w := start(t, p.binary(t, "plain"), input, nil, args...)
			pid := w.cmd.Process.Pid
			attempt(t, pid, func(a action, got int64) bool { return a.plain(got) })
			if n := filters(t, pid); n != filters(t, os.Getpid()) {
				t.Errorf("%d filters", n)
			}
			if got := w.finish(t); !bytes.Equal(got, want) {
				t.Error("being stopped changes the result")
			}
		})
	}
}

func confined(t *testing.T, p program, form string, input, want []byte) {
	w := start(t, p.binary(t, "confined"), input, forms[form], p.args...)
	pid := w.cmd.Process.Pid
	attempt(t, pid, func(a action, got int64) bool { return got == a.want[form] })
	if n := filters(t, pid); n < 2 {
		t.Errorf("%d filters", n)
	}
	if n := len(supervisors(t, pid)); n != map[string]int{"supervised": 1, "static": 0}[form] {
		t.Errorf("%d supervisors", n)
	}
	if got := w.finish(t); !bytes.Equal(got, want) {
		t.Errorf("the result has %d bytes; without the library %d, and they differ", len(got), len(want))
	}
	for deadline := time.Now().Add(10 * time.Second); len(supervisors(t, pid)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the supervisor outlives the program")
		}
	}
}

// attempt tries every action from within a process.
func attempt(t *testing.T, pid int, right func(action, int64) bool) {
	t.Helper()
	all := actions(os.Getpid(), pid)
	calls := make([]call, len(all))
	for i, a := range all {
		calls[i] = a.call
	}
	for i, got := range inject(t, pid, calls) {
		if !right(all[i], got) {
			t.Errorf("%s: %d", all[i].name, got)
		}
	}
}

// TestOrdinaryUser runs all of it as somebody who is not root.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the other tests are run by one
	}
	cmd := exec.Command(exetest.Self(t), "-test.v", "-test.run=^Test(XZ|XZDamaged|Tcpdump|TcpdumpWrites|Lowdown|Confined|SSHConfined)$")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: asUser}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || bytes.Count(out, []byte("\n--- PASS: Test")) != 7 {
		t.Errorf("as an ordinary user: %v", err)
	}
}
