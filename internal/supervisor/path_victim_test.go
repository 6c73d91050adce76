package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// stageEnv makes the test binary a victim: "filter" installs the filter and
// executes itself, "serve" carries out operations read from standard input.
const stageEnv = "PATH_TEST_STAGE"

func init() {
	switch os.Getenv(stageEnv) {
	case "filter":
		victimFilter()
	case "serve":
		victimServe()
	}
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "victim:", err)
	os.Exit(99)
}

func testOptions() syscalls.Options {
	return syscalls.Options{Engine: policy.EngineLandlock, PtraceScope: true, SignalScope: true, AbstractScope: true}
}

func victimFilter() {
	runtime.LockOSThread()
	prog, err := syscalls.Compile(sysno.Native, testOptions())
	if err != nil {
		die(err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		die(err)
	}
	in, err := sys.InstallFilter(prog, true)
	if err != nil {
		die(err)
	}
	// The parent takes the descriptor with pidfd_getfd: every other way to hand
	// it over is trapped by now.
	unix.Write(1, []byte(strconv.Itoa(in.Listener.Int())+"\n"))
	var b [1]byte
	if n, err := unix.Read(0, b[:]); n != 1 {
		die(fmt.Errorf("wait for supervisor: %w", err))
	}
	// As the program's process does: a working directory is asked for, too.
	if err := unix.Chdir(os.Getenv("PATH_TEST_CWD")); err != nil {
		die(fmt.Errorf("enter %s: %w", os.Getenv("PATH_TEST_CWD"), err))
	}
	env := []string{stageEnv + "=serve"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, stageEnv+"=") {
			env = append(env, kv)
		}
	}
	die(unix.Exec(os.Getenv("PATH_TEST_EXE"), []string{"victim"}, env))
}

func victimServe() {
	runtime.LockOSThread()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		fmt.Printf("%q\n", operate(in.Text()))
	}
	os.Exit(0)
}

// victim is a process that carries out operations.
type victim struct {
	t   testing.TB
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Reader
	s   *Supervisor
}

// do carries out one operation and returns what it said.
func (v *victim) do(op string) string {
	v.t.Helper()
	if _, err := fmt.Fprintln(v.in, op); err != nil {
		v.t.Fatalf("%s: %v", op, err)
	}
	line, err := v.out.ReadString('\n')
	if err != nil {
		v.t.Fatalf("%s: %v", op, err)
	}
	text, err := strconv.Unquote(strings.TrimSpace(line))
	if err != nil {
		v.t.Fatalf("%s: %q", op, line)
	}
	return text
}

func (v *victim) want(op, want string) {
	v.t.Helper()
	if got := v.do(op); got != want {
		v.t.Errorf("%s: %s, want %s", op, got, want)
	}
}

// openDir is a temporary directory that every user may enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "paths")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(p, 0o755)
			}
			return nil
		})
		os.RemoveAll(dir)
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func launch(t testing.TB, stage, exe, dir string, cred *syscall.Credential, extra ...*os.File) *victim {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = []string{stageEnv + "=" + stage, "PATH_TEST_EXE=" + exe, "PATH_TEST_CWD=" + dir, "MARK=victim"}
	if stage == "serve" {
		cmd.Dir = dir
	}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = extra
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &victim{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
}

// world is a plan under construction and a supervised victim in it.
type world struct {
	t       testing.TB
	entries []plan.Entry
	links   []plan.Link
	cred    *syscall.Credential
	extra   []*os.File
	start   string // sandbox working directory

	settings map[string]int // in place of the kernel's
}

func (w *world) grant(source, dest string, set rights.Set) {
	w.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		w.t.Fatal(err)
	}
	kind := plan.File
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind = plan.Dir
	case unix.S_IFCHR:
		kind = plan.Device
	}
	w.entries = append(w.entries, plan.Entry{Dest: dest, Source: source, Kind: kind, Rights: set,
		ID: plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}, Mode: st.Mode})
}

func (w *world) plan() *plan.Plan {
	p := &plan.Plan{Entries: w.entries, Links: w.links}
	slices.SortFunc(p.Entries, func(a, b plan.Entry) int { return strings.Compare(a.Dest, b.Dest) })
	p.Dirs = p.Scaffold()
	return p
}

// run starts a supervised victim.
func (w *world) run() *victim {
	t := w.t
	t.Helper()
	exe := exetest.Self(t)
	w.grant(exe, exe, policy.ROX)
	w.entries = append(w.entries, plan.Entry{Dest: "/proc", Kind: plan.Proc, Rights: policy.RO})
	p := w.plan()
	skeleton := openDir(t)
	sk, err := unix.Open(skeleton, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := lookup.BuildSkeleton(sk, p); err != nil {
		t.Fatal(err)
	}
	ns, err := lookup.New(p, sk)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Plan: p, Options: testOptions(), Namespace: ns, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	s.settings = w.settings
	if w.start == "" {
		w.start = "/"
	}
	v := launch(t, "filter", exe, w.start, w.cred, w.extra...)
	v.s = s
	l := takeListener(t, v)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		v.cmd.Wait()
		l.Shutdown()
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("supervisor still serves")
		}
		l.Close()
		ns.Close()
		unix.Close(sk)
	})
	if _, err := v.in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	return v
}

func takeListener(t testing.TB, v *victim) *notify.Listener {
	t.Helper()
	line, err := v.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(v.cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, n, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := notify.NewListener(sys.NewFD(fd))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// eachUser runs test as root may and as an ordinary user.
func eachUser(t *testing.T, test func(t *testing.T, cred *syscall.Credential)) {
	t.Run("self", func(t *testing.T) { test(t, nil) })
	if os.Geteuid() == 0 {
		t.Run("ordinary user", func(t *testing.T) { test(t, &syscall.Credential{Uid: 1500, Gid: 1500}) })
	}
}

// errnoName is what operations answer with.
func errnoName(err error) string {
	var e unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return err.Error()
}
