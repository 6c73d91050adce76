package procdesc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/procdesc"
	"github.com/capsicum-go/capsicum/internal/selfcopy"
	"github.com/capsicum-go/capsicum/rights"
)

const childEnv = "CAPSICUM_TEST_PROCDESC"

func TestMain(m *testing.M) {
	if order := os.Getenv(childEnv); order != "" {
		if err := child(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// circumstances are how a child is confined.
type circumstances struct{ limited, static, mode bool }

func (c circumstances) String() string {
	s := ""
	for _, w := range []struct {
		is   bool
		word string
	}{{c.limited, "limited"}, {c.static, "static"}, {c.mode, "mode"}} {
		if w.is {
			s += " " + w.word
		}
	}
	return s
}

// cases are run in processes of their own: each makes ready what it is about, calls
// confine, and returns what is wrong then.
var cases = map[string]func(c circumstances, confine func()) error{
	"status": status, "rusage": rusage, "unseen": unseen, "poll": polled, "kill": killed, "numbers": numbers, "last close": lastClose,
	"holder killed": holderKilled, "in a message": inMessage, "inherited": inherited, "daemon": daemon, "rights": rightsOf,
	"wait sleeps": waitSleeps, "many": many, "group": group, "one waits": oneWaits,
	"sent": sent, "started in the mode": startedInMode,
}

// helpers are orders of processes that cases start.
var helpers = map[string]func() error{"hold": hold, "use": use, "receive": receive, "confined": confined}

func child(order string) error {
	time.AfterFunc(40*time.Second, func() { panic("it hangs") })
	name, rest, _ := strings.Cut(order, "/")
	if h, ok := helpers[name]; ok {
		return h()
	}
	c := circumstances{strings.Contains(rest, "limited"), strings.Contains(rest, "static"), strings.Contains(rest, "mode")}
	return cases[name](c, func() {
		switch {
		case c.static:
			withoutSupervisor()
		case c.limited:
			zero, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			must(err)
			must(capsicum.LimitFD(zero, rights.Read, rights.Event))
		}
		if c.mode {
			must(capsicum.Enter())
		}
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// withoutSupervisor makes the first limit while no descriptor is to be had.
func withoutSupervisor() {
	zero, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	var was unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	next, err := unix.Dup(zero)
	must(err)
	must(unix.Close(next))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max}))
	must(capsicum.LimitFD(zero, rights.Read, rights.Event))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
}

func check(what string, err, want error) error {
	if want == nil && err == nil || want != nil && errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: %v, want %v", what, err, want)
}

func truth(text string, ok bool) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// shell starts a shell that does line.
func shell(line string, flags ...Flags) *Process {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Stderr = os.Stderr
	p, err := Start(cmd, flags...)
	must(err)
	return p
}

// sleeper starts what lives until it is killed. The result tells, by its end, that it
// lives no more.
func sleeper(flags ...Flags) (p *Process, life *os.File) {
	r, w, err := os.Pipe()
	must(err)
	cmd := exec.Command("/bin/sh", "-c", "exec sleep 100")
	cmd.ExtraFiles = []*os.File{w}
	p, err = Start(cmd, flags...)
	must(err)
	must(w.Close())
	return p, r
}

// alive reports whether a sleeper's life goes on for a moment.
func alive(life *os.File) bool {
	must(life.SetReadDeadline(time.Now().Add(60 * time.Millisecond)))
	_, err := life.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// ends says what is wrong if it does not end soon.
func ends(what string, life *os.File) error {
	must(life.SetReadDeadline(time.Now().Add(10 * time.Second)))
	_, err := life.Read(make([]byte, 1))
	return check(what, err, io.EOF)
}

func lives(what string, life *os.File) error { return truth(what+": it has ended", alive(life)) }

func status(c circumstances, confine func()) error {
	type made struct {
		line string
		p    *Process
		want syscall.WaitStatus
	}
	var list []made
	for line, want := range map[string]syscall.WaitStatus{
		"exit 0": 0, "exit 255": 255 << 8, "kill -15 $$": 15, "ulimit -c 0; kill -11 $$": 11, "sleep 0.1; exit 7": 7 << 8,
	} {
		list = append(list, made{line, shell(line), want})
	}
	confine()
	var errs []error
	for _, m := range list {
		e, err := m.p.Wait()
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", m.line, err))
			continue
		}
		pid, err := m.p.PID()
		errs = append(errs, check("number", err, nil), truth(fmt.Sprintf("%q: %#x, %d, want %#x, %d", m.line, e.Status, e.PID, m.want, pid),
			e.Status == m.want && e.PID == pid && e.Success() == (m.want == 0)))
		_, err = m.p.Wait()
		errs = append(errs, check("second wait", err, syscall.ECHILD), check("kill after wait", m.p.Kill(syscall.SIGTERM), syscall.ESRCH),
			m.p.Close())
	}
	return errors.Join(errs...)
}

// rusage compares what is told of a child with what the kernel adds up.
func rusage(c circumstances, confine func()) error {
	var before, after unix.Rusage
	p := shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
	must(unix.Getrusage(unix.RUSAGE_CHILDREN, &before))
	confine()
	e, err := p.Wait()
	if err != nil {
		return err
	}
	own, all := time.Duration(e.Rusage.Utime.Nano()+e.Rusage.Stime.Nano()), time.Duration(0)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && all < own; time.Sleep(time.Millisecond) {
		closed()
		must(unix.Getrusage(unix.RUSAGE_CHILDREN, &after))
		all = time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	}
	return errors.Join(truth(fmt.Sprintf("%v of time is said, %v of children's is added up", own, all), own > 0 && (own-all).Abs() < 10*time.Millisecond),
		truth("no memory is said", e.Rusage.Maxrss > 100 && e.Rusage.Minflt > 10))
}

// unseen: no signal, and no wait for any child.
func unseen(c circumstances, confine func()) error {
	got := make(chan os.Signal, 10)
	signal.Notify(got, syscall.SIGCHLD)
	p, q := shell("exit 3"), shell("exec sleep 100")
	confine()
	must(p.hangs())
	time.Sleep(30 * time.Millisecond)
	_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	errs := []error{check("wait for any child", err, syscall.ECHILD), truth("a signal tells of a child's end", len(got) == 0)}
	must(q.Kill(syscall.SIGKILL))
	must(q.hangs())
	if !c.mode {
		must(exec.Command("/bin/true").Run())
		select {
		case <-got:
		case <-time.After(5 * time.Second):
			errs = append(errs, errors.New("not even another child's end is told"))
		}
	}
	e, err := p.Wait()
	return errors.Join(append(errs, check("wait", err, nil), truth("another status", e != nil && e.Status == 3<<8))...)
}

// poll returns what poll says of everything within a time.
func (p *Process) poll(events int16, milliseconds int) (int16, error) {
	list := []unix.PollFd{{Fd: int32(p.FD()), Events: events}}
	for {
		_, err := unix.Poll(list, milliseconds)
		if err != unix.EINTR {
			return list[0].Revents, err
		}
	}
}

// hangs waits for the end of a process as programs do that wait for many things.
func (p *Process) hangs() error {
	got, err := p.poll(0, 10000)
	return errors.Join(err, truth(fmt.Sprintf("poll says %#x, want %#x", got, unix.POLLHUP), got == unix.POLLHUP))
}

func polled(c circumstances, confine func()) error {
	p, life := sleeper()
	confine()
	before, err := p.poll(unix.POLLIN|unix.POLLPRI, 20)
	var st unix.Stat_t
	errs := []error{err, truth(fmt.Sprintf("poll says %#x before the end", before), before == 0), check("fstat", unix.Fstat(p.FD(), &st), nil),
		p.Kill(syscall.SIGKILL), ends("kill", life), p.hangs(), p.hangs()}
	_, err = p.Wait()
	return errors.Join(append(errs, err, p.hangs(), check("fstat", unix.Fstat(p.FD(), &st), nil))...)
}

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
		errs = append(errs, check(what+": number", err, syscall.EBADF), check(what+": kill", p.Kill(0), syscall.EBADF),
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

// use is a process that was given a descriptor, of what it is not the parent, with the
// rights to signal and wait.
func use() error {
	p := FromFile(os.NewFile(3, "given"))
	_, err := p.PID()
	limited, _, _ := unix.Recvfrom(3, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
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
	must(unix.Dup3(p.FD(), 3, 0))
	must(capsicum.LimitFD(3, rights.Pdkill, rights.Pdwait, rights.Event, rights.Read))
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

// rightsOf tries each operation with each right alone, and with all but its own.
func rightsOf(c circumstances, confine func()) error {
	confining := c
	confining.mode = false // then Start still works
	operations := map[rights.Right]func(*Process) error{
		rights.Pdgetpid: func(p *Process) error { _, err := p.PID(); return err },
		rights.Pdkill:   func(p *Process) error { return p.Kill(0) },
		rights.Pdwait:   func(p *Process) error { _, err := p.Exited(); return err },
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

func waitSleeps(c circumstances, confine func()) error {
	r, w, err := os.Pipe()
	must(err)
	cmd := exec.Command("/bin/sh", "-c", "read x; exit 4")
	cmd.Stdin = r
	p, err := Start(cmd)
	must(err)
	confine()
	e, err := p.Exited()
	if err != nil || e != nil {
		return fmt.Errorf("exited: %v, %v", e, err)
	}
	done := make(chan error)
	go func() {
		e, err := p.Wait()
		done <- errors.Join(err, truth("another status", e != nil && e.Status == 4<<8))
	}()
	select {
	case err := <-done:
		return fmt.Errorf("it does not wait: %w", err)
	case <-time.After(50 * time.Millisecond):
	}
	_, err = w.Write([]byte("\n"))
	return errors.Join(err, <-done)
}

func oneWaits(c circumstances, confine func()) error {
	p := shell("sleep 0.05; exit 4")
	confine()
	results := make(chan error)
	for range 8 {
		go func() { _, err := p.Wait(); results <- err }()
	}
	got := 0
	var errs []error
	for range 8 {
		if err := <-results; err == nil {
			got++
		} else {
			errs = append(errs, check("wait", err, syscall.ECHILD))
		}
	}
	return errors.Join(append(errs, truth(fmt.Sprintf("%d get the status", got), got == 1))...)
}

// many has hundreds of children at once.
func many(c circumstances, confine func()) error {
	n := 1000
	if c.limited || c.static || c.mode {
		n = 100
	}
	var list []*Process
	pids := map[int]bool{}
	for i := range n {
		p := shell(fmt.Sprintf("read x; exit %d", i%200))
		pid, err := p.PID()
		must(err)
		pids[pid] = true
		list = append(list, p)
	}
	confine()
	var errs []error
	for i, p := range list {
		e, err := p.Wait()
		errs = append(errs, err, truth("another's status", e != nil && e.Status == syscall.WaitStatus(i%200)<<8), p.Close())
	}
	return errors.Join(append(errs, truth("numbers are given twice", len(pids) == n))...)
}

// group: a signal to the process group, as from the terminal, does not end what waits.
func group(c circumstances, confine func()) error {
	must(unix.Setpgid(0, 0))
	signal.Ignore(syscall.SIGTERM)
	p := shell("sleep 0.2; exit 6")
	if !c.mode {
		confine()
	}
	must(unix.Kill(0, syscall.SIGTERM))
	if c.mode {
		confine()
	}
	e, err := p.Wait()
	return errors.Join(err, truth("another status", e != nil && (e.Status == 6<<8 || e.Status == 15)))
}

// TestConfined runs each case without confinement and in every kind, as whoever runs the
// test and as an ordinary user.
func TestConfined(t *testing.T) {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	self := selfcopy.Make(t)
	for name := range cases {
		for _, c := range []circumstances{{}, {limited: true}, {mode: true}, {static: true}, {static: true, mode: true}} {
			for who, cred := range users {
				t.Run(name+c.String()+"/"+who, func(t *testing.T) {
					t.Parallel()
					cmd := exec.Command(self)
					cmd.Env = append(os.Environ(), childEnv+"="+name+"/"+c.String())
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
					cmd.WaitDelay = 5 * time.Second
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
		}
	}
}

// descriptors lists a process's.
func descriptors(t *testing.T, pid int) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

func field(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("no %s", name)
	return ""
}

// TestHelper: a child's parent is nothing but that.
func TestHelper(t *testing.T) {
	before := descriptors(t, os.Getpid())
	p := shell("exec sleep 100")
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("/bin/sleep", "100")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	// The loader opens others for a moment.
	got, want := descriptors(t, pid), descriptors(t, other.Process.Pid)
	for deadline := time.Now().Add(5 * time.Second); !slices.Equal(got, want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got, want = descriptors(t, pid), descriptors(t, other.Process.Pid)
	}
	if !slices.Equal(got, want) {
		t.Errorf("child has descriptors %v, that of another package %v", got, want)
	}
	if err := errors.Join(other.Process.Kill(), truth("it was not killed", other.Wait() != nil)); err != nil {
		t.Error(err)
	}
	helper, err := strconv.Atoi(field(t, pid, "PPid"))
	if err != nil {
		t.Fatal(err)
	}
	if got := field(t, helper, "PPid"); got != strconv.Itoa(os.Getpid()) {
		t.Errorf("the helper's parent is %s, want %d", got, os.Getpid())
	}
	procdesc.Settle() // as what confines this process does
	if got = descriptors(t, helper); !slices.Equal(got, []string{"0"}) {
		t.Errorf("helper has descriptors %v", got)
	}
	if got := field(t, helper, "Seccomp"); got != "2" {
		t.Errorf("the helper's filter is %s", got)
	}
	if now := descriptors(t, os.Getpid()); len(now) != len(before)+1 {
		t.Errorf("descriptors %v, before %v", now, before)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); unix.Kill(helper, 0) == nil; time.Sleep(time.Millisecond) {
		if closed(); time.Now().After(deadline) {
			t.Fatal("the helper stays")
		}
	}
	if now := descriptors(t, os.Getpid()); len(now) != len(before) {
		t.Errorf("descriptors %v, before %v", now, before)
	}
}

// TestHelperKilled: whoever kills the helper kills the child.
func TestHelperKilled(t *testing.T) {
	p, life := sleeper()
	defer p.Close()
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	helper, err := strconv.Atoi(field(t, pid, "PPid"))
	if err == nil {
		err = unix.Kill(helper, unix.SIGKILL)
	}
	if err := errors.Join(err, ends("the helper is killed", life)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("wait: %v, want %v", err, syscall.ECHILD)
	}
}

func TestRefused(t *testing.T) {
	before := descriptors(t, os.Getpid())
	with := func(change func(*exec.Cmd)) *exec.Cmd {
		cmd := exec.Command("/bin/true")
		change(cmd)
		return cmd
	}
	for what, c := range map[string]struct {
		cmd  *exec.Cmd
		want error
	}{
		"nothing there":    {exec.Command("/nonexistent"), syscall.ENOENT},
		"no such name":     {exec.Command("no-such-program"), exec.ErrNotFound},
		"no program":       {exec.Command("/dev/null"), syscall.EACCES},
		"no directory":     {with(func(c *exec.Cmd) { c.Dir = "/nonexistent" }), syscall.ENOENT},
		"a reader":         {with(func(c *exec.Cmd) { c.Stdin = strings.NewReader("") }), ErrNotSupported},
		"another root":     {with(func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Chroot: "/"} }), ErrNotSupported},
		"a missing file":   {with(func(c *exec.Cmd) { c.ExtraFiles = []*os.File{nil} }), os.ErrInvalid},
		"somebody's group": {with(func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: 1} }), syscall.EPERM},
	} {
		if p, err := Start(c.cmd); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", what, p, err, c.want)
		}
	}
	if _, err := Start(exec.Command("/bin/true"), 2); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("unknown flag: %v", err)
	}
	if now := descriptors(t, os.Getpid()); len(now) != len(before) {
		t.Errorf("descriptors %v, before %v", now, before)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("wait: %v, want %v", err, syscall.ECHILD)
	}
}

// TestCommand: what a command says is what the child is.
func TestCommand(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	extra, err := os.Open("/etc/hostname")
	if err != nil {
		extra, err = os.Open("/etc/passwd")
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `pwd; echo "$0 $X"; cat <&0 | wc -c; ls -L /proc/self/fd/3 /proc/self/fd/4; ps -o pgid= -p $$`, "name")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.ExtraFiles = "/usr", []string{"X=yes", "PATH=/usr/bin:/bin"}, w, []*os.File{extra, w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 1500, Gid: 1500, Groups: []uint32{7}}
	}
	p, err := Start(cmd)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if got := field(t, pid, "Uid") + " " + field(t, pid, "Groups"); got != "1500\t1500\t1500\t1500 7" {
			t.Errorf("user and groups %q", got)
		}
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("/usr\nname yes\n0\n/proc/self/fd/3\n/proc/self/fd/4\n%d", pid); strings.Join(strings.Fields(string(out)), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("child says %q, want %q", out, want)
	}
	if e, err := p.Wait(); err != nil || !e.Success() {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestNumbersGivenOutAgain gives a child's number to another process, and signals the
// child.
func TestNumbersGivenOutAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chooses a process number")
	}
	p := shell("exit 0")
	defer p.Close()
	pid, err := p.PID()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatal(err)
		}
		other := exec.Command("/bin/sleep", "100")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		if other.Process.Pid == pid {
			if err := p.Kill(syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("kill: %v, want %v", err, syscall.ESRCH)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
			if err := errors.Join(unix.Kill(pid, 0), other.Process.Kill()); err != nil {
				t.Errorf("the other process: %v", err)
			}
			if err := other.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("the other process: %v", err)
			}
			return
		}
		_ = other.Process.Kill()
		_ = other.Wait()
	}
	t.Error("no process got the number")
}
