//go:build linux

package nested

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/roster"
	"golang.org/x/sys/unix"
)

// lieEnv holds the order of a victim that plays a supervisor.
const lieEnv = "NESTED_LIE"

// lies is what one shall look like, and of whom it shall tell, beside itself, that they
// are in capability mode; and what supervisors' sockets are called.
type lies struct {
	Argv  []string
	Of    []int
	Names []string
}

// found is what a liar reached.
type found struct {
	Connected int
	Bound     bool // a socket that looks like a supervisor's
}

// lie becomes a process with the arguments of a supervisor, tries to reach those that
// there are, and answers whoever asks.
func lie(text string) int {
	var l lies
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	// The library in us would take us for its supervisor by the right name.
	wrong := "-" + l.Argv[0][1:]
	if os.Args[0] != wrong {
		fmt.Fprintln(os.Stderr, unix.Exec("/proc/self/exe", append([]string{wrong}, l.Argv[1:]...), os.Environ()))
		return 2
	}
	*unsafe.StringData(os.Args[0]) = l.Argv[0][0]
	var r found
	for _, name := range l.Names {
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil && unix.Connect(s, &unix.SockaddrUnix{Name: name}) == nil {
			r.Connected++
		}
		_ = unix.Close(s)
	}
	answer := roster.Answer{Served: []roster.Served{{PID: os.Getpid(), Mode: true}}}
	for _, pid := range l.Of {
		answer.Served = append(answer.Served, roster.Served{PID: pid, Mode: true})
	}
	if s, err := roster.Bind(); err == nil {
		r.Bound = true
		go func() { _ = roster.Serve(s, func() roster.Answer { return answer }) }()
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
	_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	return 0
}

// named lists the names of supervisors' sockets.
func named(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, name, found := strings.Cut(strings.TrimSpace(line), " @capsicum: "); found {
			names = append(names, "@capsicum: "+name)
		}
	}
	return names
}

// TestNoLies: what a program in a run says to ps is not believed, of anybody, and it
// reaches no supervisor's socket. Outside a run the same is believed of processes of its
// own user, and reaches them.
func TestNoLies(t *testing.T) {
	program, exe := executables(t)
	for _, uid := range users() {
		sleeper := fmt.Sprintf("6%05d", uid)
		target, _ := stays(t, uid, nil, program, "--engine=landlock", "--system", "--", "/bin/sh", "-c", "echo; exec sleep "+sleeper)
		defer func() { _ = target.Process.Signal(unix.SIGTERM) }()
		told, _ := stays(t, uid, nil, program, "--env", toldEnv+"=both", "--", exe, "victim")
		defer told.Process.Kill()
		victim := until(t, program, uid, "victim")[0]
		of := []int{ps(t, program, uid, sleeper)[0].PID, victim.PID}
		for _, argv := range [][]string{{roster.SupervisorName, strconv.Itoa(of[0])}, {"capsicum: supervisor", "3,4,5,6,0"}} {
			text, err := json.Marshal(lies{argv, of, named(t)})
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{nil, {"--engine=namespaces"}, {"--engine=namespaces", "--net"}, {"--engine=landlock", "--net"}} {
				t.Run(fmt.Sprintf("uid %d: %s: %v", uid, argv[0], args), func(t *testing.T) {
					front, r := liar(t, uid, program, exe, string(text), args)
					if (r.Connected > 0) != (args == nil) || !r.Bound {
						t.Errorf("reached: %+v", r)
					}
					believed := false
					for _, asker := range append([]int{uid}, os.Geteuid()) {
						list := ps(t, program, asker, sleeper, "victim", argv[1])
						believed = believed || list[0].Mode != nil
						if v := list[1]; v.Supervisor != victim.Supervisor || string(v.Descriptors) != string(victim.Descriptors) {
							t.Errorf("user %d is told of the victim %+v", asker, v)
						}
						if l := list[2]; args != nil && (l.Form != "run" || l.Front != front || l.Mode != nil && *l.Mode) {
							t.Errorf("user %d is told of the liar %+v", asker, l)
						}
					}
					if want := args == nil; believed != want {
						t.Errorf("believed: %v, %+v", believed, r)
					}
				})
			}
		}
	}
}

// liar starts one, in a run or outside.
func liar(t *testing.T, uid int, program, exe, text string, args []string) (front int, r found) {
	t.Helper()
	var cmd *exec.Cmd
	var said string
	if args == nil {
		cmd, said = stays(t, uid, []string{lieEnv + "=" + text}, exe)
	} else {
		cmd, said = stays(t, uid, nil, append(append([]string{program}, args...), "--env", lieEnv+"="+text, "--", exe)...)
	}
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return cmd.Process.Pid, r
}
