package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is for a machine that emulates its processor.
const patience = 20 * time.Second

// self starts this program again.
func self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	return cmd
}

// as runs a program as another user.
func as(a []string) error {
	id := number(a[0])
	if err := errors.Join(unix.Setgroups(nil), syscall.Setresgid(id, id, id), syscall.Setresuid(id, id, id)); err != nil {
		return err
	}
	name, err := exec.LookPath(a[1])
	if err != nil {
		return err
	}
	return unix.Exec(name, a[1:], os.Environ())
}

// userNamespace starts a child in one: a process of many threads cannot enter.
func userNamespace([]string) error {
	child := self("stat", "/")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	return child.Run()
}

func pidfd(a []string) error {
	fd, err := unix.PidfdOpen(number(a[0]), 0)
	if err != nil {
		return err
	}
	return unix.PidfdSendSignal(fd, 0, nil, 0)
}

// vmRead reads where another process surely has memory: our own program, which
// is not relocated, is in both.
func vmRead(a []string) error {
	var to [1]byte
	at := uintptr(unsafe.Pointer(unsafe.StringData("word")))
	local := []unix.Iovec{{Base: &to[0], Len: 1}}
	_, err := unix.ProcessVMReadv(number(a[0]), local, []unix.RemoteIovec{{Base: at, Len: 1}}, 0)
	return err
}

func pause() error {
	time.Sleep(10 * time.Minute)
	return nil
}

// everyone signals pid, 0 or -1, and wants a child of its own to get it.
func everyone(pid int) error {
	signal.Notify(make(chan os.Signal, 8), unix.SIGTERM) // not by ignoring it: that is inherited
	child := self("sleep")
	if err := child.Start(); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		return errors.Join(err, child.Process.Kill())
	}
	return died(child)
}

// died wants cmd to end of SIGTERM soon.
func died(cmd *exec.Cmd) error {
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	select {
	case <-end:
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != unix.SIGTERM {
			return fmt.Errorf("child ended otherwise: %v: %w", cmd.ProcessState, unix.EIO)
		}
		return nil
	case <-time.After(3 * time.Second):
		return errors.Join(fmt.Errorf("outsider lives: %w", unix.EALREADY), cmd.Process.Kill())
	}
}

// pack runs a program in a process group of its own beside an outsider, and is
// ok when the outsider ended of SIGTERM, EALREADY when it lives. What the
// program said stays visible.
func pack(a []string) error {
	signal.Notify(make(chan os.Signal, 8), unix.SIGTERM)
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return err
	}
	outsider := self("sleep")
	if err := outsider.Start(); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	cmd := exec.Command(a[0], a[1:]...)
	out, err := cmd.CombinedOutput()
	fmt.Printf("member said %q\n", out)
	if err != nil {
		fmt.Println("member failed:", err)
		return errors.Join(err, outsider.Process.Kill())
	}
	return died(outsider)
}

// threads asks from many threads at once, while the runtime signals them.
func threads(a []string) error {
	const workers = 8
	end := make(chan error, workers)
	for range workers {
		go func() {
			runtime.LockOSThread()
			var err error
			for range 50 {
				err = errors.Join(err, opened(a[0], unix.O_RDONLY), unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGURG))
			}
			end <- err
		}()
	}
	var all error
	for range workers {
		select {
		case err := <-end:
			all = errors.Join(all, err)
		case <-time.After(patience):
			return unix.ETIME
		}
	}
	return all
}

// orphan has a grandchild whose parent is gone make calls that ask. The second
// argument is its generation.
func orphan(a []string) error {
	if len(a) == 1 {
		return generations(a[0])
	}
	if a[1] == "child" {
		return self("orphan", a[0], "grandchild", fmt.Sprint(os.Getpid())).Start()
	}
	for start := time.Now(); os.Getppid() == number(a[2]); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > patience {
			return unix.ETIME
		}
	}
	return errors.Join(opened(a[0], unix.O_RDONLY), statx(a[0]))
}

func generations(name string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	child := self("orphan", name, "child")
	child.Stdout, child.Stderr = w, w
	err = child.Run()
	w.Close()
	said, readErr := io.ReadAll(r) // until the grandchild has ended
	if err = errors.Join(err, readErr); err != nil {
		return err
	}
	if string(said) != "ok\nok\n" { // of the child, of the grandchild
		return fmt.Errorf("orphan said %q: %w", said, unix.EIO)
	}
	return nil
}
