package nsenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
)

const (
	planVariable = "CAPSICUM_TEST_NSENV_PLAN"
	forkVariable = "CAPSICUM_TEST_NSENV_FORK"
)

func TestMain(m *testing.M) {
	if os.Getenv(forkVariable) != "" {
		os.Exit(fork())
	}
	if os.Getenv(planVariable) != "" {
		os.Exit(try())
	}
	os.Exit(m.Run())
}

// probes are what is tried inside the root, by name.
var probes = map[string]func(arg string) error{
	"stat": func(name string) error { _, err := os.Lstat(name); return err },
	"read": func(name string) error { _, err := os.ReadFile(name); return err },
	"list": func(name string) error { _, err := os.ReadDir(name); return err },
	"write": func(name string) error {
		return os.WriteFile(name, []byte("x"), 0o600)
	},
	"chmod": func(name string) error { return os.Chmod(name, 0o600) },
	"exec":  func(name string) error { return exec.Command(name).Run() },
	"climb": func(name string) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		fd, err := unix.Openat(int(f.Fd()), "../../../../../../../etc/shadow", unix.O_PATH, 0)
		unix.Close(fd)
		return err
	},
	"alone": func(name string) error {
		pids, err := filepath.Glob(name + "/[0-9]*")
		if len(pids) != 1 {
			return fmt.Errorf("processes %v", pids)
		}
		return err
	},
}

// request is what the parent asks of the processes it starts.
type request struct {
	Plan   *plan.Plan
	Probes []string
}

func readRequest() (request, error) {
	var r request
	return r, json.Unmarshal([]byte(os.Getenv(planVariable)), &r)
}

// try runs in the private root: it prints one errno a probe.
func try() int {
	in, err := readRequest()
	if err != nil {
		fmt.Println(err)
		return 2
	}
	proc, err := os.Open("/proc")
	if err != nil {
		fmt.Println(err)
		return 2
	}
	mounts, err := Mounts(int(proc.Fd()), in.Plan)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	shown := map[*plan.Entry]bool{}
	for _, e := range mounts {
		shown[e] = true
	}
	if len(shown) != len(in.Plan.Entries) {
		fmt.Printf("mounts of %d entries, not %d\n", len(shown), len(in.Plan.Entries))
		return 2
	}
	for _, p := range in.Probes {
		name, arg, _ := strings.Cut(p, " ")
		fmt.Println(p, "=", errorName(probes[name](arg)))
	}
	return 0
}

func errorName(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// hostEntry describes a host object as resolve would.
func hostEntry(t *testing.T, source, dest string, set rights.Set) plan.Entry {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		t.Fatal(err)
	}
	kind := plan.File
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind = plan.Dir
	case unix.S_IFCHR:
		kind = plan.Device
	}
	return plan.Entry{Dest: dest, Source: source, Kind: kind, Rights: set, ID: plan.ID{Dev: st.Dev, Ino: st.Ino},
		Mode: st.Mode, Origin: []string{"test"}}
}

// enter runs probes inside a root made of p, as root or as an ordinary user,
// who makes the namespaces without help: maps written by root would prove nothing.
func enter(t *testing.T, uid int, p *plan.Plan, list []string) string {
	t.Helper()
	in, err := json.Marshal(map[string]any{"Plan": p, "Probes": list})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exetest.Self(t))
	cmd.Env = []string{planVariable + "=" + string(in), forkVariable + "=1"}
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("uid %d: %v\n%s", uid, err, out)
	}
	return string(out)
}

// fork starts this program again inside a private root.
func fork() int {
	in, err := readRequest()
	if err == nil {
		err = enterAndExecute(in)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func enterAndExecute(in request) error {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer exe.Close()
	var seq script.Sequence
	mapped, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer mapped.Close()
	defer tell.Close()
	if os.Getuid() == 0 {
		seq.Do("wait for the mapping", unix.SYS_READ, int(mapped.Fd()), script.Struct(new(uint64)), 1)
	} else {
		MapSelf(&seq, os.Getuid(), os.Getgid())
	}
	Begin(&seq, nil, script.NewValue()).Enter(&seq, in.Plan)
	if err := seq.RestoreSignals(); err != nil {
		return err
	}
	seq.Do("execute", unix.SYS_EXECVEAT, int(exe.Fd()), script.String(""), script.Strings([]string{"nsenv.test"}),
		script.Strings([]string{planVariable + "=" + os.Getenv(planVariable)}), unix.AT_EMPTY_PATH)
	pid, err := script.Start(unix.CLONE_VM|BirthFlags|UnshareFlags|uintptr(unix.SIGCHLD), &seq)
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(&seq)
	if os.Getuid() == 0 {
		if err := MapAll(pid); err != nil {
			return err
		}
		if _, err := tell.Write([]byte{1}); err != nil {
			return err
		}
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return err
	}
	if err := seq.Err(); err != nil {
		return err
	}
	if status.ExitStatus() != 0 {
		return fmt.Errorf("wait status %#x", uint32(status))
	}
	return nil
}

// publicDir is a temporary directory that every user may enter and write.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "nsenv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEnter(t *testing.T) {
	uids := []int{os.Getuid()}
	if os.Getuid() == 0 {
		uids = append(uids, 1500)
	}
	for _, uid := range uids {
		t.Run(fmt.Sprint("uid", uid), func(t *testing.T) { testEnter(t, uid) })
	}
}

func testEnter(t *testing.T, uid int) {
	dir := publicDir(t)
	for _, name := range []string{"ro", "rw", "inner"} {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "file"), []byte("#!/bin/sh\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chown(sub, uid, uid), os.Chown(filepath.Join(sub, "file"), uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	ro := rights.Of(rights.Lookup, rights.Read, rights.Fstat, rights.Seek)
	rw := ro.Union(rights.Of(rights.Write, rights.Create, rights.Unlinkat, rights.Fchmod))
	p := &plan.Plan{
		Dirs: []string{"/", "/dev", "/work"},
		Entries: []plan.Entry{
			hostEntry(t, "/dev/null", "/dev/null", rw),
			{Dest: "/proc", Kind: plan.Proc, Rights: ro},
			{Dest: "/tmp", Kind: plan.Tmpfs, Rights: rw},
			hostEntry(t, filepath.Join(dir, "inner"), "/tmp/inner", rw),
			hostEntry(t, filepath.Join(dir, "ro"), "/work/ro", ro),
			hostEntry(t, filepath.Join(dir, "rw"), "/work/rw", rw),
		},
		Links: []plan.Link{{Path: "/work/link", Target: "rw/file"}},
		Cwd:   "/",
	}
	want := []string{
		"stat /etc = ENOENT", "stat /etc/shadow = ENOENT", "list / = ok", "stat /work/ro = ok",
		"read /work/ro/file = ok", "write /work/ro/file = EROFS", "write /work/ro/new = EROFS", "chmod /work/ro/file = EROFS",
		"write /work/rw/file = ok", "write /work/rw/new = ok", "chmod /work/rw/file = ok", "read /work/link = ok",
		"exec /work/rw/file = EACCES", "climb /work/rw = ENOENT", "climb /tmp = ENOENT", "write /new = EROFS", "write /work/new = EROFS",
		"write /dev/null = ok", "write /tmp/new = ok", "read /tmp/inner/file = ok", "stat /proc/1 = ok", "alone /proc = ok",
	}
	var list []string
	for _, w := range want {
		probe, _, _ := strings.Cut(w, " = ")
		list = append(list, probe)
	}
	got := strings.Split(strings.TrimSpace(enter(t, uid, p, list)), "\n")
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("got %q, want %q", got[min(i, len(got)-1)], want[i])
		}
	}
	// The same attempts from outside must be possible, or they prove nothing.
	if err := os.WriteFile(filepath.Join(dir, "ro", "file"), nil, 0o777); err != nil {
		t.Errorf("write outside: %v", err)
	}
}

// A name that leads elsewhere than when it was judged refuses the start.
func TestEnterRefusesAnotherObject(t *testing.T) {
	dir := publicDir(t)
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(target, 0o755), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	set := rights.Of(rights.Lookup, rights.Read)
	judged := hostEntry(t, target, "/x", set)
	replaced := judged
	replaced.ID.Ino++
	symlink := judged
	symlink.Source = link
	for name, e := range map[string]plan.Entry{"another inode": replaced, "a symlink": symlink} {
		var seq script.Sequence
		flags := unix.CLONE_VM | uintptr(unix.SIGCHLD)
		if os.Getuid() == 0 {
			flags |= (BirthFlags | UnshareFlags) &^ unix.CLONE_NEWUSER // root needs no help with mounts
		} else {
			flags |= BirthFlags | UnshareFlags
			MapSelf(&seq, os.Getuid(), os.Getgid())
		}
		Begin(&seq, nil, script.NewValue()).Enter(&seq, &plan.Plan{Dirs: []string{"/"}, Entries: []plan.Entry{e}, Cwd: "/"})
		pid, err := script.Start(flags, &seq)
		if err != nil {
			t.Fatal(err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
			t.Fatal(err)
		}
		runtime.KeepAlive(&seq)
		if err := seq.Err(); !errors.Is(err, Changed) {
			t.Errorf("%s: %v, want %v", name, err, Changed)
		}
	}
}

func TestParseMount(t *testing.T) {
	for line, want := range map[string]string{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`: "36 /mnt2",
		`7 1 0:1 / /a\040b\134c\011d rw - tmpfs none rw`:                 "7 /a b\\c\td",
		`x 1 0:1 / /a rw - tmpfs none rw`:                                "",
		`7 1 0:1`:                                                        "",
	} {
		id, at, err := parseMount(line)
		if got := fmt.Sprint(id, " ", at); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%s: %q, %v, want %q", line, got, err, want)
		}
	}
}
