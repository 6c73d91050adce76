//go:build linux

package selfconfined

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// messageAttacks pass descriptors on in messages.
var messageAttacks = []attack{
	{name: "a message that waits for its control data", root: true, do: namesWhatComes},
	{name: "a clone that waits for its source", root: true, do: clonesWhatComes},
	{name: "the second of two messages, limited meanwhile", do: secondNames},
	{name: "the second of two messages, in capability mode meanwhile", do: secondGoesTo},
}

// namesWhatComes sends a message while it holds nothing limited, holds the call back
// on the page with the control data, receives a limited descriptor, and has the
// message name that.
func namesWhatComes(a *attacker) error {
	in := a.underWay()
	out := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	control, fill := absent()
	body := []byte("x")
	iov := unix.Iovec{Base: &body[0], Len: 1}
	header := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: &control[0], Controllen: uint64(unix.CmsgSpace(4))}
	done := make(chan error, 1)
	go func() {
		_, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(out[0]), uintptr(unsafe.Pointer(&header)), 0)
		done <- errnoOf(e)
	}()
	time.Sleep(100 * time.Millisecond)
	fill(unix.UnixRights(comes(in)))
	if err := <-done; err != nil {
		return arrives(err)
	}
	return readSecret(must(receive(out[1])))
}

// came is what comes has received.
var came = make(chan int, 1)

// comes returns the number that a limited descriptor is received under, or will be
// once nothing can be sent on.
func comes(in int) int {
	go func() { came <- must(receive(in)) }()
	select {
	case fd := <-came:
		came <- fd
		return fd
	case <-time.After(300 * time.Millisecond):
		return 512 + 2 // the first for what may only be written to
	}
}

// arrives returns err once the limited descriptor is there, as it must be even so.
func arrives(err error) error {
	check(unix.Close(<-came))
	return err
}

func readSecret(fd int) error {
	buf := make([]byte, 6)
	if _, err := unix.Pread(fd, buf, 0); err != nil {
		return err
	}
	if string(buf) != "secret" {
		return fmt.Errorf("read %q", buf)
	}
	return nil
}

// underWay sends a limited descriptor, after which the process holds none, and
// returns the socket at which it arrives.
func (a *attacker) underWay() int {
	const number = 300 // which needs no filter, and so leaves nothing behind when it is closed
	check(unix.Dup3(a.file("it", "secret"), number, 0))
	a.limit(number, rights.Write)
	in := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	check(unix.Sendmsg(in[0], []byte("x"), unix.UnixRights(number), nil, 0))
	check(unix.Close(number))
	return in[1]
}

// clonesWhatComes is the same with the cloning of a range, whose source is in memory.
// Where the file system clones nothing, it is enough that the kernel looked.
func clonesWhatComes(a *attacker) error {
	in := a.underWay()
	copied := a.file("copy", "")
	args, fill := absent()
	done := make(chan error, 1)
	go func() {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(copied), unix.FICLONERANGE, uintptr(unsafe.Pointer(&args[0])))
		done <- errnoOf(e)
	}()
	time.Sleep(100 * time.Millisecond)
	fill(binary.NativeEndian.AppendUint64(nil, uint64(comes(in))))
	if err := <-done; err != nil && err != unix.EOPNOTSUPP {
		return arrives(err)
	}
	return nil
}

// secondNames sends a descriptor in the second of two messages, and limits it while the
// first waits for room.
func secondNames(a *attacker) error {
	a.underWay() // it holds nothing limited
	const number = 301
	check(unix.Dup3(a.file("it", "secret"), number, 0))
	control := unix.UnixRights(number)
	pair, sent := sendTwo(unix.Msghdr{Control: &control[0], Controllen: uint64(len(control))})
	a.limit(number, rights.Write)
	drain(pair)
	check(<-sent)
	return readSecret(must(receive(pair)))
}

// secondGoesTo sends the second of two messages to an address, and enters capability
// mode while the first waits for room.
func secondGoesTo(a *attacker) error {
	a.underWay()
	to := must(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	name := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	path := filepath.Join(a.dir, "socket")
	for i := range len(path) {
		name.Path[i] = int8(path[i])
	}
	check(unix.Bind(to, &unix.SockaddrUnix{Name: path}))
	pair, sent := sendTwo(unix.Msghdr{Name: (*byte)(unsafe.Pointer(&name)), Namelen: unix.SizeofSockaddrUnix})
	a.enter()
	drain(pair)
	check(<-sent)
	_, _, err := unix.Recvfrom(to, make([]byte, 1), unix.MSG_DONTWAIT)
	return err
}

// sendTwo sends two messages with one call, of which the first waits for somebody to
// make room at the socket returned.
func sendTwo(second unix.Msghdr) (pair int, sent chan error) {
	p := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	for unix.Sendto(p[0], []byte("full"), unix.MSG_DONTWAIT, nil) == nil {
	}
	body := []byte("x")
	iov := unix.Iovec{Base: &body[0], Len: 1}
	second.Iov, second.Iovlen = &iov, 1
	type message struct {
		header unix.Msghdr
		_      [8]byte
	}
	two := []message{{header: unix.Msghdr{Iov: &iov, Iovlen: 1}}, {header: second}}
	sent = make(chan error, 1)
	go func() {
		_, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(p[0]), uintptr(unsafe.Pointer(&two[0])), 2, 0, 0, 0)
		sent <- errnoOf(e)
	}()
	time.Sleep(100 * time.Millisecond)
	return p[1], sent
}

// drain receives up to the first message of [sendTwo].
func drain(socket int) {
	for buf := make([]byte, 8); ; {
		if n, _, err := unix.Recvfrom(socket, buf, 0); err != nil || n == 1 {
			check(err)
			return
		}
	}
}

func errnoOf(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// receive takes a message and the descriptor in it.
func receive(socket int) (int, error) {
	buf, oob := make([]byte, 8), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, buf, oob, 0)
	if err != nil {
		return 0, err
	}
	list, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(list) == 0 {
		return 0, errors.Join(errors.New("no descriptor came"), err)
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}
