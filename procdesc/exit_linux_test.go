package procdesc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

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

// ignoring: who ignores SIGCHLD gets the status too, and what it starts ignores what os/exec would have it ignore.
func ignoring(c circumstances, confine func()) error {
	signal.Ignore(syscall.SIGCHLD)
	p, killed := shell("exit 7"), shell("kill -15 $$")
	r, w, err := os.Pipe()
	must(err)
	cmd := exec.Command("/bin/grep", "SigIgn", "/proc/self/status")
	cmd.Stdout = w
	q, err := Start(cmd)
	must(err)
	must(w.Close())
	got, err := io.ReadAll(r)
	must(err)
	want, _ := exec.Command("/bin/grep", "SigIgn", "/proc/self/status").Output() // whose status is lost
	confine()
	errs := []error{truth(fmt.Sprintf("a child says %q, that of another package %q", got, want), len(want) > 0 && string(got) == string(want))}
	for _, m := range []struct {
		p    *Process
		want syscall.WaitStatus
	}{{p, 7 << 8}, {killed, 15}, {q, 0}} {
		e, err := m.p.Wait()
		errs = append(errs, check("wait", err, nil), truth(fmt.Sprintf("%+v, want %#x", e, m.want), e != nil && e.Status == m.want))
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
	// What is added up has the helper's own in it, which an emulated machine makes much of.
	return errors.Join(truth(fmt.Sprintf("%v of time is said, %v of children's is added up", own, all), own > 0 && (own-all).Abs() < 10*time.Millisecond+own/20),
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
		case <-time.After(time.Minute):
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

func (p *Process) living(want bool) error {
	alive, err := p.Alive()
	return errors.Join(err, truth(fmt.Sprintf("alive: %v", alive), alive == want))
}

func polled(c circumstances, confine func()) error {
	began := time.Now()
	p, life := sleeper()
	confine()
	before, err := p.poll(unix.POLLIN|unix.POLLPRI, 20)
	var st unix.Stat_t
	errs := []error{err, truth(fmt.Sprintf("poll says %#x before the end", before), before == 0), p.living(true),
		check("fstat", unix.Fstat(p.FD(), &st), nil)}
	// The clock of files is behind by a tick.
	start := time.Unix(st.Mtim.Unix())
	errs = append(errs, truth(fmt.Sprintf("fstat says mode %o, %v after the start", st.Mode, start.Sub(began)), st.Mode == unix.S_IFSOCK|0o700 &&
		start.Sub(began).Abs() < time.Second), p.Kill(syscall.SIGKILL), ends("kill", life), p.hangs(), p.hangs(), p.living(false))
	_, err = p.Wait()
	return errors.Join(append(errs, err, p.hangs(), p.living(false), check("fstat", unix.Fstat(p.FD(), &st), nil))...)
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
