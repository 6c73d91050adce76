package script

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/cli"
	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/probe"
	"github.com/capsicum-go/capsicum/rights"
	"github.com/capsicum-go/capsicum/test/dockerlike/profile"
)

// asUser marks the run of this binary that a root run starts as an ordinary
// user; its value is the folder of scripts that the user can read.
const asUser = "CAPSICUM_SCRIPT_AS_USER"

// The ordinary user. No such account needs to exist.
const userID = 1500

func TestMain(m *testing.M) {
	launch.Stage()
	probe.Stage()
	testscript.Main(m, map[string]func(){
		"capsicum":   func() { os.Exit(cli.Main(os.Args[1:], cli.Std())) },
		"dockerlike": func() { die(profile.Exec(os.Args[1:])) },
		"without":    func() { die(withoutNamespaces(os.Args[1], os.Args[2:])) },
		"confined":   func() { die(confined()) },
	})
}

func die(err error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// confined limits its standard input, enters capability mode, and stays for a minute.
func confined() error {
	if err := capsicum.Limit(os.Stdin, rights.Read, rights.Fstat); err != nil {
		return err
	}
	if err := capsicum.Enter(); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return nil
}

// withoutNamespaces runs a program where no namespace of one kind can be made, as
// under user.max_user_namespaces=0 and its like. The limit is that of a namespace of
// its own: the machine's is not touched.
func withoutNamespaces(kind string, argv []string) error {
	const script = `echo 0 >/proc/sys/user/max_$0_namespaces && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, kind}, argv...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

// TestScripts runs every script as root (if we are) and as an ordinary user,
// under both engines. See README.md.
func TestScripts(t *testing.T) {
	if dir := os.Getenv(asUser); dir != "" {
		t.Run("user", func(t *testing.T) { underEngines(t, dir, "user") })
		return
	}
	if os.Getuid() != 0 {
		t.Run("user", func(t *testing.T) { underEngines(t, "testdata", "user") })
		return
	}
	t.Run("root", func(t *testing.T) { underEngines(t, "testdata", "root") })
	t.Run("user", runAsUser)
}

// underEngines runs the scripts once for each engine. An engine is left out
// only when the machine, asked in earnest, can not run it.
func underEngines(t *testing.T, dir, who string) {
	report := probe.Run()
	for _, e := range []struct {
		name string
		need probe.Need
	}{{"namespaces", probe.NeedNamespaces}, {"landlock", probe.NeedLandlock}} {
		t.Run(e.name, func(t *testing.T) {
			if missing := report.Missing(e.need); len(missing) > 0 {
				t.Skipf("this machine has no %s (%s)", missing[0].Name, missing[0].Errno)
			}
			testscript.Run(t, testscript.Params{
				Dir:                dir,
				RequireUniqueNames: true,
				Setup:              func(env *testscript.Env) error { return setup(env, e.name, who) },
				Condition:          func(cond string) (bool, error) { return condition(cond, e.name, who) },
				Cmds:               map[string]func(*testscript.TestScript, bool, []string){"status": status},
			})
		})
	}
}

func setup(env *testscript.Env, engine, who string) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	env.Setenv("ENGINE", "--engine="+engine)
	env.Setenv("WHO", who)
	env.Setenv("HOME", home)
	env.Setenv("SHELL", "/bin/sh")
	env.Setenv("LC_ALL", "C.UTF-8")
	// A root's search path names folders that the user may not enter; execvp(3)
	// would answer for those.
	env.Setenv("PATH", strings.Join(slices.DeleteFunc(filepath.SplitList(env.Getenv("PATH")), func(dir string) bool {
		_, err := os.Stat(dir)
		return err != nil
	}), ":"))
	for _, name := range []string{"GOROOT", "GOPROXY", "GOFLAGS"} {
		if v := os.Getenv(name); v != "" {
			env.Setenv(name, v)
		}
	}
	return nil
}

// condition knows [root], [user], [engine:NAME], [ci] and [has:PROGRAM]. A
// program that is missing in CI is a failure there, not a skip.
func condition(cond, engine, who string) (bool, error) {
	switch cond {
	case "root", "user":
		return cond == who, nil
	case "ci":
		return os.Getenv("CI") != "", nil
	}
	if name, ok := strings.CutPrefix(cond, "engine:"); ok {
		if name != "namespaces" && name != "landlock" {
			return false, fmt.Errorf("no engine %q", name)
		}
		return name == engine, nil
	}
	if name, ok := strings.CutPrefix(cond, "has:"); ok {
		_, err := exec.LookPath(name)
		if err != nil && os.Getenv("CI") != "" {
			return false, fmt.Errorf("%s must be installed in CI: make deps", name)
		}
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// status is a script's command: "status 125 capsicum …" runs a program and
// holds it to that exit status, exactly.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("status: %v", err)
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			ts.Fatalf("%s was killed by signal %d", args[1], ws.Signal())
		}
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", args[1], got, want)
	}
}

// runAsUser starts this binary again as an ordinary user, from a place that
// user can read, with the same selection of tests.
func runAsUser(t *testing.T) {
	dir, err := os.MkdirTemp("", "capsicum-script-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "script.test")
	scripts := filepath.Join(dir, "testdata")
	tmp := filepath.Join(dir, "tmp")
	for _, step := range []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return exetest.WriteSelf(binary, 0o755) },
		func() error { return copyScripts("testdata", scripts) },
		func() error { return os.Mkdir(tmp, 0o755) },
		func() error { return os.Chown(tmp, userID, userID) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, selection()...)
	cmd.Dir = tmp
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ownedByRoot), asUser+"="+scripts, "HOME="+tmp, "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	out := &lines{t: t}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		t.Errorf("as uid %d: %v", userID, err)
	}
	out.flush()
}

// ownedByRoot picks the variables that name places of root's.
func ownedByRoot(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	return slices.Contains([]string{"HOME", "TMPDIR", "GOCACHE", "GOMODCACHE", "GOPATH", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"}, name)
}

// selection are the flags that make the child run what was asked for here.
func selection() []string {
	var args []string
	for _, name := range []string{"test.run", "test.skip", "test.v", "test.short", "test.count", "test.failfast", "test.parallel", "test.timeout"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != f.DefValue {
			args = append(args, "-"+name+"="+f.Value.String())
		}
	}
	return args
}

func copyScripts(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, 0o644)
	})
}

// lines passes a child's output to the log line by line, when it comes.
type lines struct {
	t    *testing.T
	mu   sync.Mutex
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.t.Logf("%s", line)
		l.rest = rest
	}
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.t.Logf("%s", l.rest)
	}
}
