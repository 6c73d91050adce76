package roster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const askEnv = "ROSTER_ASK"

// TestMain asks, in a process of its own, a supervisor of whose number the
// environment has.
func TestMain(m *testing.M) {
	if word := os.Getenv(askEnv); word != "" {
		pid, _ := strconv.Atoi(word)
		answers, err := ask(map[int]bool{pid: true})
		fmt.Print(len(answers[pid].Served), err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serving answers from this process, until the test ends.
func serving(t *testing.T, list func() Answer) {
	t.Helper()
	s, err := Bind()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- Serve(s, list) }()
	t.Cleanup(func() {
		err := unix.Shutdown(s.Int(), unix.SHUT_RDWR)
		if end := <-ended; err != nil || !errors.Is(end, unix.EINVAL) {
			t.Errorf("%v; it ends with %v", err, end)
		}
	})
	for range 6000 {
		if n, err := names(); err == nil && len(n) > 0 {
			if answers, _ := ask(map[int]bool{os.Getpid(): true}); len(answers) > 0 {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nobody answers")
}

func askAs(t *testing.T, cred *syscall.Credential) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), askEnv+"="+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestWhoIsTold: the same user is, another one is not.
func TestWhoIsTold(t *testing.T) {
	serving(t, func() Answer { return sample })
	if got := askAs(t, nil); got != "2 <nil>" {
		t.Errorf("the same user is told %s", got)
	}
	if os.Geteuid() == 0 {
		if got := askAs(t, &syscall.Credential{Uid: 1500, Gid: 1500}); got != "0 <nil>" {
			t.Errorf("another user is told %s", got)
		}
	}
	if answers, err := ask(map[int]bool{os.Getpid() + 1: true}); len(answers) != 0 || err != nil {
		t.Errorf("who was not asked has answered: %v, %v", answers, err)
	}
}

// TestSlowReader: one who does not read what he asked for keeps nobody from asking.
func TestSlowReader(t *testing.T) {
	long, processes := Answer{}, 50000
	if testing.Short() {
		processes /= 10
	}
	for pid := range processes {
		long.Served = append(long.Served, Served{PID: pid + 1})
	}
	serving(t, func() Answer { return long })
	// More than once, as a machine that is busy may keep this process from reading, too.
	var answers map[int]Answer
	for range 30 {
		list, err := names()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range list {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			_ = unix.Connect(fd, &unix.SockaddrUnix{Name: name})
		}
		if answers, err = ask(map[int]bool{os.Getpid(): true}); err != nil {
			t.Fatal(err)
		}
		if len(answers[os.Getpid()].Served) == processes {
			return
		}
	}
	t.Errorf("%d of %d processes", len(answers[os.Getpid()].Served), processes)
}

// TestSilentSupervisor: one who has the name and says nothing is waited for only so
// long.
func TestSilentSupervisor(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	name := prefix + "silent" + strconv.Itoa(os.Getpid())
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, _, err := askOne(name, map[int]bool{os.Getpid(): true}); err == nil || time.Since(begin) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}
