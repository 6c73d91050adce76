// Package procdesc is process descriptors: children that are held by a descriptor,
// not named by a number. It is procdesc(4) of FreeBSD.
//
//	p, err := procdesc.Start(exec.Command("/usr/libexec/worker"))
//	…
//	err = p.Kill(syscall.SIGTERM)
//	exit, err := p.Wait()
//
// When the last descriptor of a process is closed, the process is killed: on purpose,
// or because whoever held it has ended, however. Descriptors are handed on like any
// other, to a child or over a local socket, and the process lives as long as one is
// left anywhere. Whoever holds one, parent or not, in capability mode or out of it,
// signals the process and waits for it, as far as the descriptor's rights go; and hits
// that process or none, as numbers are given out again and descriptors are not.
//
// No SIGCHLD tells of the end of such a process, and no wait for any child returns it.
//
// docs/process-descriptors.md says how this is done on Linux, and what differs. On
// FreeBSD, where the Go runtime has no way to make a process descriptor, Start fails
// with [ErrNotSupported], and the rest works; elsewhere everything fails so.
package procdesc

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

// ErrNotSupported says that this system can't do it.
var ErrNotSupported = errors.ErrUnsupported

// Process is a process descriptor. It is a [syscall.Conn], so that package capsicum
// limits it as it stands.
type Process struct{ f *os.File }

// FromFile makes a Process of a descriptor that was handed to this process, and takes
// it over.
func FromFile(f *os.File) *Process { return &Process{f} }

// File is the descriptor, to be handed on: in ExtraFiles of a command, or over a
// socket. It is p's own, which p.Close closes. Waiting for it with poll(2) tells of the
// process's end, as POLLHUP.
func (p *Process) File() *os.File { return p.f }

// FD is the descriptor's number, -1 when p is closed. Unlike that of [os.File.Fd] it
// leaves the descriptor's mode alone.
func (p *Process) FD() int {
	fd := -1
	if raw, err := p.f.SyscallConn(); err == nil {
		_ = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd
}

// SyscallConn makes p a [syscall.Conn].
func (p *Process) SyscallConn() (syscall.RawConn, error) { return p.f.SyscallConn() }

// Close closes the descriptor. If it is the last one of the process, the process is
// killed, unless it was started with [Daemon]. Close does not wait for that.
func (p *Process) Close() error {
	err := p.f.Close()
	closed()
	return err
}

// PID returns the number of the process: pdgetpid(2). It is known after its end too. It
// needs [rights.Pdgetpid].
func (p *Process) PID() (pid int, err error) {
	cerr := p.control(func(fd int) { pid, err = getpid(fd) })
	if err := errors.Join(cerr, err); err != nil {
		return 0, fmt.Errorf("get number of process: %w", err)
	}
	return pid, nil
}

// Kill sends a signal to the process: pdkill(2). It needs [rights.Pdkill]. It fails with
// ESRCH once somebody has waited for the process; before that one that has exited takes
// any signal.
func (p *Process) Kill(sig syscall.Signal) (err error) {
	cerr := p.control(func(fd int) { err = kill(fd, sig) })
	if err := errors.Join(cerr, err); err != nil {
		return fmt.Errorf("signal process: %w", err)
	}
	return nil
}

// Alive reports whether the process has not exited: what fstat(2) tells of a process
// descriptor. It needs [rights.Fstat].
func (p *Process) Alive() (alive bool, err error) {
	cerr := p.control(func(fd int) { alive, err = living(fd) })
	if err := errors.Join(cerr, err); err != nil {
		return false, fmt.Errorf("look whether process lives: %w", err)
	}
	return alive, nil
}

// Exit is how a process ended, and what it used, with the children that it has waited
// for.
type Exit struct {
	PID    int
	Status syscall.WaitStatus
	Rusage syscall.Rusage
}

// Success reports whether the process exited by itself, with status 0.
func (e *Exit) Success() bool { return e.Status.Exited() && e.Status.ExitStatus() == 0 }

// Wait waits for the process to exit, and returns how it did: pdwait(2). One caller gets
// that, of all holders; others fail with ECHILD. Of stops nobody is told. It needs
// [rights.Pdwait].
func (p *Process) Wait() (*Exit, error) {
	e, err := p.wait()
	if err != nil {
		return nil, fmt.Errorf("wait for process: %w", err)
	}
	closed()
	return e, nil
}

// Exited is Wait for a process that has exited already; it returns nil for one that has
// not.
func (p *Process) Exited() (e *Exit, err error) {
	cerr := p.control(func(fd int) { e, err = tryWait(fd) })
	switch err := errors.Join(cerr, err); {
	case errors.Is(err, syscall.EAGAIN):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for process: %w", err)
	}
	closed()
	return e, nil
}

// Limit takes all rights but the given ones from the descriptor: [capsicum.Limit].
func (p *Process) Limit(r ...rights.Right) error { return capsicum.Limit(p.f, r...) }

func (p *Process) control(f func(fd int)) error {
	raw, err := p.f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		return os.ErrClosed // there is no other reason
	}
	return nil
}
