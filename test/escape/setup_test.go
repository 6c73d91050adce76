//go:build linux && amd64

package escape

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sysno"
)

// A step of the set-up: a system call that, if it fails, leaves the sandbox
// weaker than what was promised, so that the program must not be started.
type step struct {
	call  string
	arg   int // of this register, -1 for any call
	value int
	where string // engine, "" for both
}

var steps = []step{
	{"seccomp", 0, 1 /* SECCOMP_SET_MODE_FILTER */, ""},
	{"prctl", 0, unix.PR_SET_NO_NEW_PRIVS, ""},
	{"landlock_create_ruleset", -1, 0, ""},
	{"landlock_restrict_self", -1, 0, ""},
	{"landlock_add_rule", -1, 0, ""},
	{"capset", -1, 0, ""},
	{"prctl", 0, unix.PR_CAPBSET_DROP, "namespaces"},
	{"prctl", 0, unix.PR_CAP_AMBIENT, "namespaces"},
	{"sendmsg", -1, 0, ""},
	{"socketpair", -1, 0, ""},
	{"memfd_create", -1, 0, ""},
	{"execveat", -1, 0, "landlock"}, // elsewhere nobody asks: see TestNoSupervisor
	{"chdir", -1, 0, ""},
	{"prlimit64", 1, unix.RLIMIT_NPROC, ""},
	{"open_tree", -1, 0, "namespaces"},
	{"mount_setattr", -1, 0, "namespaces"},
	{"move_mount", -1, 0, "namespaces"},
	{"fsopen", -1, 0, "namespaces"},
	{"fsconfig", -1, 0, "namespaces"},
	{"fsmount", -1, 0, "namespaces"},
	{"mount", -1, 0, "namespaces"},
	{"umount2", -1, 0, "namespaces"},
	{"pivot_root", -1, 0, "namespaces"},
	{"mkdirat", -1, 0, "namespaces"},
	{"mknodat", -1, 0, "namespaces"},
	{"symlinkat", -1, 0, "namespaces"},
	{"fchdir", -1, 0, "namespaces"},
}

// failures are what each step is made to fail with. ENOSYS is a kernel without
// the call, EMFILE what a caller brings about that has no descriptor left.
var failures = []unix.Errno{unix.EPERM, unix.ENOMEM, unix.EMFILE, unix.ENOSYS}

// command is a run of the harmless victim.
func harmless(st *stage, engine string) []string {
	return []string{built.capsicum, "run", "--engine=" + engine, "--ro", st.in("g"), "--limit", "procs=4000", "--", built.victim, "hello"}
}

// started runs a command to its end and says what is wrong with that: nothing if
// the program was not started.
func started(t *testing.T, st *stage, argv []string) (wrong string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(st.uid), Setpgid: true}
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=/tmp"}
	cmd.Dir = "/"
	// Everything that a start leaves behind is in its process group, or its child.
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, _ := cmd.Output() // refused: that is the point
	switch {
	case strings.Contains(string(out), "hello: OK"):
		return "started"
	case ctx.Err() != nil:
		return "hung"
	}
	return ""
}

// TestFailingSetup makes each step of the set-up fail in every process, always.
func TestFailingSetup(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, engine string, uid int) {
		t.Parallel()
		st := newStage(t, built, uid)
		if started(t, st, harmless(st, engine)) != "started" {
			t.Fatal("does not start without a failure")
		}
		var holes []string
		n := 0
		for _, s := range steps {
			if s.where != "" && s.where != engine {
				continue
			}
			nr, ok := sysno.Nr(sysno.AMD64, s.call)
			if !ok {
				t.Fatalf("no call %s", s.call)
			}
			arg := "-"
			if s.arg >= 0 {
				arg = strconv.Itoa(s.arg)
			}
			for _, errno := range failures {
				if s.call == "landlock_create_ruleset" && engine == "namespaces" && (errno == unix.ENOSYS || errno == unix.EPERM) {
					continue // a machine without Landlock: the mounts alone keep what the plan says, or the start is refused for the right it names
				}
				n++
				launcher := []string{built.victim, "launch", strconv.Itoa(nr), strconv.Itoa(int(errno)), arg, strconv.Itoa(s.value)}
				if wrong := started(t, st, append(launcher, harmless(st, engine)...)); wrong != "" {
					holes = append(holes, fmt.Sprintf("%s although %s (argument %s = %d) failed with %s", wrong, s.call, arg, s.value, unix.ErrnoName(errno)))
				}
			}
		}
		judged(t, 44, "failing-setup", engine, uid, n, holes)
	})
}

// TestNoSupervisor is a sandbox whose supervisor cannot be started when the first
// question comes.
func TestNoSupervisor(t *testing.T) {
	t.Parallel()
	for _, uid := range []int{0, ordinary} {
		st := newStage(t, built, uid)
		nr, _ := sysno.Nr(sysno.AMD64, "execveat")
		cmd := exec.Command(built.victim, "launch", strconv.Itoa(nr), strconv.Itoa(int(unix.ENOMEM)), "-", "0",
			built.capsicum, "run", "--engine=namespaces", "--", built.victim, "awake")
		cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(st.uid)}
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 125 || !strings.Contains(string(out), "start the supervisor: cannot allocate memory") {
			t.Errorf("uid %d: %v, want exit status 125 and the reason:\n%s", uid, err, out)
		}
	}
}

// TestFailingOnce makes one call of a step fail, the first, the second and so
// on, where strace is there to do it.
func TestFailingOnce(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("no strace")
	}
	everywhere(t, func(t *testing.T, engine string, uid int) {
		t.Parallel()
		st := newStage(t, built, uid)
		dir := scratch(t)
		traced := func(args ...string) []string {
			return append(append([]string{strace, "-f", "-qq", "-o", filepath.Join(dir, "trace")}, args...), harmless(st, engine)...)
		}
		if started(t, st, traced("-e", "trace=none")) != "started" {
			t.Fatal("does not start under strace")
		}
		var holes []string
		n := 0
		var calls []string
		for _, s := range steps {
			if (s.where == "" || s.where == engine) && s.call != "prctl" && s.call != "prlimit64" && !slices.Contains(calls, s.call) {
				calls = append(calls, s.call)
			}
		}
		for _, call := range calls {
			most := 2
			if long() {
				most = 12
			}
			if call == "capset" || call == "sendmsg" {
				most = 1 // later ones come after the start: taking on a caller's capabilities, reporting the end
			}
			for when := 1; when <= most; when++ {
				inject := fmt.Sprintf("inject=%s:error=EPERM:when=%d", call, when)
				wrong := started(t, st, traced("-e", "trace="+call, "-e", inject))
				b, err := os.ReadFile(filepath.Join(dir, "trace"))
				must(t, err)
				hits := strings.Count(string(b), "(INJECTED)")
				if hits == 0 {
					break
				}
				n++
				if wrong != "" && !excusable(string(b)) {
					holes = append(holes, fmt.Sprintf("%s although call %d of %s failed: %s", wrong, when, call, injected(string(b))))
				}
			}
		}
		judged(t, 44, "failing-once", engine, uid, n, holes)
	})
}

// injected returns the lines of a trace that were made to fail.
func injected(trace string) string {
	var out []string
	for line := range strings.Lines(trace) {
		if strings.Contains(line, "(INJECTED)") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "; ")
}

// excusable reports whether what was made to fail was only a question: the
// probes that learn which flags this kernel has, and the supervisor's own look
// at them after the program was confined.
func excusable(trace string) bool {
	for line := range strings.Lines(trace) {
		if !strings.Contains(line, "(INJECTED)") {
			continue
		}
		question := strings.Contains(line, "LANDLOCK_CREATE_RULESET_VERSION") || strings.Contains(line, "SECCOMP_GET_NOTIF_SIZES") ||
			strings.Contains(line, ", NULL)")
		if !question {
			return false
		}
	}
	return true
}
