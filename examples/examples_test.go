// Package examples holds a test that runs every example.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/cli"
	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/probe"
)

func TestMain(m *testing.M) {
	launch.Stage()
	probe.Stage()
	if filepath.Base(os.Args[0]) == "capsicum" {
		os.Exit(cli.Main(os.Args[1:], cli.Std()))
	}
	os.Exit(m.Run())
}

// ungranting runs a command without the confinement, as a control.
const ungranting = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do\n" +
	"\tif [ \"$1\" = --env ]; then case $2 in *=*) export \"$2\" ;; esac; fi\n\tshift\ndone\nshift\nexec \"$@\"\n"

// userID is the ordinary user; no such account needs to exist.
const userID = 1500

// TestExamples runs each example under both engines, as root (if we are) and as
// an ordinary user. Without us each has to fail: what it shows to be refused
// would succeed.
func TestExamples(t *testing.T) {
	scripts, err := filepath.Glob("*/run.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("find examples: %v, %v", scripts, err)
	}
	users := map[string]int{"user": os.Getuid()}
	if os.Getuid() == 0 {
		users = map[string]int{"root": 0, "user": userID}
	}
	report := probe.Run()
	for _, script := range scripts {
		for who, uid := range users {
			t.Run(filepath.Dir(script)+"/"+who, func(t *testing.T) {
				t.Parallel()
				if out, err := run(t, script, "", uid, []byte(ungranting)); err == nil {
					t.Errorf("succeeds without confinement, so it shows nothing:\n%s", out)
				}
				for engine, need := range map[string]probe.Need{"namespaces": probe.NeedNamespaces, "landlock": probe.NeedLandlock} {
					t.Run(engine, func(t *testing.T) { confined(t, script, engine, uid, report.Missing(need)) })
				}
			})
		}
	}
}

func confined(t *testing.T, script, engine string, uid int, missing []probe.Entry) {
	if len(missing) > 0 {
		t.Skipf("this machine has no %s (%s)", missing[0].Name, missing[0].Errno)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, script, "--engine="+engine, uid, self); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// run runs a script as uid, with the program capsicum in its PATH.
func run(t *testing.T, script, engine string, uid int, capsicum []byte) (string, error) {
	t.Helper()
	top, err := os.MkdirTemp("/tmp", "capsicum-example-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	content, err := os.ReadFile(script)
	home := filepath.Join(top, "home")
	for _, step := range []func() error{
		func() error { return err },
		func() error { return os.Chmod(top, 0o755) },
		func() error { return exetest.WriteFile(filepath.Join(top, "run.sh"), content, 0o755) },
		func() error { return exetest.WriteFile(filepath.Join(top, "capsicum"), capsicum, 0o755) },
		func() error { return os.Mkdir(home, 0o755) },
		func() error { return os.Chown(home, uid, -1) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(top, "run.sh"))
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "PATH="+top+":"+os.Getenv("PATH"), "ENGINE="+engine, "HOME="+home, "TMPDIR="+home)
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
