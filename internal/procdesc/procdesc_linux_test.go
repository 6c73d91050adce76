package procdesc

import (
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

func start(t *testing.T, c *Child) int {
	t.Helper()
	fd, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	return fd.Int()
}

func shell(line string) *Child {
	return &Child{Path: "/bin/sh", Args: []string{"sh", "-c", line}, Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
}

func TestStart(t *testing.T) {
	for line, want := range map[string]unix.WaitStatus{"exit 7": 7 << 8, "kill -9 $$": 9, "ulimit -c 0; kill -11 $$": 11} {
		fd := start(t, shell(line))
		pid, err := Pid(fd)
		if err != nil {
			t.Fatal(err)
		}
		if err := Wait(fd); err != nil {
			t.Fatal(err)
		}
		data, err := Take(fd)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Parse(data)
		if err != nil || e.Status != want || e.PID != pid || e.Rusage.Maxrss == 0 {
			t.Errorf("%q: %+v, %v, want status %#x", line, e, err, want)
		}
		if _, err := Take(fd); !errors.Is(err, unix.ECHILD) {
			t.Errorf("%q: second %v", line, err)
		}
		if err := Kill(fd, 9); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%q: kill %v", line, err)
		}
		unix.Close(fd)
	}
	time.Sleep(20 * time.Millisecond)
	Sweep()
	if n := len(helpers.by); n != 0 {
		t.Errorf("%d helpers are left", n)
	}
	if _, err := Start(&Child{Path: "/nonexistent", Args: []string{"x"}}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("nothing to start: %v", err)
	}
}

func TestLastClose(t *testing.T) {
	fd := start(t, shell("exec sleep 100"))
	pid, _ := Pid(fd)
	again, _ := unix.Dup(fd)
	unix.Close(fd)
	time.Sleep(50 * time.Millisecond)
	if unix.Kill(pid, 0) != nil {
		t.Fatal("killed too early")
	}
	unix.Close(again)
	for range 6000 {
		if unix.Kill(pid, 0) == unix.ESRCH {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("not killed")
}

// TestSeal: a helper makes no other calls, whatever it is made to run.
func TestSeal(t *testing.T) {
	filter, err := seal()
	if err != nil {
		t.Fatal(err)
	}
	prog := unsafe.Slice(filter.Filter, filter.Len)
	passes := map[uint32]bool{unix.SYS_WAITID: true, unix.SYS_WAIT4: true, unix.SYS_SENDTO: true, unix.SYS_SHUTDOWN: true,
		unix.SYS_CLOSE: true, unix.SYS_EXIT_GROUP: true}
	for nr := range uint32(600) {
		for _, arch := range []uint32{uint32(sysno.Native), 0x40000003} {
			want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
			if passes[nr] && arch == uint32(sysno.Native) {
				want = unix.SECCOMP_RET_ALLOW
			}
			if got := cbpf.Run(prog, cbpf.Data{Nr: nr, Arch: arch}); got.Value != want {
				t.Errorf("call %d of %#x: %#x, want %#x", nr, arch, got.Value, want)
			}
		}
	}
}
