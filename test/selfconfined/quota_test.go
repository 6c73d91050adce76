//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// besideGreed are things that go on in a process whose relative takes all it can get of
// what answers them both.
var besideGreed = []attack{
	{name: "a process beside one whose threads all wait", do: besideWaiters},
	{name: "a process beside one that has descriptors under way", do: besideMessages},
}

// besideWaiters has more threads than calls can be served at a time wait for a
// descriptor that never comes.
func besideWaiters(a *attacker) error {
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	other := a.standby(limited)
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	in := new(struct {
		header  unix.Msghdr
		iov     unix.Iovec
		control [64]byte
		data    byte
	})
	in.iov = unix.Iovec{Base: &in.data, Len: 1}
	in.header = unix.Msghdr{Iov: &in.iov, Iovlen: 1, Control: &in.control[0], Controllen: 64}
	waiters := make([]script.Sequence, 1500)
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	for i := range waiters {
		waiters[i].Do("receive", unix.SYS_RECVMSG, pair[1], script.Struct(in), 0).Forgive(unix.ENOMEM)
		waiters[i].Do("end", unix.SYS_EXIT, 0)
		_ = must(script.Start(thread, &waiters[i]))
	}
	time.Sleep(500 * time.Millisecond)
	err := other()
	runtime.KeepAlive(waiters)
	return err
}

// besideMessages sends a limited descriptor again and again, and nobody receives it.
func besideMessages(a *attacker) error {
	limited := a.file("it", "it")
	a.limit(limited, rights.Read)
	other := a.standby(limited)
	var list [200]int
	for i := range list {
		list[i] = limited
	}
	for range 100 {
		pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
		err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(list[:]...), nil, 0)
		if err != nil && err != unix.ETOOMANYREFS {
			return fmt.Errorf("send: %w", err)
		}
		check(unix.Close(pair[0]))
	}
	return other()
}

// standby starts a process that copies descriptor fd once it is told to, which the
// result does, and waits for it.
func (a *attacker) standby(fd int) func() error {
	var cue [2]int
	check(unix.Pipe(cue[:]))
	var steps script.Sequence
	steps.Do("wait", unix.SYS_READ, cue[0], script.Struct(new([8]byte)), 1)
	steps.Do("copy", unix.SYS_DUP, fd)
	steps.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid := must(script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), &steps))
	return func() error {
		end := make(chan error, 1)
		_ = must(unix.Write(cue[1], []byte("x")))
		go func() { end <- errors.Join(ended(pid), steps.Err()) }()
		select {
		case err := <-end:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("nobody answers")
		}
	}
}
