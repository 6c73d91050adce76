package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// address is a Unix socket's: a path, or an abstract name after an "@".
func address(name string) unix.Sockaddr { return &unix.SockaddrUnix{Name: name} }

func listen(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, address(name)); err != nil {
		return -1, err
	}
	return fd, unix.Listen(fd, 8)
}

// serve answers stream connections to a name, and takes datagrams at the name
// with ".dgram" after it, until it is killed.
func serve(a []string) error {
	datagram, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(datagram, address(a[0]+".dgram")); err != nil {
		return err
	}
	fd, err := listen(a[0])
	if err != nil {
		return err
	}
	if a[0][0] != '@' {
		if err := errors.Join(os.Chmod(a[0], 0o777), os.Chmod(a[0]+".dgram", 0o777)); err != nil {
			return err
		}
	}
	fmt.Println("listening")
	for {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return err
		}
		_, err = unix.Write(c, []byte("hello"))
		if err := errors.Join(err, unix.Close(c)); err != nil {
			return err
		}
	}
}

func connect(a []string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, address(a[0])); err != nil {
		return err
	}
	buf := make([]byte, 16)
	n, err := unix.Read(fd, buf)
	if err == nil && string(buf[:n]) != "hello" {
		return fmt.Errorf("peer said %q: %w", buf[:n], unix.EIO)
	}
	return err
}

func sendTo(a []string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, address(a[0]+".dgram"))
}

// chat has one process serve and another, of the same sandbox, connect.
func chat(a []string) error {
	server := self("chatter", a[0])
	if err := server.Start(); err != nil {
		return err
	}
	var err error
	for start := time.Now(); time.Since(start) < patience; time.Sleep(50 * time.Millisecond) {
		if err = connect(a); err != unix.ENOENT && err != unix.ECONNREFUSED {
			break
		}
	}
	if err != nil {
		err = errors.Join(err, server.Process.Kill())
	}
	return errors.Join(err, server.Wait())
}

// chatter serves one connection.
func chatter(a []string) error {
	fd, err := listen(a[0])
	if err != nil {
		return err
	}
	c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	_, err = unix.Write(c, []byte("hello"))
	return err
}

// tcp connects to a port of this machine. A refusal by nobody listening is ok:
// it came from the network.
func tcp(a []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: number(a[0])})
	if err == unix.ECONNREFUSED {
		return nil
	}
	return err
}
