//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// numberAttacks bring a limited descriptor under a number where more passes.
var numberAttacks = []attack{
	{name: "a filter that was never stacked", do: neverStacked},
	{name: "an exec that did not happen", do: noExec},
	{name: "an exec that is said to close", do: keptThroughExec},
	{name: "a file whose inode's number changes", root: true, do: copiedUp},
	{name: "mapped under a number that lets it be", do: mappedCopy},
	{name: "closed by who shares the table", do: closedBySharer},
	{name: "closed by the exec of who shares the table", do: closedBySharersExec},
}

// neverStacked says that it has stacked a filter, and has not.
func neverStacked(a *attacker) error {
	limited := a.derived(a.file("it", "it"), rights.Read, rights.Seek)
	other := a.file("other", "other")
	if a.confined {
		w := rights.Of(rights.Read, rights.Seek).Words()
		_, _, _ = unix.Syscall6(request.Number, uintptr(request.LimitRights), uintptr(other), uintptr(w[0]), uintptr(w[1]), 0, 0)
		_, _, _ = unix.Syscall6(request.Number, uintptr(request.Stacked), uintptr(other), 0, 0, 0, 0)
	}
	if err := unix.Dup3(limited, other, 0); err != nil {
		return fmt.Errorf("dup3: %w", err)
	}
	_, err := unix.Write(other, []byte("x"))
	return err
}

// noExec makes the supervisor believe in an exec by what that changes: a process
// whose first thread has ended has no stack that anybody could name.
func noExec(a *attacker) error {
	runtime.GOMAXPROCS(4)
	limited := a.derived(a.file("it", "it"), rights.Read)
	_, err := unix.FcntlInt(uintptr(limited), unix.F_SETFD, unix.FD_CLOEXEC)
	check(err)
	go func() {
		runtime.LockOSThread()
		if err := unix.Exec("/nonexistent", []string{"x"}, nil); err != unix.ENOENT {
			os.Exit(broken)
		}
		time.Sleep(100 * time.Millisecond)
		_, _ = unix.Dup(limited)
		if unix.Ftruncate(limited, 0) != nil {
			os.Exit(refused)
		}
		os.Exit(succeeded)
	}()
	time.Sleep(50 * time.Millisecond)
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // this thread, which init keeps to be the first
	return errors.New("lives")
}

// keptThroughExec unmarks, between the look and the exec, what would be closed.
func keptThroughExec(a *attacker) error {
	if stage := os.Getenv(stageEnv); stage != "" {
		tries := 0
		limited := 0
		fmt.Sscan(stage, &limited, &tries)
		if _, err := unix.FcntlInt(uintptr(limited), unix.F_GETFD, 0); err == nil {
			return unix.Ftruncate(limited, 0)
		}
		if tries == 0 {
			return errors.New("never kept")
		}
		return keepThroughExec(a, tries-1)
	}
	return keepThroughExec(a, 30)
}

func keepThroughExec(a *attacker, tries int) error {
	limited := a.derived(a.file("it", "it"), rights.Read)
	go func() {
		runtime.LockOSThread()
		for {
			for _, mark := range []uintptr{unix.FD_CLOEXEC, 0} {
				_, _, _ = unix.Syscall(unix.SYS_FCNTL, uintptr(limited), unix.F_SETFD, mark)
			}
		}
	}()
	time.Sleep(2 * time.Millisecond)
	check(os.Setenv(stageEnv, fmt.Sprint(limited, tries)))
	return unix.Exec("/proc/self/exe", []string{"stage"}, os.Environ())
}

// stages parses what a stage was told.
func stages(text string, into ...*int) {
	args := make([]any, len(into))
	for i, p := range into {
		args[i] = p
	}
	_, err := fmt.Sscan(text, args...)
	check(err)
}

// closedBySharer closes a limited descriptor in one of two processes that shared
// their table until one executed a program.
func closedBySharer(a *attacker) error {
	if stage := os.Getenv(stageEnv); stage != "" {
		var limited, pipe int
		stages(stage, &limited, &pipe)
		_, err := unix.Read(pipe, make([]byte, 1))
		check(err)
		return unix.Ftruncate(limited, 0)
	}
	limited := a.derived(a.file("it", "it"), rights.Read)
	var p [2]int
	check(unix.Pipe(p[:]))
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"stage"}, &syscall.ProcAttr{
		Env: append(os.Environ(), fmt.Sprintf("%s=%d %d", stageEnv, limited, p[0])), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_FILES},
	})
	if err != nil {
		return err
	}
	check(unix.Close(limited))
	_, _ = unix.Dup(p[0]) // the supervisor looks what is closed by now
	_, err = unix.Write(p[1], []byte("x"))
	check(err)
	return exited(pid)
}

func exited(pid int) error {
	var st unix.WaitStatus
	_ = must(unix.Wait4(pid, &st, 0, nil))
	if st.ExitStatus() == succeeded {
		return nil
	}
	return errors.New("status " + strconv.Itoa(st.ExitStatus()))
}

// closedBySharersExec uses what only the other process's exec has closed.
func closedBySharersExec(a *attacker) error {
	if os.Getenv(stageEnv) != "" {
		_, err := unix.Dup(2)
		return err
	}
	limited := a.derived(a.file("it", "it"), rights.Read)
	_, err := unix.FcntlInt(uintptr(limited), unix.F_SETFD, unix.FD_CLOEXEC)
	check(err)
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"stage"}, &syscall.ProcAttr{
		Env: append(os.Environ(), stageEnv+"=1"), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_FILES},
	})
	if err != nil {
		return err
	}
	if err := exited(pid); err != nil {
		return err
	}
	return unix.Ftruncate(limited, 0)
}

// copiedUp changes what fstat says of an open file: the inode of a file with two
// names, on an overlay, when it is copied up.
func copiedUp(a *attacker) error {
	check(unix.Unshare(unix.CLONE_NEWNS))
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(unix.Mount("tmpfs", a.dir, "tmpfs", 0, ""))
	in := func(name string) string { return filepath.Join(a.dir, name) }
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		check(os.Mkdir(in(d), 0o755))
	}
	check(os.WriteFile(in("lower/file"), []byte("secret"), 0o644))
	check(os.Link(in("lower/file"), in("lower/other")))
	check(unix.Mount("overlay", in("merged"), "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", in("lower"), in("upper"), in("work"))))
	fd := must(unix.Open(in("merged/file"), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	limited := a.derived(fd, rights.Seek)
	check(os.Chmod(in("merged/file"), 0o600))
	var st unix.Stat_t
	if err := unix.Fstat(limited, &st); err != nil {
		return err
	}
	return nil
}

// mappedCopy maps a copy of what may be read and not mapped.
func mappedCopy(a *attacker) error {
	const low = 40 // where mmap does not ask
	limited := a.derived(a.file("it", "it"), rights.Read, rights.Write, rights.Seek)
	if err := unix.Dup3(limited, low, 0); err != nil {
		return fmt.Errorf("dup3: %w", err)
	}
	_, err := unix.Mmap(low, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}
