//go:build linux

package selfconfined

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// besideForks are forks of several threads, which their children are told apart by.
var besideForks = []attack{
	{name: "forks beside children that keep their parents waiting", do: besideSleepers},
	{name: "a fork beside one that is held back", root: true, do: besideHeldBack},
}

// besideSleepers forks while other threads wait for children that share their memory,
// as posix_spawn does, and take their time.
func besideSleepers(a *attacker) error {
	runtime.GOMAXPROCS(8)
	a.limit(a.file("it", "it"), rights.Read)
	const sleepers, forks, slow = 4, 40, 20 * time.Millisecond
	for range sleepers {
		go func() {
			var steps script.Sequence
			steps.Do("sleep", unix.SYS_NANOSLEEP, script.Struct(&unix.Timespec{Sec: 20}), nil)
			_, _ = script.Start(unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), &steps)
		}()
	}
	time.Sleep(100 * time.Millisecond)
	times := make([]time.Duration, forks)
	for i := range times {
		start := time.Now()
		pid := must(forkOne(1))
		times[i] = time.Since(start)
		check(ended(pid))
	}
	if most := slices.Sorted(slices.Values(times))[forks/4]; most > slow {
		return fmt.Errorf("three forks of four take more than %v", most)
	}
	return nil
}

// besideHeldBack holds a fork back where it stores a pidfd, after the kernel has copied
// the table and the label and before anything shows that it has. The label must not
// change until that fork is over.
func besideHeldBack(a *attacker) error {
	runtime.GOMAXPROCS(4)
	debug.SetGCPercent(-1) // it would wait for the thread that is held back
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	page, fill := absent()
	held := make(chan int)
	go func() {
		runtime.LockOSThread()
		held <- forkInto(unsafe.Pointer(&page[0]), limited)
	}()
	time.Sleep(100 * time.Millisecond)
	before := forkLabel()
	var children []int
	for range 3 {
		children = append(children, must(forkOne(limited)))
		if now := forkLabel(); now != before {
			fill(nil)
			return fmt.Errorf("the label was %d, and is %d", before, now)
		}
	}
	fill(nil)
	for _, pid := range append(children, <-held) {
		if err := ended(pid); err != nil {
			return err
		}
	}
	check(ended(must(forkOne(limited))))
	if a.confined && forkLabel() == before {
		return fmt.Errorf("the label stays %d", before)
	}
	return nil
}

// forkLabel is where a supervisor keeps which fork was last.
func forkLabel() uint64 {
	const locks = 10 // RLIMIT_LOCKS
	var l unix.Rlimit
	check(unix.Prlimit(0, locks, nil, &l))
	return l.Cur
}

// forkOne forks a child that copies descriptor fd.
func forkOne(fd int) (int, error) {
	var steps script.Sequence
	steps.Do("copy", unix.SYS_DUP, fd)
	steps.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid, err := script.Start(unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), &steps)
	runtime.KeepAlive(&steps)
	return pid, err
}

// forkInto forks a child that copies descriptor fd, and stores its pidfd.
//
//go:norace
func forkInto(pidfd unsafe.Pointer, fd int) int {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PIDFD|uintptr(unix.SIGCHLD), 0, uintptr(pidfd), 0, 0, 0)
	if e != 0 {
		return -int(e)
	}
	for pid == 0 {
		_, _, e := unix.RawSyscall(unix.SYS_DUP, uintptr(fd), 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(e), 0, 0)
	}
	return int(pid)
}

// ended waits for a child, which must exit with 0.
func ended(pid int) error {
	var st unix.WaitStatus
	if _, err := unix.Wait4(pid, &st, 0, nil); err != nil {
		return fmt.Errorf("wait for %d: %w", pid, err)
	}
	if !st.Exited() || st.ExitStatus() != 0 {
		return fmt.Errorf("child %d: status %#x", pid, int(st))
	}
	return nil
}
