// Package notifytest runs scenarios of a test binary in a process of their own
// under a filter whose notifications the test answers.
//
//	func TestMain(m *testing.M) { os.Exit(notifytest.Main(m, scenarios)) }
//
//	v := notifytest.Start(t, notifytest.Victim{Scenario: "open", Calls: []uint32{unix.SYS_OPENAT}})
//	n, err := v.Listener.Receive()
package notifytest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	envCalls    = "CAPSICUM_NOTIFYTEST_CALLS"
	envScenario = "CAPSICUM_NOTIFYTEST_SCENARIO"
	envExe      = "CAPSICUM_NOTIFYTEST_EXE"
	sockFD      = 3 // the listener goes out here
	patience    = 2 * time.Minute
)

// Scenario is what a victim does; its result is the exit status.
type Scenario func(args []string) int

// Main runs the tests, or the scenario this process was started for.
func Main(m *testing.M, scenarios map[string]Scenario) int {
	name := os.Getenv(envScenario)
	if name == "" {
		return m.Run()
	}
	if calls := os.Getenv(envCalls); calls != "" {
		return confine(calls)
	}
	run, ok := scenarios[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no scenario %q\n", name)
		return 125
	}
	return run(os.Args[1:])
}

// confine installs the filter on this thread, hands the listener over and
// becomes the victim, all of whose threads then carry the filter.
func confine(calls string) int {
	runtime.LockOSThread()
	if err := install(calls); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, envCalls+"=") {
			env = append(env, kv)
		}
	}
	err := syscall.Exec(os.Getenv(envExe), os.Args, env)
	fmt.Fprintln(os.Stderr, "exec:", err)
	return 125
}

func install(calls string) error {
	var filter []unix.SockFilter
	load := func(off uint32) {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off})
	}
	ret := func(k uint32) { filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}) }
	load(0)
	for _, c := range strings.Fields(calls) {
		nr, err := strconv.ParseUint(c, 10, 32)
		if err != nil {
			return err
		}
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)})
		ret(unix.SECCOMP_RET_USER_NOTIF)
	}
	ret(unix.SECCOMP_RET_ALLOW)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	in, err := sys.InstallFilter(filter, true)
	if err != nil {
		return err
	}
	defer in.Listener.Close()
	// The number only: the test takes the descriptor itself, because any call
	// that could hand it over may be among those that ask.
	if _, err := unix.Write(sockFD, []byte(strconv.Itoa(in.Listener.Int()))); err != nil {
		return fmt.Errorf("tell listener: %w", err)
	}
	if n, err := unix.Read(sockFD, make([]byte, 1)); n != 1 {
		return fmt.Errorf("wait until the listener is taken: %w", err)
	}
	return unix.Close(sockFD)
}

// Victim says what is started.
type Victim struct {
	Scenario string
	Args     []string
	Calls    []uint32 // numbers of the calls that ask
	Exe      string   // another executable to become; the test binary without one
	Attr     *syscall.SysProcAttr
	Stdout   io.Writer // os.Stdout without one
}

// Process is a victim that runs.
type Process struct {
	Listener *notify.Listener
	Cmd      *exec.Cmd
}

// Start starts v. It is killed at the end of the test if it still runs.
func Start(t testing.TB, v Victim) *Process {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "victim")
	var calls []string
	for _, c := range v.Calls {
		calls = append(calls, strconv.Itoa(int(c)))
	}
	exe := v.Exe
	if exe == "" {
		exe = "/proc/self/exe"
	}
	cmd := exec.Command("/proc/self/exe", v.Args...)
	cmd.Env = append(os.Environ(), envScenario+"="+v.Scenario, envCalls+"="+strings.Join(calls, " "), envExe+"="+exe)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if v.Stdout != nil {
		cmd.Stdout = v.Stdout
	}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = v.Attr
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatalf("start victim: %v", err)
	}
	l, err := take(cmd.Process.Pid, pair[0])
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("take listener: %v", err)
	}
	p := &Process{Listener: l, Cmd: cmd}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // already dead is fine
		_ = cmd.Wait()         // waited for already is fine
		if err := l.Close(); err != nil {
			t.Errorf("close listener: %v", err)
		}
	})
	return p
}

// take copies the listener out of the victim, which waits for that.
func take(pid, sock int) (*notify.Listener, error) {
	buf := make([]byte, 16)
	n := 0
	err := sys.Retry(func() (err error) { n, err = unix.Read(sock, buf); return err })
	if err != nil {
		return nil, err
	}
	num, err := strconv.Atoi(string(buf[:n]))
	if err != nil {
		return nil, fmt.Errorf("victim ended without a listener: %w", err)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, num, 0)
	if err != nil {
		return nil, err
	}
	if err := sys.Retry(func() error { _, err := unix.Write(sock, []byte{1}); return err }); err != nil {
		return nil, err
	}
	return notify.NewListener(sys.NewFD(fd))
}

// Wait waits for the victim and returns its exit status, or 128 and the signal
// that ended it. A victim that hangs fails the test.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = p.Cmd.Process.Kill() })
	defer timer.Stop()
	err := p.Cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("wait for victim: %v", err)
	}
	status := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// AsUser runs the tests of this binary that match pattern again as an ordinary
// user.
func AsUser(t *testing.T, uid uint32, pattern string) {
	t.Helper()
	if os.Getuid() != 0 {
		return // all tests run as an ordinary user now
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = d[:strings.LastIndexByte(d, '/')] {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// By descriptor: the user may not be able to reach the binary by name.
	cmd := exec.Command("/proc/self/fd/3", "-test.v", "-test.run="+pattern, "-test.short="+strconv.FormatBool(testing.Short()),
		"-test.skip="+flag.Lookup("test.skip").Value.String())
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as user %d: %v\n%s", uid, err, out)
	}
	if !strings.Contains(string(out), "--- PASS") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("as user %d not every test ran:\n%s", uid, out)
	}
}
