package c

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listed is what capsicum ps says of a process.
type listed struct {
	PID         int    `json:"pid"`
	Form        string `json:"form"`
	Supervisor  int    `json:"supervisor"`
	Filters     int    `json:"filters"`
	Mode        *bool  `json:"capability_mode"`
	Descriptors []struct {
		FD     int      `json:"fd"`
		Rights string   `json:"rights"`
		Ioctls []uint32 `json:"ioctls"`
		Fcntls []string `json:"fcntls"`
		File   string   `json:"file"`
	} `json:"descriptors"`
}

// ps asks for processes as a user.
func ps(t *testing.T, cred *syscall.Credential, pids ...int) []listed {
	t.Helper()
	program, err := supervisor()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "ps", "--json")
	for _, pid := range pids {
		cmd.Args = append(cmd.Args, strconv.Itoa(pid))
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Processes []listed `json:"processes"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return list.Processes
}

// TestPs lists a program in each form, and its child, as its own user, and as others.
func TestPs(t *testing.T) {
	lib := library(t, "shared", "gcc", "-O2 -g")
	path := filepath.Join(built, "confined")
	command(t, nil, "gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/confined.c", filepath.Join(lib, "libcapsicum.a"), "-o", path)
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	for who, cred := range users {
		for _, mode := range []string{"no", "mode"} {
			for _, form := range []string{"supervised", "static"} {
				t.Run(who+"/"+mode+"/"+form, func(t *testing.T) { showPs(t, path, mode, form, cred) })
			}
		}
	}
}

func showPs(t *testing.T, path, mode, form string, cred *syscall.Credential) {
	cmd := exec.Command(path, mode)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: cred}
	if form == "static" {
		cmd.Env = append(os.Environ(), "CAPSICUM_SUPERVISOR=/nonexistent")
	}
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
	defer cmd.Wait()
	defer in.Close()
	var parent, child, file, dir int
	if _, err := fmt.Fscan(bufio.NewReader(out), &parent, &child, &file, &dir); err != nil {
		t.Fatal(err)
	}
	// Its supervisor may not have come to listen yet.
	both := ps(t, cred, parent, child)
	for n := 0; form == "supervised" && n < 3000 && both[0].Mode == nil; n++ {
		time.Sleep(20 * time.Millisecond)
		both = ps(t, cred, parent, child)
	}
	for _, p := range both {
		if p.Form != form || p.Filters < 1 || (p.Supervisor != 0) != (form == "supervised") {
			t.Errorf("%+v", p)
		}
		if form == "static" {
			if p.Mode != nil || p.Descriptors != nil {
				t.Errorf("more is known than can be: %+v", p)
			}
			continue
		}
		if p.Mode == nil || *p.Mode != (mode == "mode") {
			t.Errorf("process %d: mode %v", p.PID, p.Mode)
		}
		got := fmt.Sprint(p.Descriptors)
		want := fmt.Sprintf("[{%d read,fstat [] [] %s} {%d read,lookup,fcntl,ioctl [21505 21523] [getfl] /}]", file, path, dir)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("process %d: %s", p.PID, diff)
		}
	}
	if len(both) != 2 || both[0].PID != parent || both[1].PID != child {
		t.Fatalf("listed: %+v", both)
	}
	found := false
	for _, p := range ps(t, cred) {
		found = found || p.PID == parent
	}
	if !found {
		t.Error("not among all that are confined")
	}
	if cred == nil && os.Geteuid() == 0 {
		// Another user sees that there is a supervisor, and is told nothing by it.
		other := ps(t, &syscall.Credential{Uid: 1500, Gid: 1500}, parent)[0]
		if other.Mode != nil || other.Descriptors != nil || form == "static" && other.Form != "unknown" {
			t.Errorf("another user is told %+v", other)
		}
	}
	if cred != nil {
		if root := ps(t, nil, parent)[0]; (root.Mode != nil) != (form == "supervised") {
			t.Errorf("root is told %+v", root)
		}
	}
}
