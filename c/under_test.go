package c

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// elsewhere are cases that a run of the command has no place for: the supervisor is not
// the program's own, and there is no chroot.
var elsewhere = []string{"executed half", "invisible", "dead supervisor", "dead in mode", "crippled", "relatives of the crippled"}

// privateTmp are cases that execute something in /tmp, which has no place in the host's
// names if it is the sandbox's own: under the landlock engine nothing is executed there.
var privateTmp = []string{"execute", "execute in container"}

// TestCasesInRun runs the test program under the command, whose supervisor must do for
// it what its own would: the note in the archive, or the library that it needs, tells
// the command.
func TestCasesInRun(t *testing.T) {
	program := filepath.Join(built, "static-capsicum")
	command(t, []string{"CGO_ENABLED=0"}, "go", "build", "-o", program, "../cmd/capsicum")
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	for i, v := range variants {
		if v.name != "shared" && v.name != "static" {
			continue
		}
		for _, engine := range []string{"namespaces", "landlock"} {
			t.Run(v.name+"/"+engine, func(t *testing.T) { casesInRun(t, program, engine, buildTests(t, i), users) })
		}
	}
}

func casesInRun(t *testing.T, program, engine, path string, users map[string]*syscall.Credential) {
	engine = "--engine=" + engine
	if out := command(t, nil, program, "--dry-run", engine, path); !strings.Contains(string(out), "confines itself") ||
		!strings.Contains(string(out), "supervised") {
		t.Fatalf("the command does not see the library:\n%s", out)
	}
	for _, name := range strings.Split(strings.TrimSpace(string(command(t, nil, path))), "\n") {
		if slices.Contains(elsewhere, name) || engine == "--engine=landlock" && slices.Contains(privateTmp, name) {
			continue
		}
		for who, cred := range users {
			t.Run(name+"/"+who, func(t *testing.T) {
				runCase(t, path, name, cred, false, program, engine, "--system", "--tmp", "--net", "--rox", built, "--")
			})
		}
	}
}

// lookIntoProc are cases that look into /proc.
var lookIntoProc = []string{"supervisor by name", "constructor", "executed", "pdwait, sleeps", "pdfork, no process", "reader of memory", "copied lock"}

// TestStaticInRun: where the sandbox has no /proc the library has the form without a
// supervisor.
func TestStaticInRun(t *testing.T) {
	program, err := supervisor()
	if err != nil {
		t.Fatal(err)
	}
	var user *syscall.Credential
	if os.Geteuid() == 0 {
		user = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	path := buildTests(t, 0)
	for _, name := range strings.Split(strings.TrimSpace(string(command(t, nil, path))), "\n") {
		if slices.Contains(elsewhere, name) || slices.Contains(privateTmp, name) || slices.Contains(lookIntoProc, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			runCase(t, path, name, user, true, program, "--engine=namespaces", "--no-proc", "--system", "--tmp", "--net", "--rox", built, "--env", "TEST_ALONE", "--")
		})
	}
}
