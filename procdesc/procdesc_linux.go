package procdesc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/attach"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/procdesc"
	"github.com/capsicum-go/capsicum/internal/request"
)

// self is the program, also when its name leads elsewhere by now.
func self(string) string { return "/proc/self/exe" }

// closed lets go of what was kept for a process.
func closed() { procdesc.Sweep() }

// asked asks the supervisor, which knows the rights; without one the kernel, and its
// filters, decide.
func asked(ask, alone func() error) error {
	err := ask()
	if errors.Is(err, attach.ErrUnsupervised) {
		return alone()
	}
	return err
}

func getpid(fd int) (pid int, err error) {
	err = asked(func() (err error) { pid, err = attach.Pdgetpid(fd); return err },
		func() (err error) { pid, err = procdesc.Pid(fd); return err })
	return pid, err
}

func kill(fd int, sig syscall.Signal) error {
	return asked(func() error { return attach.Pdkill(fd, int(sig)) }, func() error { return procdesc.Kill(fd, sig) })
}

func living(fd int) (alive bool, err error) {
	err = asked(func() (err error) { alive, err = attach.Pdalive(fd); return err },
		func() (err error) { alive, err = procdesc.Alive(fd); return err })
	return alive, err
}

// take takes the exit status; EAGAIN if there is none yet and options say not to wait.
func take(fd int, options uintptr) (*Exit, error) {
	data := make([]byte, procdesc.RecordSize)
	err := asked(func() error { return attach.Pdwait(fd, data, options) }, func() (err error) {
		for {
			data, err = procdesc.Take(fd)
			if err != unix.EAGAIN || options&request.WaitNot != 0 {
				return err
			}
			if err := procdesc.Wait(fd); err != nil && err != unix.EINTR {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	e, err := procdesc.Parse(data)
	if err != nil {
		return nil, err
	}
	u := e.Rusage
	return &Exit{e.PID, syscall.WaitStatus(e.Status), syscall.Rusage{
		Utime: syscall.Timeval(u.Utime), Stime: syscall.Timeval(u.Stime), Maxrss: u.Maxrss, Ixrss: u.Ixrss, Idrss: u.Idrss,
		Isrss: u.Isrss, Minflt: u.Minflt, Majflt: u.Majflt, Nswap: u.Nswap, Inblock: u.Inblock, Oublock: u.Oublock,
		Msgsnd: u.Msgsnd, Msgrcv: u.Msgrcv, Nsignals: u.Nsignals, Nvcsw: u.Nvcsw, Nivcsw: u.Nivcsw,
	}}, nil
}

func tryWait(fd int) (*Exit, error) { return take(fd, request.WaitNot) }

// wait waits with the runtime's poller, which takes no thread, if that has the
// descriptor; else in a system call.
func (p *Process) wait() (e *Exit, err error) {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return nil, os.ErrClosed
	}
	if raw.Read(func(fd uintptr) bool {
		e, err = tryWait(int(fd))
		return err != unix.EAGAIN
	}) == nil {
		return e, err
	}
	cerr := p.control(func(fd int) { e, err = take(fd, 0) })
	return e, errors.Join(cerr, err)
}

// supported refuses what a command may ask for and is not done.
func supported(cmd *exec.Cmd) error {
	a := cmd.SysProcAttr
	if a == nil {
		return nil
	}
	rest := *a
	rest.Setsid, rest.Setpgid, rest.Pgid, rest.Credential = false, false, 0, nil
	if !reflect.ValueOf(rest).IsZero() {
		return fmt.Errorf("SysProcAttr: only Setsid, Setpgid, Pgid and Credential: %w", errors.ErrUnsupported)
	}
	return nil
}

func fork(cmd *exec.Cmd, program *os.File, flags Flags) (*os.File, error) {
	if err := supported(cmd); err != nil {
		return nil, err
	}
	c := &procdesc.Child{Path: cmd.Path, Program: program, Args: cmd.Args, Env: cmd.Environ(), Dir: cmd.Dir, Daemon: flags&Daemon != 0,
		Supervised: attach.Supervised()}
	if len(c.Args) == 0 {
		c.Args = []string{cmd.Path}
	}
	if a := cmd.SysProcAttr; a != nil {
		c.Setsid, c.Setpgid, c.Pgid, c.User = a.Setsid, a.Setpgid, a.Pgid, a.Credential
	}
	null := &nothing{}
	defer null.close()
	for i, stream := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		f, err := null.stream(stream)
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
		c.Files = append(c.Files, f)
	}
	for i, f := range cmd.ExtraFiles {
		if f == nil {
			return nil, fmt.Errorf("extra file %d: %w", i, os.ErrInvalid)
		}
		c.Files = append(c.Files, f)
	}
	fd, err := procdesc.Start(c)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd.Release()), "process descriptor"), nil
}

// nothing is what stands for a stream that a command has not.
type nothing struct{ f *os.File }

func (n *nothing) close() {
	if n.f != nil {
		n.f.Close()
	}
}

func (n *nothing) stream(s any) (*os.File, error) {
	switch s := s.(type) {
	case *os.File:
		if s != nil {
			return s, nil
		}
	case nil:
	case io.Reader, io.Writer:
		return nil, fmt.Errorf("%T is no *os.File: %w", s, errors.ErrUnsupported)
	}
	if n.f != nil {
		return n.f, nil
	}
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if errors.Is(err, filecaps.ECAPMODE) {
		// There are no names any more: an empty file, which keeps what nobody reads.
		var fd int
		if fd, err = unix.MemfdCreate("null", unix.MFD_CLOEXEC); err == nil {
			f = os.NewFile(uintptr(fd), "null")
		}
	}
	n.f = f
	return f, err
}
