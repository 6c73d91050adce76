package procdesc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/procdesc"
)

// descriptors lists a process's.
func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

func field(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("no %s", name)
	return ""
}

// TestHelper: a child's parent is nothing but that.
func TestHelper(t *testing.T) {
	before := descriptors(t, os.Getpid())
	p := shell("exec sleep 100")
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("/bin/sleep", "100")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	// The loader opens others for a moment.
	got, want := descriptors(t, pid), descriptors(t, other.Process.Pid)
	for deadline := time.Now().Add(5 * time.Second); !slices.Equal(got, want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got, want = descriptors(t, pid), descriptors(t, other.Process.Pid)
	}
	if !slices.Equal(got, want) {
		t.Errorf("child has descriptors %v, that of another package %v", got, want)
	}
	if err := errors.Join(other.Process.Kill(), truth("it was not killed", other.Wait() != nil)); err != nil {
		t.Error(err)
	}
	helper, err := strconv.Atoi(field(t, pid, "PPid"))
	if err != nil {
		t.Fatal(err)
	}
	if got := field(t, helper, "PPid"); got != strconv.Itoa(os.Getpid()) {
		t.Errorf("the helper's parent is %s, want %d", got, os.Getpid())
	}
	procdesc.Settle() // as what confines this process does
	if got = descriptors(t, helper); !slices.Equal(got, []string{"0"}) {
		t.Errorf("helper has descriptors %v", got)
	}
	if got := field(t, helper, "Seccomp"); got != "2" {
		t.Errorf("the helper's filter is %s", got)
	}
	if now := descriptors(t, os.Getpid()); len(now) != len(before)+1 {
		t.Errorf("descriptors %v, before %v", now, before)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); unix.Kill(helper, 0) == nil; time.Sleep(time.Millisecond) {
		if closed(); time.Now().After(deadline) {
			t.Fatal("the helper stays")
		}
	}
	if now := descriptors(t, os.Getpid()); len(now) != len(before) {
		t.Errorf("descriptors %v, before %v", now, before)
	}
}

// TestHelperKilled: whoever kills the helper kills the child.
func TestHelperKilled(t *testing.T) {
	p, life := sleeper()
	defer p.Close()
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	helper, err := strconv.Atoi(field(t, pid, "PPid"))
	if err == nil {
		err = unix.Kill(helper, unix.SIGKILL)
	}
	if err := errors.Join(err, ends("the helper is killed", life)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("wait: %v, want %v", err, syscall.ECHILD)
	}
}

func TestRefused(t *testing.T) {
	before := descriptors(t, os.Getpid())
	with := func(change func(*exec.Cmd)) *exec.Cmd {
		cmd := exec.Command("/bin/true")
		change(cmd)
		return cmd
	}
	for what, c := range map[string]struct {
		cmd  *exec.Cmd
		want error
	}{
		"nothing there":    {exec.Command("/nonexistent"), syscall.ENOENT},
		"no such name":     {exec.Command("no-such-program"), exec.ErrNotFound},
		"no program":       {exec.Command("/dev/null"), syscall.EACCES},
		"no directory":     {with(func(c *exec.Cmd) { c.Dir = "/nonexistent" }), syscall.ENOENT},
		"a reader":         {with(func(c *exec.Cmd) { c.Stdin = strings.NewReader("") }), ErrNotSupported},
		"another root":     {with(func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Chroot: "/"} }), ErrNotSupported},
		"a missing file":   {with(func(c *exec.Cmd) { c.ExtraFiles = []*os.File{nil} }), os.ErrInvalid},
		"somebody's group": {with(func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: 1} }), syscall.EPERM},
	} {
		if p, err := Start(c.cmd); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", what, p, err, c.want)
		}
	}
	if _, err := Start(exec.Command("/bin/true"), 2); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("unknown flag: %v", err)
	}
	if now := descriptors(t, os.Getpid()); len(now) != len(before) {
		t.Errorf("descriptors %v, before %v", now, before)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("wait: %v, want %v", err, syscall.ECHILD)
	}
}

// TestCommand: what a command says is what the child is.
func TestCommand(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	extra, err := os.Open("/etc/hostname")
	if err != nil {
		extra, err = os.Open("/etc/passwd")
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `pwd; echo "$0 $X"; cat <&0 | wc -c; ls -L /proc/self/fd/3 /proc/self/fd/4; cut -d" " -f5 /proc/self/stat`, "name")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.ExtraFiles = "/usr", []string{"X=yes", "PATH=/usr/bin:/bin"}, w, []*os.File{extra, w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 1500, Gid: 1500, Groups: []uint32{7}}
	}
	p, err := Start(cmd)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if got := field(t, pid, "Uid") + " " + field(t, pid, "Groups"); got != "1500\t1500\t1500\t1500 7" {
			t.Errorf("user and groups %q", got)
		}
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("/usr\nname yes\n0\n/proc/self/fd/3\n/proc/self/fd/4\n%d", pid); strings.Join(strings.Fields(string(out)), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("child says %q, want %q", out, want)
	}
	if e, err := p.Wait(); err != nil || !e.Success() {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestNumbersGivenOutAgain gives a child's number to another process, and signals the
// child.
func TestNumbersGivenOutAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chooses a process number")
	}
	p := shell("exit 0")
	defer p.Close()
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatal(err)
		}
		other := exec.Command("/bin/sleep", "100")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		if other.Process.Pid == pid {
			if err := p.Kill(syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("kill: %v, want %v", err, syscall.ESRCH)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
			if err := errors.Join(unix.Kill(pid, 0), other.Process.Kill()); err != nil {
				t.Errorf("the other process: %v", err)
			}
			if err := other.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("the other process: %v", err)
			}
			return
		}
		_ = other.Process.Kill()
		_ = other.Wait()
	}
	t.Error("no process got the number")
}
