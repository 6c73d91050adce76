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
var elsewhere = []string{"executed half", "invisible", "dead supervisor", "crippled"}

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
		t.Run(v.name, func(t *testing.T) {
			path := buildTests(t, i)
			if out := command(t, nil, program, "--dry-run", "--engine=namespaces", path); !strings.Contains(string(out), "confines itself") ||
				!strings.Contains(string(out), "supervised") {
				t.Fatalf("the command does not see the library:\n%s", out)
			}
			for _, name := range strings.Split(strings.TrimSpace(string(command(t, nil, path))), "\n") {
				if slices.Contains(elsewhere, name) {
					continue
				}
				for who, cred := range users {
					t.Run(name+"/"+who, func(t *testing.T) {
						runCase(t, path, name, cred, false, program, "--engine=namespaces", "--system", "--tmp", "--net", "--rox", built, "--")
					})
				}
			}
		})
	}
}

// TestStaticInRun: under the other engine the library has the form without a supervisor.
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
		// What the two execute, in the run's /tmp, was not granted.
		if slices.Contains(elsewhere, name) || name == "execute" || name == "execute in container" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			runCase(t, path, name, user, true, program, "--engine=landlock", "--system", "--tmp", "--net", "--rox", built, "--env", "TEST_ALONE", "--")
		})
	}
}
