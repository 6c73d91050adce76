package supervisor

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// swap opens descriptor a[0] again for writing while another thread puts the
// file a[1], open for both, in its place and takes it away, and counts how often
// the file with inode number a[2] was opened.
func swap(a []string) string {
	num := num(a[0])
	was, err := unix.FcntlInt(uintptr(num), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		return errnoName(err)
	}
	both, err := unix.Open(a[1], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoName(err)
	}
	stop := swapping(num, both, was)
	other, itself := false, 0
	ms, _ := strconv.Atoi(a[3])
	for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); {
		fd, err := unix.Open("/proc/self/fd/"+a[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && strconv.FormatUint(st.Ino, 10) == a[2] {
			itself++
		} else {
			other = true
		}
		unix.Close(fd)
	}
	stop()
	return fmt.Sprintf("other %v, itself %d", other, itself)
}

// lockSwap locks descriptor a[0] while another thread puts the file a[1] in its
// place and takes it away, and counts how often that locked the file a[2], which
// is the one a[0] is of.
func lockSwap(a []string) string {
	num := num(a[0])
	var fds [3]int
	for i, open := range []func() (int, error){
		func() (int, error) { return unix.FcntlInt(uintptr(num), unix.F_DUPFD_CLOEXEC, 100) },
		func() (int, error) { return unix.Open(a[1], unix.O_RDWR|unix.O_CLOEXEC, 0) },
		func() (int, error) { return unix.Open(a[2], unix.O_RDONLY|unix.O_CLOEXEC, 0) },
	} {
		fd, err := open()
		if err != nil {
			return errnoName(err)
		}
		fds[i] = fd
	}
	was, other, probe := fds[0], fds[1], fds[2]
	stop := swapping(num, other, was)
	locked, itself := false, 0
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		if unix.Flock(num, unix.LOCK_EX|unix.LOCK_NB) != nil {
			continue
		}
		locked = true
		if unix.Flock(probe, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
			itself++
		}
		for _, fd := range fds {
			unix.Flock(fd, unix.LOCK_UN)
		}
	}
	stop()
	return fmt.Sprintf("other %v, itself %d", locked, itself)
}

// lockWait waits on one thread for a lock that another open file of a[0] has.
func lockWait(a []string) string {
	var fds [2]int
	for i := range fds {
		fd, err := unix.Open(a[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return errnoName(err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	if err := unix.Flock(fds[0], unix.LOCK_EX); err != nil {
		return errnoName(err)
	}
	if err := unix.Flock(fds[1], unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return "not locked: " + errnoName(err)
	}
	got := make(chan error, 1)
	go func() { got <- unix.Flock(fds[1], unix.LOCK_EX) }()
	time.Sleep(50 * time.Millisecond)
	select {
	case err := <-got:
		return "did not wait: " + errnoName(err)
	default:
	}
	if err := unix.Flock(fds[0], unix.LOCK_UN); err != nil {
		return errnoName(err)
	}
	if err := <-got; err != nil {
		return errnoName(err)
	}
	// The lock is the second open file's now, and ends with it.
	if err := unix.Flock(fds[0], unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return "not kept: " + errnoName(err)
	}
	unix.Close(fds[1])
	return errnoName(unix.Flock(fds[0], unix.LOCK_SH|unix.LOCK_NB))
}

// swapping puts two files under one number in turn, in another thread, until
// stop is called.
func swapping(num, one, other int) (stop func()) {
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			unix.Dup3(one, num, unix.O_CLOEXEC)
			unix.Dup3(other, num, unix.O_CLOEXEC)
		}
	})
	return func() {
		over.Store(true)
		wg.Wait()
	}
}
