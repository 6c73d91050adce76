package notify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// pageSize bounds one copy: memory ends at page borders only.
var pageSize = uint64(os.Getpagesize())

// Mem is the memory of a notification's caller. Every method that succeeds has
// checked afterwards that the caller still waits, so what it returns was the
// caller's. It may have changed since: copy once, judge the copy, act on the
// copy.
type Mem struct {
	l    *Listener
	id   uint64
	tid  int
	proc *sys.FD // a procfs that shows the thread
}

// Mem returns the memory of n's caller. proc is a directory descriptor of a
// procfs in which n.PID names the caller; it stays the owner's.
func (l *Listener) Mem(n *Notification, proc *sys.FD) Mem {
	return Mem{l: l, id: n.ID, tid: int(n.PID), proc: proc}
}

// Read fills buf from addr. The error is EFAULT when any byte is not mapped,
// EACCES when this process may not read the caller at all, ErrGone when the
// caller does not wait any more.
func (m Mem) Read(addr uint64, buf []byte) error {
	for done := 0; done < len(buf); {
		n, err := m.readSome(addr+uint64(done), buf[done:])
		if err != nil {
			return err
		}
		done += n
	}
	return m.check()
}

// String copies the string at addr, which may have at most max bytes with its
// terminator. The error is ENAMETOOLONG without a terminator in these, EFAULT
// when memory ends first, else as for Read.
func (m Mem) String(addr uint64, max int) (string, error) {
	const first = 256 // most names are short; the rest of the page seldom matters
	var buf []byte
	for len(buf) < max {
		at := addr + uint64(len(buf))
		chunk := int(pageSize - at%pageSize)
		if len(buf) == 0 {
			chunk = min(chunk, first)
		}
		chunk = min(chunk, max-len(buf))
		had := len(buf)
		buf = append(buf, make([]byte, chunk)...)
		n, err := m.readSome(at, buf[had:])
		if err != nil {
			return "", err
		}
		buf = buf[:had+n]
		if end := bytes.IndexByte(buf[had:], 0); end >= 0 {
			return string(buf[:had+end]), m.check()
		}
	}
	if err := m.check(); err != nil {
		return "", err
	}
	return "", unix.ENAMETOOLONG
}

// Write copies buf to addr. The memory is reached through /proc/TID/mem, which
// stays bound to the memory it was opened for: the check comes before the
// write, so a reused thread id is never written to. One difference from the
// kernel's own copy remains: a private mapping that is not writable is
// written, and not answered with EFAULT.
func (m Mem) Write(addr uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	f, err := m.open(unix.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.check(); err != nil {
		return err
	}
	for done := 0; done < len(buf); {
		n, err := unix.Pwrite(f.Int(), buf[done:], int64(addr+uint64(done)))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n <= 0:
			return unix.EFAULT
		}
		done += n
	}
	return nil
}

// readSome copies at least one byte.
func (m Mem) readSome(addr uint64, buf []byte) (int, error) {
	n, err := sys.ReadProcess(m.tid, addr, buf)
	switch {
	case err == nil && n > 0:
		return n, nil
	case err == unix.EPERM || err == unix.ENOSYS:
		// Refused by a seccomp profile around us, or by the kernel; the file
		// is judged by the kernel alone.
		return m.readFile(addr, buf)
	case err == unix.ESRCH:
		return 0, ErrGone
	case err == unix.EFAULT || err == nil:
		return 0, unix.EFAULT
	}
	return 0, fmt.Errorf("read memory of thread %d: %w", m.tid, err)
}

func (m Mem) readFile(addr uint64, buf []byte) (int, error) {
	f, err := m.open(unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for {
		n, err := unix.Pread(f.Int(), buf, int64(addr))
		switch {
		case err == unix.EINTR:
		case err != nil || n <= 0:
			return 0, unix.EFAULT
		default:
			return n, nil
		}
	}
}

func (m Mem) open(flags int) (*sys.FD, error) {
	n, err := unix.Openat(m.proc.Int(), strconv.Itoa(m.tid)+"/mem", flags|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return sys.NewFD(n), nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return nil, ErrGone
	}
	if f := m.openParents(flags); f != nil {
		return f, nil
	}
	if errors.Is(err, unix.EPERM) {
		err = unix.EACCES
	}
	return nil, fmt.Errorf("open memory of thread %d: %w", m.tid, err)
}

// openParents opens the memory of the caller's parent, if it is the caller's too: a
// child that is about to execute a program has not named its supervisor to Yama, but
// its parent has. Whether it is the same can be told once it is open: a process that
// gets another memory does not get its old one back. One that is still there at the end
// had its number all the time.
func (m Mem) openParents(flags int) *sys.FD {
	parent := sys.Parent(m.proc.Int(), m.tid)
	if parent == 0 {
		return nil
	}
	n, err := unix.Openat(m.proc.Int(), strconv.Itoa(parent), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	dir := sys.NewFD(n)
	defer dir.Close()
	if n, err = unix.Openat(dir.Int(), "mem", flags|unix.O_CLOEXEC, 0); err != nil {
		return nil
	}
	f := sys.NewFD(n)
	if !sys.SameMemory(m.tid, parent) || unix.Faccessat(dir.Int(), "stat", unix.F_OK, 0) != nil {
		f.Close()
		return nil
	}
	return f
}

func (m Mem) check() error {
	if !m.l.Valid(m.id) {
		return ErrGone
	}
	return nil
}
