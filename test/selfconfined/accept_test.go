//go:build linux

package selfconfined

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// withoutNumbers are calls of a process whose descriptor numbers are all in use: a
// connection must stay where it is, and no file be made.
var withoutNumbers = []attack{
	{name: "an open without a number", do: func(a *attacker) error {
		dir := must(os.MkdirTemp("", "selfconfined"))
		defer os.RemoveAll(dir)
		d := must(unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
		a.limit(d, rights.Lookup, rights.Create, rights.Read, rights.Write, rights.Seek)
		full := fill()
		if fd, err := unix.Openat(d, "new", unix.O_CREAT|unix.O_RDWR, 0o600); err != unix.EMFILE {
			return fmt.Errorf("opened as %d, %w", fd, err)
		}
		if err := unix.Access(dir+"/new", 0); err != unix.ENOENT {
			return fmt.Errorf("the file is there: %w", err)
		}
		for n := range 32 {
			check(unix.Close(full - n))
		}
		_, err := unix.Openat(d, "new", unix.O_CREAT|unix.O_RDWR, 0o600)
		return err
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
