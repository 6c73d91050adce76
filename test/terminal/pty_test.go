package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a terminal may keep silent before a test fails.
const patience = time.Minute

// prompt is the shell's. What is typed before it appears may be thrown away: a
// program that puts the terminal back as it was drops what it did not read.
const prompt = "=> "

// terminal is a pseudo terminal with a shell on it.
type terminal struct {
	t      *testing.T
	master *os.File
	shell  *exec.Cmd

	mu    sync.Mutex
	text  bytes.Buffer  // everything that was printed
	seen  int           // what expect went past
	grown chan struct{} // has an element after text grew
	ended bool
}

// open makes a pseudo terminal of 24 lines and 80 columns that uid owns.
func open(uid int) (master, slave *os.File, err error) {
	// Not blocking, so that Close ends a Read that waits.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	if err == nil {
		slave, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil && os.Getuid() == 0 {
		err = slave.Chown(uid, -1)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}

// start starts an interactive bash whose capsicum is col's.
func start(t *testing.T, col column) *terminal {
	t.Helper()
	master, slave, err := open(col.uid)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &terminal{t: t, master: master, grown: make(chan struct{}, 1)}
	term.shell = exec.Command("/bin/bash", "--norc", "--noprofile", "--noediting", "-i")
	term.shell.Dir = col.dir
	term.shell.Env = []string{"PATH=" + col.bin + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + col.dir, "TERM=xterm", "LC_ALL=C.UTF-8", "SHELL=/bin/sh",
		"PS1=", "E=--engine=" + col.engine, "GOTRACEBACK=all"}
	term.shell.Stdin, term.shell.Stdout, term.shell.Stderr = slave, slave, slave
	term.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if os.Getuid() == 0 && col.uid != 0 {
		term.shell.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(col.uid), Gid: uint32(col.uid)}
	}
	if err := term.shell.Start(); err != nil {
		t.Fatal(err)
	}
	go term.read()
	t.Cleanup(term.close)
	term.send("stty -echo; PS1='" + prompt + "'\n")
	term.expect(prompt)
	return term
}

func (term *terminal) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.text.Write(buf[:n])
		term.ended = err != nil
		term.mu.Unlock()
		select {
		case term.grown <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// close ends the shell and whatever it left. Nothing outlives a test.
func (term *terminal) close() {
	term.shell.Process.Kill()
	term.master.Close()
	term.shell.Wait()
	if term.t.Failed() {
		term.mu.Lock()
		defer term.mu.Unlock()
		term.t.Logf("the terminal shows:\n%s", term.text.String())
	}
}

// send types text.
func (term *terminal) send(text string) {
	term.t.Helper()
	if _, err := io.WriteString(term.master, text); err != nil {
		term.t.Fatalf("type %q: %v", text, err)
	}
}

// run types a command and waits for what it prints.
func (term *terminal) run(command, pattern string) []string {
	term.t.Helper()
	term.send(command + "\n")
	return term.expect(pattern)
}

// status waits for the prompt and wants the status of the command before it.
func (term *terminal) status(want int) {
	term.t.Helper()
	term.expect(prompt)
	if got := term.run("echo status=$?", `status=(\d+)\r\n`)[1]; got != fmt.Sprint(want) {
		term.t.Fatalf("status %s, want %d", got, want)
	}
	term.expect(prompt)
}

// expect waits until what was printed since the last time matches, and returns
// the groups of the match.
func (term *terminal) expect(pattern string) []string {
	term.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for {
		term.mu.Lock()
		text, ended := term.text.String()[term.seen:], term.ended
		if m := re.FindStringSubmatchIndex(text); m != nil {
			term.seen += m[1]
			term.mu.Unlock()
			var groups []string
			for i := 0; i < len(m); i += 2 {
				groups = append(groups, text[max(m[i], 0):max(m[i+1], 0)])
			}
			return groups
		}
		term.mu.Unlock()
		if ended {
			term.t.Fatalf("the terminal ended without %q", pattern)
		}
		select {
		case <-term.grown:
		case <-late:
			term.t.Fatalf("no %q after %v in %q", pattern, patience, text)
		}
	}
}

// resize changes the size of the terminal.
func (term *terminal) resize(rows, cols uint16) {
	term.t.Helper()
	term.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// group is the terminal's foreground process group.
func (term *terminal) group() (id int) {
	term.t.Helper()
	term.control(func(fd int) (err error) {
		id, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return id
}

// control does something with the descriptor of the terminal's other end.
func (term *terminal) control(do func(fd int) error) {
	term.t.Helper()
	conn, err := term.master.SyscallConn()
	if err != nil {
		term.t.Fatal(err)
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	if err := errors.Join(err, failed); err != nil {
		term.t.Fatal(err)
	}
}

// processes returns the state letters of the processes whose arguments contain
// word, capsicum's own not among them.
func processes(t *testing.T, word string) (states []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		args, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !bytes.Contains(args, []byte(word)) || bytes.HasPrefix(args, []byte("capsicum")) {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// The name may contain anything, so count from its end.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		states = append(states, fields[0])
	}
	return states
}

// eventually wants cond to hold before long.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("%s: not after %v", what, patience)
}
