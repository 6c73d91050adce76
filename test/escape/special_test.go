//go:build linux && amd64

package escape

import (
	"bufio"
	"bytes"
	"context"
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

	"golang.org/x/sys/unix"
)

// everywhere runs f under each engine as each user.
func everywhere(t *testing.T, f func(t *testing.T, engine string, uid int)) {
	for _, engine := range engines {
		for _, uid := range users() {
			t.Run(engine+"-"+userName(uid), func(t *testing.T) { f(t, engine, uid) })
		}
	}
}

// judged records the verdict of a test that is not a row of attacks.
func judged(t *testing.T, row int, name, engine string, uid, attempts int, holes []string) {
	verdicts.add(verdict{row, name, engine, userName(uid), attempts, holes, 0, 0})
	for _, h := range holes {
		t.Errorf("row %d %s, %s, %s: %s", row, name, engine, userName(uid), h)
	}
}

// sandboxed is a program in a sandbox that the test talks to.
type sandboxed struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	stderr bytes.Buffer
}

// start runs a victim under engine and leaves it running.
func start(t *testing.T, st *stage, engine string, grants []string, victim ...string) *sandboxed {
	t.Helper()
	argv := []string{"run", "--engine=" + engine}
	for _, g := range grants {
		argv = append(argv, st.expand(g))
	}
	argv = append(argv, "--")
	for _, v := range victim {
		argv = append(argv, st.expand(v))
	}
	s := &sandboxed{cmd: exec.Command(built.capsicum, argv...)}
	s.cmd.Env = []string{"PATH=/usr/bin:/bin"}
	s.cmd.Dir = "/"
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(st.uid), Setpgid: true}
	s.cmd.Stderr = &s.stderr
	stdin, err := s.cmd.StdinPipe()
	must(t, err)
	stdout, err := s.cmd.StdoutPipe()
	must(t, err)
	s.stdin, s.lines = stdin, bufio.NewScanner(stdout)
	must(t, s.cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	return s
}

// until reads lines up to the one that is want.
func (s *sandboxed) until(t *testing.T, want string) []string {
	t.Helper()
	var all []string
	for s.lines.Scan() {
		all = append(all, s.lines.Text())
		if s.lines.Text() == want {
			return all
		}
	}
	_ = s.cmd.Wait()
	t.Fatalf("no line %q in %q; stderr %s", want, all, s.stderr.String())
	return nil
}

// supervisor finds the supervisor of a running sandbox, the front's only child,
// which is its init as long as nobody has asked anything.
func (s *sandboxed) supervisor(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	must(t, err)
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && parentOf(pid) == s.cmd.Process.Pid {
			return pid
		}
	}
	t.Fatal("the sandbox has no supervisor")
	return 0
}

func parentOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	n, _ := strconv.Atoi(fields[1]) // the kernel's own number
	return n
}

// planted are names at which a loader looks, which the namespaces engine can
// give to files of the sandbox.
var planted = []string{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"}

// TestSupervisorIsAlone looks at the supervisor from outside: it runs nothing
// of the sandbox's, and its user's other processes do not read it.
func TestSupervisorIsAlone(t *testing.T) {
	everywhere(t, func(t *testing.T, engine string, uid int) {
		st := newStage(t, built, uid)
		grants := []string{"--ro", "{g}"}
		seen := map[string]bool{}
		for i, name := range planted {
			if real, err := filepath.EvalSymlinks(name); err == nil && !seen[real] && engine == "namespaces" {
				seen[real] = true
				file := fmt.Sprintf("g/planted-%d", i)
				st.copy(name, file, 0o755)
				grants = append(grants, "--rox", st.in(file)+":"+name)
			}
		}
		s := start(t, st, engine, grants, built.victim, "wait", "{g}/f", "{s}/f")
		s.until(t, "=ready")
		pid := s.supervisor(t)
		var holes []string
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(maps)) {
			if fields := strings.Fields(line); len(fields) > 5 && fields[4] != "0" && !hostFile(fields[4], built.capsicum, planted) {
				holes = append(holes, "supervisor maps "+strings.TrimSpace(line))
			}
		}
		probe := exec.Command("/bin/cat", fmt.Sprintf("/proc/%d/environ", pid))
		probe.SysProcAttr = &syscall.SysProcAttr{Credential: credential(uid)}
		if err := probe.Run(); err == nil && uid != 0 {
			holes = append(holes, "its user's processes read the supervisor: it is dumpable")
		}
		judged(t, 27, "supervisor-is-alone", engine, uid, 2, holes)
	})
}

// hostFile reports whether an inode number is that of self or of what names
// are on the host.
func hostFile(inode, self string, names []string) bool {
	for _, name := range append([]string{self}, names...) {
		var s unix.Stat_t
		if err := unix.Stat(name, &s); err == nil && strconv.FormatUint(s.Ino, 10) == inode {
			return true
		}
	}
	return false
}

// TestKilledSupervisor: without its supervisor the program is killed.
func TestKilledSupervisor(t *testing.T) {
	everywhere(t, func(t *testing.T, engine string, uid int) {
		st := newStage(t, built, uid)
		s := start(t, st, engine, []string{"--ro", "{g}"}, built.victim, "wait", "{g}/f", "{s}/f")
		s.until(t, "=ready")
		must(t, unix.Kill(s.supervisor(t), unix.SIGKILL))
		done := make(chan []string)
		go func() {
			var rest []string
			for s.lines.Scan() {
				rest = append(rest, s.lines.Text())
			}
			done <- rest
		}()
		var holes []string
		select {
		case rest := <-done:
			if len(rest) > 0 {
				holes = append(holes, fmt.Sprintf("program went on: %q", rest))
			}
		case <-time.After(time.Minute):
			holes = append(holes, "program outlived its supervisor by a minute")
		}
		s.stdin.Close()
		if err := s.cmd.Wait(); err == nil {
			holes = append(holes, "the command ended with 0")
		}
		judged(t, 6, "killed-supervisor", engine, uid, 1, holes)
	})
}

// TestFlat: neither descriptors nor memory of the supervisor grow with the load.
func TestFlat(t *testing.T) {
	t.Parallel()
	n := "100000"
	if long() {
		n = "1000000"
	}
	everywhere(t, func(t *testing.T, engine string, uid int) {
		st := newStage(t, built, uid)
		s := start(t, st, engine, []string{"--ro", "{g}"}, built.victim, "opens", n, "{g}/f", "{s}/f")
		s.until(t, "=warm")
		pid := s.supervisor(t)
		before := measure(t, pid)
		_, err := io.WriteString(s.stdin, "\n")
		must(t, err)
		s.until(t, "=loaded")
		after := measure(t, pid)
		s.stdin.Close()
		var holes []string
		if after.fds > before.fds+8 {
			holes = append(holes, fmt.Sprintf("supervisor had %d descriptors, then %d", before.fds, after.fds))
		}
		if after.rss > before.rss+16<<10 {
			holes = append(holes, fmt.Sprintf("supervisor had %d KiB, then %d", before.rss, after.rss))
		}
		t.Logf("%s, %s: descriptors %d, %d; KiB %d, %d", engine, userName(uid), before.fds, after.fds, before.rss, after.rss)
		judged(t, 34, "flat-supervisor", engine, uid, 1, holes)
	})
}

// size is what a process holds. fds is 0 where we may not look.
type size struct{ fds, rss int }

func measure(t *testing.T, pid int) size {
	t.Helper()
	var s size
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil && os.Geteuid() == 0 {
		t.Fatal(err)
	}
	s.fds = len(entries)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			s.rss, err = strconv.Atoi(strings.Fields(rest)[0])
			must(t, err)
		}
	}
	return s
}

// TestForeignProgram: a program of the other architecture is refused, clearly.
func TestForeignProgram(t *testing.T) {
	t.Parallel()
	if built.i386 == "" {
		t.Skip("the compiler makes no 32-bit programs")
	}
	everywhere(t, func(t *testing.T, engine string, uid int) {
		st := newStage(t, built, uid)
		st.copy(built.i386, "g/x32", 0o755)
		if status, _ := runProgram(t, uid, st.in("g/x32")); status != 42 {
			t.Fatalf("unconfined: status %d", status)
		}
		var holes []string
		status, stderr := runProgram(t, uid, built.capsicum, "run", "--engine="+engine, "--", st.in("g/x32"))
		if status != 126 || !strings.Contains(stderr, "capsicum: ") {
			holes = append(holes, fmt.Sprintf("as the program: status %d, want 126; stderr %q", status, stderr))
		}
		status, stderr = runProgram(t, uid, built.capsicum, "run", "--engine="+engine, "--system", "--rox", st.in("g"),
			"--", "/bin/sh", "-c", st.in("g/x32"))
		if status == 42 {
			holes = append(holes, fmt.Sprintf("started from inside it ran; stderr %q", stderr))
		}
		judged(t, 19, "foreign-program", engine, uid, 2, holes)
	})
}

// runProgram runs argv as uid and returns its status and what it complained of.
func runProgram(t *testing.T, uid int, argv ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(uid), Setpgid: true}
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // the status tells
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// TestReusedNumbers is the attack of row 30 where process numbers come back at
// once: in a pid namespace with room for few.
func TestReusedNumbers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("making numbers scarce takes root")
	}
	const scarce = "echo 400 >/proc/sys/kernel/pid_max && exec \"$@\""
	host, err := os.ReadFile("/proc/sys/kernel/pid_max")
	must(t, err)
	inside, err := exec.Command("unshare", "-p", "-f", "--mount-proc", "sh", "-c", scarce, "sh", "cat", "/proc/sys/kernel/pid_max").Output()
	if now, _ := os.ReadFile("/proc/sys/kernel/pid_max"); !bytes.Equal(now, host) {
		must(t, os.WriteFile("/proc/sys/kernel/pid_max", host, 0o644))
		t.Skip("this kernel has one pid_max for all")
	}
	if err != nil || strings.TrimSpace(string(inside)) != "400" {
		t.Fatalf("make numbers scarce: %v, pid_max %q", err, inside)
	}
	for _, engine := range engines {
		st := newStage(t, built, 0)
		cmd := exec.Command("unshare", "-p", "-f", "--mount-proc", "sh", "-c", scarce, "sh", built.capsicum, "run", "--engine="+engine,
			"--env", "SECONDS", "--ro", st.in("g"), "--", built.victim, "reuse", st.in("g/f"), st.in("s/f"))
		cmd.Env = []string{"PATH=/usr/bin:/bin", fmt.Sprintf("SECONDS=%g", duration.Seconds())}
		out, err := cmd.CombinedOutput()
		var holes []string
		o := parse(string(out), func(string) bool { return false })
		if err != nil || !o.done {
			holes = append(holes, fmt.Sprintf("victim did not finish: %v: %s", err, out))
		}
		for _, at := range o.attempts {
			if at.succeeded() != (at.kind == '+') {
				holes = append(holes, fmt.Sprintf("%s: %v", at.name, at.errs))
			}
		}
		judged(t, 30, "reused-numbers", engine, 0, len(o.attempts), holes)
	}
}

// TestStorm is row 32 with the program that interrupts itself most: Go's runtime.
func TestStorm(t *testing.T) {
	t.Parallel()
	n := "20000"
	if long() {
		n = "1000000"
	}
	everywhere(t, func(t *testing.T, engine string, uid int) {
		st := newStage(t, built, uid)
		out, err := exec.Command(built.storm, n, st.in("g/f"), st.in("s/f")).Output()
		if err != nil || !strings.Contains(string(out), "secret: OK") {
			t.Fatalf("unconfined: %v: %s", err, out)
		}
		cmd := exec.Command(built.capsicum, "run", "--engine="+engine, "--ro", st.in("g"), "--", built.storm, n, st.in("g/f"), st.in("s/f"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(uid)}
		cmd.Dir = "/"
		out, err = cmd.CombinedOutput()
		var holes []string
		if err != nil || string(out) != "+opens: OK\nsecret: E2\ndone\n" {
			holes = append(holes, fmt.Sprintf("%v: %s", err, out))
		}
		judged(t, 32, "storm", engine, uid, 2, holes)
	})
}

// scratch is a directory of the test's own that everybody may enter.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(built.dir, "x")
	must(t, err)
	must(t, os.Chmod(dir, 0o777))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Clean(dir)
}
