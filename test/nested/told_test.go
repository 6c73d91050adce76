//go:build linux

package nested

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// toldEnv holds the way in which a victim confines itself that ps is asked about.
const toldEnv = "NESTED_TOLD"

// stranger is a user who is none of the others.
const stranger = 1501

// told confines itself, starts a child with one of its descriptors, says which it has,
// and stays.
func told(way string) int {
	if way != "child" {
		if err := confineTold(way); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(open())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func confineTold(way string) error {
	const file, list = 40, 41
	for fd, name := range map[int]string{file: "/dev/zero", list: "/dev/null"} {
		n, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Dup3(n, fd, (fd-file)*unix.O_CLOEXEC) // the child has the first
		}
		if err != nil {
			return err
		}
	}
	if way == "limited" || way == "both" {
		if err := capsicum.LimitFD(file, rights.Read, rights.Fstat); err != nil {
			return err
		}
		if err := capsicum.LimitIoctlsFD(list, unix.TCGETS); err != nil {
			return err
		}
	}
	child := exec.Command("/proc/self/exe")
	child.Args, child.Env = []string{"child", os.Args[len(os.Args)-1] + "'s child"}, []string{toldEnv + "=child"}
	child.Stdin = os.Stdin
	said, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		return err
	}
	if way == "mode" || way == "both" {
		return capsicum.Enter()
	}
	return nil
}

// open lists what a process has open.
func open() (files []string) {
	for fd := range 64 {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
			files = append(files, name)
		}
	}
	return files
}

// listed is a row of ps.
type listed struct {
	PID, Supervisor, Front int
	Argv                   []string
	Form, Engine           string
	Mode                   *bool           `json:"capability_mode"`
	Descriptors            json.RawMessage `json:"descriptors"`
}

// ps asks as a user about those whose last argument is one of marks.
func ps(t *testing.T, program string, uid int, marks ...string) []listed {
	t.Helper()
	cmd := exec.Command(program, "ps", "--json")
	cmd.SysProcAttr = as(uid)
	text, err := cmd.Output()
	var list struct{ Processes []listed }
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		t.Fatalf("ps: %v: %s", err, text)
	}
	found := make([]listed, len(marks))
	for _, p := range list.Processes {
		if len(p.Argv) == 0 {
			continue // in the middle of an exec
		}
		if i := slices.Index(marks, p.Argv[len(p.Argv)-1]); i >= 0 {
			found[i] = p
		}
	}
	return found
}

// until asks until everybody is told of, or for a minute: a supervisor may not have
// come to listen yet.
func until(t *testing.T, program string, uid int, marks ...string) (found []listed) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		found = ps(t, program, uid, marks...)
		if !slices.ContainsFunc(found, func(p listed) bool { return p.Mode == nil }) {
			break
		}
	}
	return found
}

// stays starts a victim, and waits until it has said something, which is returned.
func stays(t *testing.T, uid int, env []string, argv ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stderr = "/", as(uid), os.Stderr
	cmd.Env = append(os.Environ(), env...)
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
		in.Close()
		timer := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
	})
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return cmd, said
}

// askers are the users as whom is asked of a process of one user.
func askers(uid int) (may, mayNot []int) {
	if os.Geteuid() != 0 {
		return []int{uid}, nil
	}
	for _, other := range []int{ordinary, stranger} {
		if other != uid {
			mayNot = append(mayNot, other)
		}
	}
	return slices.Compact([]int{0, uid}), mayNot
}

func users() []int {
	if os.Geteuid() == 0 {
		return []int{0, ordinary}
	}
	return []int{os.Geteuid()}
}

// TestTold: of a program that confines itself ps tells in a run what it tells without,
// to the same user and to root, and to nobody else.
func TestTold(t *testing.T) {
	program, exe := executables(t)
	for _, engine := range engines {
		for _, uid := range users() {
			for _, way := range ways {
				t.Run(fmt.Sprintf("%s, uid %d: %s", engine, uid, way), func(t *testing.T) { toldOf(t, program, exe, engine, uid, way) })
			}
		}
	}
}

func toldOf(t *testing.T, program, exe, engine string, uid int, way string) {
	env := toldEnv + "=" + way
	mark := fmt.Sprintf("%s %s %d", way, engine, uid)
	inside := []string{"inside " + mark, "inside " + mark + "'s child"}
	outside := []string{"outside " + mark, "outside " + mark + "'s child"}
	front, files := stays(t, uid, nil, program, "--engine="+engine, "--env", env, "--", exe, inside[0])
	stays(t, uid, []string{env}, exe, outside[0])
	if strings.Contains(files, "socket:") {
		t.Errorf("the program has a socket: %s", files)
	}
	may, mayNot := askers(uid)
	for _, asker := range may {
		got := until(t, program, asker, inside...)
		checkTold(t, way, engine, asker, front.Process.Pid, got)
		for i, p := range got {
			if p.Form != "run" {
				checkSame(t, asker, p, until(t, program, asker, outside[i])[0])
			}
		}
	}
	for _, asker := range mayNot {
		for _, p := range ps(t, program, asker, inside...) {
			if p.Form != "run" || p.Mode != nil || p.Descriptors != nil || p.Supervisor != 0 {
				t.Errorf("user %d is told %+v", asker, p)
			}
		}
	}
}

// checkTold checks what is told of a program in a run, and its child.
func checkTold(t *testing.T, way, engine string, asker, front int, got []listed) {
	t.Helper()
	for i, p := range got {
		mode := i == 0 && (way == "mode" || way == "both")
		limited := way == "limited" || way == "both"
		form := "run"
		if mode || limited {
			form = "supervised"
		}
		switch {
		case p.Mode == nil || *p.Mode != mode || p.Form != form || p.Engine != engine || p.Front != front:
			t.Errorf("user %d is told of process %d %+v", asker, i, p)
		case (p.Descriptors != nil) != limited || (p.Supervisor != 0) != (form == "supervised") || p.Supervisor == front:
			t.Errorf("user %d is told of process %d %+v", asker, i, p)
		}
	}
}

// checkSame compares what is told of a program in a run and outside.
func checkSame(t *testing.T, asker int, in, out listed) {
	t.Helper()
	switch {
	case in.Mode == nil || out.Mode == nil || *in.Mode != *out.Mode || string(in.Descriptors) != string(out.Descriptors):
		t.Errorf("user %d is told in a run %+v %s, outside %+v %s", asker, in, in.Descriptors, out, out.Descriptors)
	case out.Form != "supervised" || out.Engine != "" || out.Front != 0:
		t.Errorf("user %d is told outside a run %+v", asker, out)
	}
}

// TestToldOfStopped: a run whose front was stopped, as by a terminal, can be asked.
func TestToldOfStopped(t *testing.T) {
	program, exe := executables(t)
	front, _ := stays(t, os.Geteuid(), nil, program, "--env", toldEnv+"=both", "--", exe, "stopped")
	if err := front.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = front.Process.Signal(syscall.SIGCONT) }()
	if p := until(t, program, os.Geteuid(), "stopped")[0]; p.Mode == nil || !*p.Mode || p.Descriptors == nil {
		t.Errorf("told: %+v", p)
	}
}

// TestNobodyIsEverybody: in a user namespace with only the user that those who are not
// mapped look like, nobody can be told from others.
func TestNobodyIsEverybody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it takes other users")
	}
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		t.Fatal(err)
	}
	var nobody int
	if _, err := fmt.Sscan(string(text), &nobody); err != nil {
		t.Fatal(err)
	}
	program, exe := executables(t)
	stays(t, nobody, nil, program, "--env", toldEnv+"=both", "--", exe, "nobody")
	time.Sleep(time.Second)
	for _, asker := range []int{0, nobody, ordinary} {
		if p := ps(t, program, asker, "nobody")[0]; p.Form != "run" || p.Mode != nil {
			t.Errorf("user %d is told %+v", asker, p)
		}
	}
}
