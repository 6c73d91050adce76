package procdesc

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

func lastClose(c circumstances, confine func()) error {
	p, life := sleeper()
	n, err := unix.FcntlInt(uintptr(p.FD()), unix.F_DUPFD_CLOEXEC, 0)
	must(err)
	confine()
	return errors.Join(p.Close(), lives("a copy is left", life), unix.Close(n), ends("the last close", life))
}

// hold is a process that holds what it was given, until it is killed.
func hold() error {
	time.Sleep(time.Minute)
	return nil
}

func holder(p *Process) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=hold/")
	cmd.ExtraFiles = []*os.File{p.File()}
	must(cmd.Start())
	return cmd
}

func holderKilled(c circumstances, confine func()) error {
	p, life := sleeper()
	if !c.mode {
		confine()
	}
	cmd := holder(p)
	if c.mode {
		confine()
	}
	errs := []error{p.Close(), lives("another process has a copy", life)}
	if c.mode { // it can't be killed from here
		return errors.Join(errs...)
	}
	must(cmd.Process.Kill())
	return errors.Join(append(errs, ends("the holder is killed", life), truth("the holder exits by itself", cmd.Wait() != nil))...)
}

func inMessage(c circumstances, confine func()) error {
	p, life := sleeper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	confine()
	err = unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(p.FD()), nil, 0)
	if c.static {
		return errors.Join(truth("a descriptor is sent without a supervisor", err != nil), p.Close(), ends("last close", life))
	}
	return errors.Join(err, p.Close(), lives("a copy is in a message", life), unix.Close(pair[1]), unix.Close(pair[0]), ends("the message is gone", life))
}

// given is the number of what a program is executed with: one that the runtime leaves alone.
const given = 100

// use is a process that was given a descriptor, of what it is not the parent, with the
// rights to signal and wait.
func use() error {
	p := FromFile(os.NewFile(given, "given"))
	_, err := p.PID()
	limited, _, _ := unix.Recvfrom(given, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	errs := []error{check("number", err, capsicum.ErrNotCapable), truth("it is read", limited <= 0), check("kill", p.Kill(syscall.SIGTERM), nil)}
	e, err := p.Wait()
	return errors.Join(append(errs, err, truth("another status", e != nil && e.Status == 15 && e.Rusage.Maxrss > 0))...)
}

// inherited: whoever holds it may use it, by its rights.
func inherited(c circumstances, confine func()) error {
	p := shell("exec sleep 100")
	if c.static || c.mode {
		confine()
		return p.Close() // no limited descriptor gets to other numbers, and nothing is executed
	}
	confine()
	must(unix.Dup3(p.FD(), given, 0))
	must(capsicum.LimitFD(given, rights.Pdkill, rights.Pdwait, rights.Event, rights.Read))
	must(os.Setenv(childEnv, "use/"))
	return syscall.Exec("/proc/self/exe", []string{"use"}, os.Environ())
}

// sent sends a descriptor with fewer rights to a process that has the same supervisor.
func sent(c circumstances, confine func()) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	p := shell("exec sleep 100")
	if c.static { // see inMessage
		confine()
		return p.Close()
	}
	q := FromFile(p.File())
	if c.limited || c.mode {
		n, err := unix.FcntlInt(uintptr(p.FD()), unix.F_DUPFD_CLOEXEC, 0)
		must(err)
		q = FromFile(os.NewFile(uintptr(n), "copy"))
		must(q.Limit(rights.Pdkill, rights.Pdwait, rights.Event, rights.Read))
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=receive/"+c.String())
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "socket")}
	cmd.Stderr = os.Stderr
	must(cmd.Start())
	confine()
	err = unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(q.FD()), nil, 0)
	errs := []error{err, cmd.Wait()}
	_, err = p.Wait()
	return errors.Join(append(errs, check("wait after another", err, syscall.ECHILD))...)
}

func receive() error {
	limited := os.Getenv(childEnv) != "receive/"
	control := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), control, 0)
	must(err)
	messages, err := unix.ParseSocketControlMessage(control[:n])
	must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(err)
	if strings.Contains(os.Getenv(childEnv), "mode") {
		must(capsicum.Enter())
	}
	p := FromFile(os.NewFile(uintptr(fds[0]), "received"))
	_, err = p.PID()
	if limited {
		err = check("number", err, capsicum.ErrNotCapable)
	}
	return errors.Join(err, p.Kill(syscall.SIGTERM), p.hangs(), func() error {
		e, err := p.Wait()
		return errors.Join(err, truth("another status", e != nil && e.Status == 15 && e.Rusage.Maxrss > 0))
	}())
}

func daemon(c circumstances, confine func()) error {
	p, life := sleeper(Daemon)
	q, other := sleeper(Daemon)
	confine()
	errs := []error{p.Close(), lives("closed", life)}
	if !c.static || !c.mode {
		errs = append(errs, check("kill", q.Kill(syscall.SIGKILL), nil), ends("kill", other), q.hangs())
	} else {
		errs = append(errs, check("kill", q.Kill(syscall.SIGKILL), capsicum.ErrCapabilityMode))
	}
	return errors.Join(errs...)
}
