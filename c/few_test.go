package c

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestFewProcesses: a supervisor that has not enough threads ends before the program
// depends on it.
func TestFewProcesses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes a user with no other process")
	}
	somebody := uint32(1777) // another one each time: supervisors are counted until init collects them
	lib := library(t, "shared", "gcc", "-O2 -g")
	path := filepath.Join(built, "few")
	command(t, nil, "gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/few.c", filepath.Join(lib, "libcapsicum.a"), "-o", path)
	supervised, alone := 0, 0
	for _, n := range []int{2, 6, 9, 10, 11, 12, 13, 14, 16, 20, 60} {
		for range 2 {
			somebody++
			cmd := exec.Command("prlimit", "--nproc="+strconv.Itoa(n), path)
			cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case err == nil:
				supervised++
			case errors.As(err, &exit) && exit.ExitCode() == 7:
				alone++
			default:
				t.Errorf("%d processes: %v\n%s", n, err, out)
			}
		}
	}
	if supervised == 0 || alone == 0 {
		t.Errorf("%d supervised, %d alone", supervised, alone)
	}
}
