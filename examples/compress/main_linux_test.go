package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/exetest"
)

// The forms in which the program is run; only the last is not confined.
const (
	supervised = "supervised"
	static     = "static" // where there can be no supervisor: filters alone
	unconfined = "unconfined"
)

// TestMain is the program itself, when the environment says so.
func TestMain(m *testing.M) {
	form := os.Getenv("COMPRESS_FORM")
	if form == "" {
		os.Exit(m.Run())
	}
	work := deflate
	if os.Getenv("COMPRESS_WORK") == "exploit" {
		work = exploit
	}
	confine := map[string]func(in, out *os.File) error{
		supervised: confine,
		static:     withoutSupervisor,
		unconfined: func(in, out *os.File) error { return nil },
	}[form]
	if err := compress(os.Args[1], confine, work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withoutSupervisor confines where no descriptor is to be had, so that there can
// be no supervisor. Afterwards there is room again: what the exploit cannot do it
// shall not be able to do for that reason.
func withoutSupervisor(in, out *os.File) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	none := syscall.Rlimit{Cur: 0, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		return err
	}
	if err := confine(in, out); err != nil {
		return err
	}
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// attacks is what a taken-over program would like to do.
var attacks = []struct {
	name string
	do   func(out, in *os.File) error
}{
	{"open a file", func(_, _ *os.File) error { return opened(os.Open("/etc/passwd")) }},
	{"open the input's name to write", func(_, in *os.File) error {
		return opened(os.OpenFile(in.Name(), os.O_WRONLY, 0))
	}},
	{"create a file", func(_, in *os.File) error { return opened(os.Create(in.Name() + ".new")) }},
	{"reopen the output to read", func(out, _ *os.File) error {
		return opened(os.Open(fmt.Sprintf("/proc/self/fd/%d", out.Fd())))
	}},
	{"reopen the input to write", func(_, in *os.File) error {
		return opened(os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", in.Fd()), os.O_WRONLY, 0))
	}},
	{"read the output", func(out, _ *os.File) error {
		if _, err := out.Write([]byte("secret")); err != nil {
			return err
		}
		if _, err := out.Seek(0, io.SeekStart); !refused(err) && err != nil {
			return err
		}
		_, err := out.Read(make([]byte, 6))
		return err
	}},
	{"change the output's mode", func(out, _ *os.File) error { return out.Chmod(0o600) }},
	{"truncate the output", func(out, _ *os.File) error { return out.Truncate(0) }},
	{"connect", func(_, _ *os.File) error {
		conn, err := net.Dial("tcp", os.Getenv("COMPRESS_TARGET"))
		if err != nil {
			return err
		}
		return conn.Close()
	}},
	{"execute a program", func(_, _ *os.File) error {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		if err != nil {
			return err
		}
		_, err = syscall.Wait4(pid, nil, 0, nil)
		return err
	}},
	// The Go runtime of the test ignores this one.
	{"signal the parent", func(_, _ *os.File) error { return syscall.Kill(os.Getppid(), syscall.SIGURG) }},
	// Seized and not attached, the parent is not stopped. It is let go at the end.
	{"trace the parent", func(_, _ *os.File) error { return unix.PtraceSeize(os.Getppid()) }},
	{"remove the created file", func(_, in *os.File) error { return os.Remove(in.Name() + ".new") }},
}

func opened(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return f.Close()
}

func refused(err error) bool {
	return errors.Is(err, capsicum.ErrCapabilityMode) || errors.Is(err, capsicum.ErrNotCapable)
}

// exploit is what the input makes of the work: it tells on standard error how far
// it gets.
func exploit(out, in *os.File) error {
	for _, a := range attacks {
		err := a.do(out, in)
		outcome := "refused"
		switch {
		case err == nil:
			outcome = "done"
		case !refused(err):
			outcome = err.Error()
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", a.name, outcome)
	}
	return nil
}

// start runs the program on a file with the given content, and returns what it
// says, and its output file.
func start(t *testing.T, form, work string, content []byte) (said string, out []byte, err error) {
	t.Helper()
	// Yama lets nobody trace a parent that does not say so.
	if err := unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0); err != nil && err != unix.EINVAL {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", name)
	cmd.Env = append(os.Environ(), "COMPRESS_FORM="+form, "COMPRESS_WORK="+work, "COMPRESS_TARGET="+l.Addr().String())
	text, err := cmd.CombinedOutput()
	if now, rerr := os.ReadFile(name); rerr != nil || !bytes.Equal(now, content) {
		t.Errorf("the input has changed: %v", rerr)
	}
	out, rerr := os.ReadFile(name + ".gz")
	if rerr != nil {
		t.Errorf("no output: %v", rerr)
	}
	return string(text), out, err
}

func TestCompress(t *testing.T) {
	content := []byte(strings.Repeat("all work and no play\n", 100000))
	for _, form := range []string{supervised, static, unconfined} {
		t.Run(form, func(t *testing.T) {
			said, out, err := start(t, form, "deflate", content)
			if err != nil || said != "" {
				t.Fatalf("%v\n%s", err, said)
			}
			z, err := gzip.NewReader(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			if back, err := io.ReadAll(z); err != nil || !bytes.Equal(back, content) {
				t.Errorf("%d bytes come back of %d: %v", len(back), len(content), err)
			}
		})
	}
}

func TestExploit(t *testing.T) {
	for form, want := range map[string]string{unconfined: "done", static: "refused", supervised: "refused"} {
		t.Run(form, func(t *testing.T) {
			said, _, err := start(t, form, "exploit", []byte("input\n"))
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			var expected strings.Builder
			for _, a := range attacks {
				fmt.Fprintf(&expected, "%s: %s\n", a.name, want)
			}
			if said != expected.String() {
				t.Errorf("want each %s:\n%s", want, said)
			}
		})
	}
}

// TestOrdinaryUser runs the other tests as one, when we are root.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // the other tests are this one
	}
	dir, err := os.MkdirTemp("/tmp", "compress-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	const user = 1500
	if err := errors.Join(exetest.WriteSelf(program, 0o755), os.Chown(dir, user, user)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^(TestCompress|TestExploit)$")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
