package procdesc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/rights"
)

const childEnv = "CAPSICUM_TEST_PROCDESC"

func TestMain(m *testing.M) {
	if order := os.Getenv(childEnv); order != "" {
		if err := child(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// circumstances are how a child is confined.
type circumstances struct{ limited, static, mode bool }

func (c circumstances) String() string {
	s := ""
	for _, w := range []struct {
		is   bool
		word string
	}{{c.limited, "limited"}, {c.static, "static"}, {c.mode, "mode"}} {
		if w.is {
			s += " " + w.word
		}
	}
	return s
}

// cases are run in processes of their own: each makes ready what it is about, calls
// confine, and returns what is wrong then.
var cases = map[string]func(c circumstances, confine func()) error{
	"status": status, "ignoring": ignoring, "rusage": rusage, "unseen": unseen, "poll": polled, "kill": killed, "numbers": numbers, "last close": lastClose,
	"holder killed": holderKilled, "in a message": inMessage, "inherited": inherited, "daemon": daemon, "rights": rightsOf,
	"wait sleeps": waitSleeps, "many": many, "group": group, "one waits": oneWaits,
	"sent": sent, "started in the mode": startedInMode,
}

// helpers are orders of processes that cases start.
var helpers = map[string]func() error{"hold": hold, "use": use, "receive": receive, "confined": confined}

func child(order string) error {
	time.AfterFunc(2*time.Minute, func() { panic("it hangs") })
	name, rest, _ := strings.Cut(order, "/")
	if h, ok := helpers[name]; ok {
		return h()
	}
	c := circumstances{strings.Contains(rest, "limited"), strings.Contains(rest, "static"), strings.Contains(rest, "mode")}
	return cases[name](c, func() {
		switch {
		case c.static:
			withoutSupervisor()
		case c.limited:
			zero, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			must(err)
			must(capsicum.LimitFD(zero, rights.Read, rights.Event))
		}
		if c.mode {
			must(capsicum.Enter())
		}
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// withoutSupervisor makes the first limit while no descriptor is to be had.
func withoutSupervisor() {
	zero, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	var was unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	next, err := unix.Dup(zero)
	must(err)
	must(unix.Close(next))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max}))
	must(capsicum.LimitFD(zero, rights.Read, rights.Event))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
}

func check(what string, err, want error) error {
	if want == nil && err == nil || want != nil && errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: %v, want %v", what, err, want)
}

func truth(text string, ok bool) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// shell starts a shell that does line.
func shell(line string, flags ...Flags) *Process {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Stderr = os.Stderr
	p, err := Start(cmd, flags...)
	must(err)
	return p
}

// sleeper starts what lives until it is killed. The result tells, by its end, that it
// lives no more.
func sleeper(flags ...Flags) (p *Process, life *os.File) {
	r, w, err := os.Pipe()
	must(err)
	cmd := exec.Command("/bin/sh", "-c", "exec sleep 100")
	cmd.ExtraFiles = []*os.File{w}
	p, err = Start(cmd, flags...)
	must(err)
	must(w.Close())
	return p, r
}

// alive reports whether a sleeper's life goes on for a moment.
func alive(life *os.File) bool {
	must(life.SetReadDeadline(time.Now().Add(60 * time.Millisecond)))
	_, err := life.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// ends says what is wrong if it does not end.
func ends(what string, life *os.File) error {
	must(life.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err := life.Read(make([]byte, 1))
	return check(what, err, io.EOF)
}

func lives(what string, life *os.File) error { return truth(what+": it has ended", alive(life)) }

// TestConfined runs each case without confinement and in every kind, as whoever runs the
// test and as an ordinary user.
func TestConfined(t *testing.T) {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	self := exetest.Self(t)
	for name := range cases {
		for _, c := range []circumstances{{}, {limited: true}, {mode: true}, {static: true}, {static: true, mode: true}} {
			for who, cred := range users {
				t.Run(name+c.String()+"/"+who, func(t *testing.T) {
					t.Parallel()
					cmd := exec.Command(self)
					cmd.Env = append(os.Environ(), childEnv+"="+name+"/"+c.String())
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
					cmd.WaitDelay = 5 * time.Second
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
		}
	}
}
