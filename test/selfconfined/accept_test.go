//go:build linux

package selfconfined

import (
	"fmt"
	"runtime"
	"time"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// withoutNumbers are calls of a process whose descriptor numbers are all in use: a
// connection must stay where it is, and no file be made or emptied.
var withoutNumbers = []attack{
	{name: "an open without a number", do: func(a *attacker) error {
		d := a.directory()
		a.limit(d, rights.Lookup, rights.Create, rights.Ftruncate, rights.Read, rights.Write, rights.Seek, rights.Fstat)
		return opensNothing(d)
	}},
	{name: "an open beneath an unlimited directory without a number", do: func(a *attacker) error {
		d := a.directory()
		a.enter()
		return opensNothing(d)
	}},
	{name: "an accept without a number", do: func(a *attacker) error {
		l := a.listener()
		client := dial(l)
		full := fill()
		if err := refusesFull(l); err != nil {
			return err
		}
		ready := []unix.PollFd{{Fd: int32(l), Events: unix.POLLIN}}
		if n, err := unix.Poll(ready, 0); n != 1 || ready[0].Revents != unix.POLLIN {
			return fmt.Errorf("the listener is not ready: %v, %w", ready, err)
		}
		for n := range 32 {
			check(unix.Close(full - n))
		}
		conn, _, err := unix.Accept(l)
		if err != nil {
			return err
		}
		return talks(client, conn)
	}},
	{name: "an accept beside one that has the last number", do: func(a *attacker) error {
		l := a.listener()
		clients := []int{unbound(), unbound()}
		accepted := make(chan int, 1)
		fill()
		check(unix.Close(512))
		go func() {
			runtime.LockOSThread()
			conn, _, _ := unix.Accept(l)
			accepted <- conn
		}()
		time.Sleep(50 * time.Millisecond)
		if err := refusesFull(l); err != nil {
			return err
		}
		for _, client := range clients {
			check(unix.Connect(client, must(unix.Getsockname(l))))
		}
		if err := talks(clients[0], <-accepted); err != nil {
			return err
		}
		return refusesFull(l)
	}},
	{name: "an accept whose number is given away meanwhile", do: func(a *attacker) error {
		l := a.listener()
		client := unbound()
		accepted := make(chan int, 1)
		fill()
		check(unix.Close(512))
		check(unix.Close(513))
		go func() {
			runtime.LockOSThread()
			conn, _, _ := unix.Accept(l)
			accepted <- conn
		}()
		time.Sleep(50 * time.Millisecond)
		given := fill()
		check(unix.Connect(client, must(unix.Getsockname(l))))
		time.Sleep(50 * time.Millisecond)
		check(unix.Close(given))
		return talks(client, <-accepted)
	}},
}

// directory returns a directory with a file that is not empty.
func (a *attacker) directory() int {
	check(unix.Close(a.file("old", "contents")))
	return must(unix.Open(a.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
}

// opensNothing makes and empties files once all numbers are in use, and when some are
// free again.
func opensNothing(d int) error {
	look := func() (old int64, fresh bool) {
		var st unix.Stat_t
		fresh = unix.Fstatat(d, "new", &st, 0) == nil
		check(unix.Fstatat(d, "old", &st, 0))
		return st.Size, fresh
	}
	opens := func(want error) error {
		for name, flags := range map[string]int{"new": unix.O_CREAT | unix.O_RDWR, "old": unix.O_TRUNC | unix.O_RDWR} {
			if fd, err := unix.Openat(d, name, flags, 0o600); err != want {
				return fmt.Errorf("%s is opened as %d, %w", name, fd, err)
			}
		}
		return nil
	}
	full := fill()
	if err := opens(unix.EMFILE); err != nil {
		return err
	}
	if old, fresh := look(); old == 0 || fresh {
		return fmt.Errorf("the old file has %d bytes, the new one is there: %t", old, fresh)
	}
	for n := range 32 {
		check(unix.Close(full - n))
	}
	if err := opens(nil); err != nil {
		return err
	}
	if old, fresh := look(); old != 0 || !fresh {
		return fmt.Errorf("then the old file has %d bytes, the new one is there: %t", old, fresh)
	}
	return nil
}

// listener returns a limited listener.
func (a *attacker) listener() int {
	l := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	check(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(unix.Listen(l, 8))
	a.limit(l, rights.Accept, rights.Event, rights.Read, rights.Write, rights.Getsockname, rights.Getsockopt)
	return l
}

func unbound() int { return must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)) }

// dial returns a connection to l that nobody has accepted.
func dial(l int) int {
	s := unbound()
	check(unix.Connect(s, must(unix.Getsockname(l))))
	return s
}

// fill takes every number there is, and returns the last.
func fill() int {
	time.Sleep(time.Millisecond) // the runtime takes some for itself
	var limit unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = 700
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	last := -1
	for {
		n, err := unix.Dup(0)
		if err == unix.EMFILE {
			return last
		}
		check(err)
		last = n
	}
}

func refusesFull(l int) error {
	if conn, _, err := unix.Accept(l); err != unix.EMFILE {
		return fmt.Errorf("an accept without a number: %d, %w", conn, err)
	}
	return nil
}

// talks reports what is wrong with a connection between client and conn.
func talks(client, conn int) error {
	if _, err := unix.Write(client, []byte("text")); err != nil {
		return err
	}
	buf := make([]byte, 8)
	n, err := unix.Read(conn, buf)
	if err != nil || string(buf[:n]) != "text" {
		return fmt.Errorf("read %q of the connection: %w", buf[:n], err)
	}
	return nil
}
