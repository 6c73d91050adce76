package sys

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// refuse has the kernel answer a call of this thread with an error, as a sandbox does.
func refuse(t *testing.T, call uint32, errno unix.Errno) {
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		_, err = InstallFilter(prog, false)
	}
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// ended is the number of a process that is no more.
func ended(t *testing.T) int {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestSameFiles(t *testing.T) {
	pid, gone := os.Getpid(), ended(t)
	onThread(func() {
		tid := unix.Gettid()
		for other, want := range map[int]bool{pid: true, tid: true, gone: true, os.Getppid(): false} {
			if got := SameFiles(other, tid); got != want {
				t.Errorf("thread %d of %d with %d: %v, want %v", tid, pid, other, got, want)
			}
		}
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			t.Error(err)
		}
		if SameFiles(pid, tid) {
			t.Error("a thread with a table of its own has the process's")
		}
	})
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		onThread(func() {
			refuse(t, unix.SYS_KCMP, errno)
			if SameFiles(pid, unix.Gettid()) {
				t.Errorf("%v: taken for the same table", errno)
			}
			if !SameFiles(pid, pid) {
				t.Errorf("%v: a thread has another table than itself", errno)
			}
		})
	}
}

func TestSeen(t *testing.T) {
	pid, gone := os.Getpid(), ended(t)
	look := func(tid int, want error) {
		if err := FiltersSee(pid, tid); !errors.Is(err, want) {
			t.Errorf("thread %d: %v, want %v", tid, err, want)
		}
	}
	onThread(func() {
		look(unix.Gettid(), nil)
		look(gone, nil)
	})
	for call, errno := range map[uint32]unix.Errno{
		unix.SYS_OPENAT: unix.EACCES, unix.SYS_READ: unix.EIO,
	} {
		onThread(func() {
			refuse(t, call, errno)
			look(unix.Gettid(), errno)
		})
	}
	for _, call := range []uint32{unix.SYS_OPENAT, unix.SYS_GETDENTS64} {
		onThread(func() {
			refuse(t, call, unix.EACCES)
			if list, err := Threads(pid); !errors.Is(err, unix.EACCES) {
				t.Errorf("call %d refused: threads %v, %v", call, list, err)
			}
		})
	}
}
