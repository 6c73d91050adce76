package procdesc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

func killed(c circumstances, confine func()) error {
	r, w, err := os.Pipe()
	must(err)
	cmd := exec.Command("/bin/sh", "-c", "trap 'exit 5' USR1; echo; while :; do sleep 0.01; done")
	cmd.Stdout = w
	p, err := Start(cmd)
	must(err)
	_, err = r.Read(make([]byte, 1)) // it has its handler
	must(err)
	confine()
	pid, err := p.PID()
	must(err)
	errs := []error{check("signal 0", p.Kill(0), c.signals(nil)), check("no signal", p.Kill(65), syscall.EINVAL), check("no signal", p.Kill(-1), syscall.EINVAL)}
	if c.mode {
		errs = append(errs, check("kill by number", unix.Kill(pid, 0), capsicum.ErrCapabilityMode))
	}
	if c.static && c.mode {
		return errors.Join(append(errs, check("the one signal that needs nothing", p.Kill(syscall.SIGKILL), nil), p.hangs())...)
	}
	errs = append(errs, check("signal", p.Kill(syscall.SIGUSR1), nil), p.hangs(), check("signal to what has exited", p.Kill(syscall.SIGTERM), nil))
	e, err := p.Wait()
	return errors.Join(append(errs, err, truth("it did not get the signal", e != nil && e.Status == 5<<8))...)
}

// signals is what sending a signal must come to: without a supervisor, in capability
// mode, no process is signalled but with SIGKILL.
func (c circumstances) signals(want error) error {
	if c.static && c.mode {
		return capsicum.ErrCapabilityMode
	}
	return want
}

// numbers: what is no process descriptor.
func numbers(c circumstances, confine func()) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	_, err = unix.Write(pair[1], make([]byte, 1000))
	must(err)
	f, err := os.Open("/dev/null")
	must(err)
	mine, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	closed, err := os.Open("/dev/null")
	must(err)
	must(closed.Close())
	confine()
	var errs []error
	for what, p := range map[string]*Process{"a socket": FromFile(os.NewFile(uintptr(pair[0]), "")), "a file": FromFile(f)} {
		_, err := p.PID()
		_, werr := p.Exited()
		_, aerr := p.Alive()
		errs = append(errs, check(what+": alive", aerr, syscall.EBADF), check(what+": number", err, syscall.EBADF), check(what+": kill", p.Kill(0), syscall.EBADF),
			check(what+": wait", werr, syscall.EBADF))
	}
	errs = append(errs, check("closed", FromFile(closed).Kill(0), os.ErrClosed))
	// In capability mode no socket becomes one: it would be the power to kill who made it.
	if err := unix.SetsockoptInt(mine[0], unix.SOL_SOCKET, unix.SO_RCVLOWAT, 0x7064); c.mode {
		_, perr := FromFile(os.NewFile(uintptr(mine[0]), "")).PID()
		errs = append(errs, check("mark a socket", err, capsicum.ErrCapabilityMode), check("its number", perr, syscall.EBADF))
	}
	n, err := unix.Read(pair[0], make([]byte, 2000))
	return errors.Join(append(errs, truth("data of a socket is taken", n == 1000 && err == nil))...)
}

// startedInMode has a child in capability mode: the program itself once more.
func startedInMode(c circumstances, confine func()) error {
	self, err := Self()
	must(err)
	start := func(order string) (*Process, error) {
		cmd := exec.Command("this")
		cmd.Env = append(os.Environ(), childEnv+"="+order)
		cmd.Stderr = os.Stderr
		return StartFile(self, cmd)
	}
	confine()
	if !c.static {
		// Not by its name, in the mode.
		_, err = Start(exec.Command("/bin/true"))
		err = truth("/bin/true", err == nil == !c.mode)
	}
	p, serr := start("confined/" + c.String())
	if c.static {
		return truth("started without a supervisor", serr != nil)
	}
	if serr != nil {
		return serr
	}
	e, werr := p.Wait()
	q, serr := start("hold/")
	if serr != nil {
		return serr
	}
	errs := []error{err, werr, truth("the child", e != nil && e.Success()), q.Kill(syscall.SIGTERM)}
	e, werr = q.Wait()
	return errors.Join(append(errs, werr, truth("another status", e != nil && e.Status == 15))...)
}

func confined() error {
	_, err := os.Open("/etc/passwd")
	if !strings.Contains(os.Getenv(childEnv), "mode") {
		return check("open", err, nil)
	}
	return errors.Join(check("open", err, capsicum.ErrCapabilityMode), truth("not in capability mode", capsicum.Sandboxed()))
}

// rightsOf tries each operation with each right alone, and with all but its own.
func rightsOf(c circumstances, confine func()) error {
	confining := c
	confining.mode = false // then Start still works
	operations := map[rights.Right]func(*Process) error{
		rights.Pdgetpid: func(p *Process) error { _, err := p.PID(); return err },
		rights.Pdkill:   func(p *Process) error { return p.Kill(0) },
		rights.Pdwait:   func(p *Process) error { _, err := p.Exited(); return err },
		rights.Fstat: func(p *Process) error {
			alive, err := p.Alive()
			return errors.Join(err, truth("it is dead", alive || err != nil))
		},
	}
	type made struct {
		p    *Process
		has  rights.Set
		text string
	}
	var list []made
	for r := range operations {
		list = append(list, made{p: shell("exec sleep 100"), has: rights.Of(r), text: "alone"})
		list = append(list, made{p: shell("exec sleep 100"), has: rights.All().Minus(rights.Of(r)), text: "all but it"})
	}
	confine()
	var errs []error
	for _, m := range list {
		must(capsicum.LimitSet(m.p, m.has))
		left, err := capsicum.Rights(m.p)
		errs = append(errs, err, truth("it can be read", !left.IsSet(rights.Read) && !left.IsSet(rights.Getsockopt)))
		for r, do := range operations {
			err := do(m.p)
			what := fmt.Sprintf("%v with %s", r, m.text)
			switch {
			case !m.has.IsSet(r):
				errs = append(errs, truth(fmt.Sprintf("%s: %v", what, err), err != nil))
				if !c.static {
					errs = append(errs, check(what, err, capsicum.ErrNotCapable))
				}
			case !c.static:
				errs = append(errs, check(what, err, nil))
			}
		}
		// What the socket has a use for, that it is.
		_, rerr := unix.GetsockoptInt(m.p.FD(), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		_, _, _, _, merr := unix.Recvmsg(m.p.FD(), make([]byte, 1), nil, unix.MSG_DONTWAIT)
		errs = append(errs, truth("it gives its process", rerr != nil), truth("it is read", merr != nil && merr != unix.EAGAIN),
			truth("it is shut down", unix.Shutdown(m.p.FD(), unix.SHUT_WR) != nil), m.p.Close())
	}
	return errors.Join(errs...)
}
