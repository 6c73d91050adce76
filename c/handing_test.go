package c

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHanding: a supervisor that ends as it takes over leaves nobody waiting for ever,
// and one that is never ready is ended, however little the kernel tells; and no
// descriptor is left of it.
func TestHanding(t *testing.T) {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	for _, i := range []int{1, 3} {
		v := variants[i]
		path := filepath.Join(built, "handing-"+v.name)
		args := append(strings.Fields(v.flags+" "+v.program), "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/handing.c", "tests/refuse.c",
			filepath.Join(library(t, v.name, v.cc, v.flags), "libcapsicum.a"), "-o", path)
		command(t, nil, v.cc, args...)
		for _, refused := range []string{"dies nothing", "dies memory", "dies memory,number", "dies memory,pidfd", "dies memory,number,closed",
			"never nothing", "never kill", "never signal"} {
			for who, cred := range users {
				t.Run(v.name+"/"+refused+"/"+who, func(t *testing.T) { handing(t, cred, path, strings.Fields(refused)) })
			}
		}
	}
}

func handing(t *testing.T, cred *syscall.Credential, path string, args []string) {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: cred}
	// It does not hear other signals while it waits.
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	name := "capsicum: supervisor of\x00" + strconv.Itoa(cmd.Process.Pid) + "\x00"
	for range 6000 {
		if !runs(name) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the supervisor lives on")
}

// runs reports whether a process has a command line.
func runs(line string) bool {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && string(text) == line {
			return true
		}
	}
	return false
}
