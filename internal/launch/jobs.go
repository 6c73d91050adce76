package launch

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// passedOn are the signals that somebody sends to the command and means for the
// program.
var passedOn = []unix.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGALRM, unix.SIGWINCH, unix.SIGIO, unix.SIGPWR,
	unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
}

// fromTerminal are those that a terminal sends to its whole foreground process
// group, so that the program already has them.
var fromTerminal = []unix.Signal{
	unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
}

// receive returns the pipe in which the signals that are passed on arrive. HUP and
// INT stay ignored, here and in the program, if the caller had us ignore them; of the
// others the Go runtime has forgotten it before anything of ours runs.
var receive = sync.OnceValues(func() (*sys.FD, error) { return sys.PipeSignals(passedOn) })

// settle is how long after being continued what happened before may still come
// in: a report of the program, a signal that was queued.
const settle = 100 * time.Millisecond

// forward passes on to the program what has arrived.
func (f *front) forward() {
	var word [4]byte
	for {
		n, err := unix.Read(f.signals.Int(), word[:])
		if err == unix.EINTR {
			continue
		}
		if n != len(word) {
			return
		}
		f.pass(unix.Signal(binary.NativeEndian.Uint32(word[:])))
	}
}

// pass passes sig on to the program. A terminal's signal has reached it on its
// own: sent twice, one Ctrl-C would count as two. One that was queued when we
// stopped may only be seen now, in the background, and would stop the program
// that was just continued.
func (f *front) pass(sig unix.Signal) {
	if slices.Contains(fromTerminal, sig) && (time.Since(f.resumed) < settle || inForeground()) {
		return
	}
	if f.program != nil {
		_ = unix.PidfdSendSignal(f.program.Int(), sig, nil, 0) // gone: its end is on the way
		return
	}
	if slices.Contains([]unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT}, sig) {
		_ = unix.Kill(f.children.initPID, unix.SIGKILL)
	}
}

// inForeground reports whether our process group is the terminal's foreground
// one, which the program is in, too.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// stop stops this process as the program was stopped, so that the shell sees
// its job stop, and only then: a program that handles Ctrl-Z itself runs on, and
// so do we. The report may be old: the program may be running again.
func (f *front) stop(sig unix.Signal) {
	f.stops++
	f.stopped = true
	if processState(f.pid) != 'T' {
		return
	}
	_ = sys.StopBy(sig) // there is nothing else to do for a shell that waits
	f.resumed = time.Now()
	f.nudge, f.nudged = f.resumed.Add(settle), f.stops
}

// patience is for how many milliseconds there is nothing to do, -1 for ever.
func (f *front) patience() int {
	if f.nudge.IsZero() {
		return -1
	}
	return max(0, int(time.Until(f.nudge).Milliseconds())+1)
}

// wake continues the program if nobody else has: a shell continues the whole
// process group, but somebody may have meant this process alone. To pass each
// SIGCONT on would undo the next Ctrl-Z when that comes soon.
func (f *front) wake() {
	f.nudge = time.Time{}
	if f.stopped && f.stops == f.nudged && f.program != nil && processState(f.pid) == 'T' {
		_ = unix.PidfdSendSignal(f.program.Int(), unix.SIGCONT, nil, 0)
	}
}

// processState returns the state letter of a process, 0 when there is none.
func processState(pid int) byte {
	b, err := sys.ReadFileAt(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	if fields := sys.StatFields(b); len(fields) > 0 {
		return fields[0][0]
	}
	return 0
}

// pidOf returns the number, in our pid namespace, of the process behind pidfd.
func pidOf(pidfd *sys.FD) int {
	if pidfd == nil {
		return 0
	}
	b, err := sys.ReadFileAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Int()))
	if err != nil {
		return 0
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(v))
			if err == nil {
				return pid
			}
		}
	}
	return 0
}

// letGo closes our hold on what the program inherited: whoever reads its output
// must see the end when the program closes it, and not when we exit. Standard
// error stays: it is where a lost sandbox is reported.
func letGo(fds []inherited) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(null)
	for _, in := range fds {
		switch {
		case in.Num < 2:
			_ = unix.Dup3(null, in.Num, 0)
		case in.Num > 2:
			_ = unix.Close(in.Num)
		}
	}
}

// Terminal returns the name of the terminal behind one of 0, 1 and 2, "" when
// there is none or it has no name here.
func Terminal() string {
	for num := range 3 {
		if _, err := unix.IoctlGetTermios(num, unix.TCGETS); err != nil {
			continue
		}
		var held, named unix.Stat_t
		name, err := os.Readlink(sys.FDName(num))
		if err == nil && unix.Fstat(num, &held) == nil && unix.Stat(name, &named) == nil && held.Rdev == named.Rdev && held.Ino == named.Ino {
			return name
		}
	}
	return ""
}
