//go:build linux

package selfconfined

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// messageAttacks pass descriptors on in messages.
var messageAttacks = []attack{
	{name: "a message that waits for its control data", root: true, do: namesWhatComes},
	{name: "a clone that waits for its source", root: true, do: clonesWhatComes},
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
	came, err := receive(in)
	if err != nil {
		fill(nil)
		return fmt.Errorf("receive a limited descriptor meanwhile: %w", err)
	}
	fill(unix.UnixRights(came))
	if err := <-done; err != nil {
		return err
	}
	passed, err := receive(out[1])
	if err != nil {
		return err
	}
	buf := make([]byte, 6)
	if _, err := unix.Pread(passed, buf, 0); err != nil {
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
	came, err := receive(in)
	if err != nil {
		fill(nil)
		return fmt.Errorf("receive a limited descriptor meanwhile: %w", err)
	}
	fill(binary.NativeEndian.AppendUint64(nil, uint64(came)))
	if err := <-done; err != nil && err != unix.EOPNOTSUPP {
		return err
	}
	return nil
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
