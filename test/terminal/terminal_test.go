package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/cli"
	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/probe"
)

// userID is the ordinary user; no such account needs to exist.
const userID = 1500

// column is one way to run every test.
type column struct {
	engine string // "plain" for without us
	uid    int
	dir    string // belongs to uid
	bin    string // holds capsicum
}

func TestMain(m *testing.M) {
	launch.Stage()
	probe.Stage()
	if filepath.Base(os.Args[0]) == "capsicum" {
		os.Exit(cli.Main(os.Args[1:], cli.Std()))
	}
	os.Exit(m.Run())
}

// everywhere runs a test in every column: root and an ordinary user, both
// engines, and without us, which shows that the test is right.
func everywhere(t *testing.T, test func(*testing.T, column)) {
	report := probe.Run()
	users := []int{os.Getuid()}
	if os.Getuid() == 0 {
		users = append(users, userID)
	}
	for _, e := range []struct {
		engine string
		need   probe.Need
	}{{"plain", ""}, {"namespaces", probe.NeedNamespaces}, {"landlock", probe.NeedLandlock}} {
		for _, uid := range users {
			who := map[bool]string{true: "root", false: "user"}[uid == 0]
			t.Run(e.engine+"/"+who, func(t *testing.T) {
				if e.need != "" {
					if missing := report.Missing(e.need); len(missing) > 0 {
						t.Skipf("this machine has no %s (%s)", missing[0].Name, missing[0].Errno)
					}
				}
				t.Parallel()
				test(t, place(t, e.engine, uid))
			})
		}
	}
}

// place makes a directory of the column's user, and a capsicum that the user
// can execute.
func place(t *testing.T, engine string, uid int) column {
	t.Helper()
	top, err := os.MkdirTemp("/tmp", "capsicum-terminal-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	c := column{engine: engine, uid: uid, dir: filepath.Join(top, "dir"), bin: filepath.Join(top, "bin")}
	for _, dir := range []string{c.dir, c.bin} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(c.dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	capsicum := filepath.Join(c.bin, "capsicum")
	if engine == "plain" {
		// Drops our flags and runs the rest.
		script := "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n"
		if err := exetest.WriteFile(capsicum, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := exetest.WriteSelf(capsicum, 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

var marks atomic.Int64

// mark is a word no other process has among its arguments.
func mark() string { return fmt.Sprintf("capsicum-mark-%d-%d", os.Getpid(), marks.Add(1)) }

// A program that forks all the time is no good here: a child that is stopped
// between vfork and exec holds its parent, and the shell sees no stopped job,
// without us as well.
const idle = "select(undef, undef, undef, 0.05) while 1"

// loop is a program that says it is ready and goes on until it is told to stop.
func loop(word string) string {
	return "capsicum $E --system -- perl -e '$| = 1; $SIG{CONT} = sub { print qq(con) . qq(tinued\n) }; print qq(rea) . qq(dy\n); " + idle + "' " + word
}

func TestInterrupt(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term, word := start(t, c), mark()
		term.run(loop(word), "ready\r\n")
		term.send("\x03")
		term.status(130)
		eventually(t, "nothing left", func() bool { return len(processes(t, word)) == 0 })
		term.run(loop(word), "ready\r\n")
		term.send("\x1c")
		term.status(131)
		eventually(t, "nothing left", func() bool { return len(processes(t, word)) == 0 })
	})
}

// TestInterruptHandled is a program that handles Ctrl-C and goes on.
func TestInterruptHandled(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term := start(t, c)
		term.run("capsicum $E --system -- perl -e '$| = 1; $SIG{INT} = sub { print qq(cau) . qq(ght\n); exit 7 }; print qq(rea) . qq(dy\n); "+idle+"'", "ready\r\n")
		term.send("\x03")
		term.expect("caught\r\n")
		term.status(7)
	})
}

func TestStopAndContinue(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term, word := start(t, c), mark()
		term.run(loop(word), "ready\r\n")
		for range 3 {
			term.stop()
			eventually(t, "all stopped", func() bool {
				states := processes(t, word)
				return len(states) > 0 && !slices.ContainsFunc(states, func(s string) bool { return s != "T" })
			})
			term.run("jobs", "Stopped")
			term.expect(prompt)
			term.run("fg", "continued\r\n")
		}
		term.stop()
		term.run("bg", "continued\r\n")
		term.send("kill %1; wait %1\n")
		term.status(143)
		eventually(t, "nothing left", func() bool { return len(processes(t, word)) == 0 })
	})
}

// TestContinuedAlone continues the process that the shell knows, and no group.
func TestContinuedAlone(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term, word := start(t, c), mark()
		term.run(loop(word), "ready\r\n")
		for range 2 {
			term.stop()
			term.run("kill -CONT $(jobs -p)", "continued\r\n")
			term.run("fg", word)
			eventually(t, "in the foreground", func() bool { return term.group() != term.shell.Process.Pid })
		}
		term.send("\x03")
		term.status(130)
	})
}

// TestBackgroundReads is a background job that reads the terminal: it stops,
// and goes on in the foreground.
func TestBackgroundReads(t *testing.T) {
	everywhere(t, func(t *testing.T, c column) {
		term := start(t, c)
		term.send("capsicum $E -- cat &\n")
		eventually(t, "stopped for input", func() bool {
			term.expect(prompt)
			term.send("jobs\n")
			return strings.Contains(term.all(), "Stopped")
		})
		term.expect(prompt)
		term.run("fg", "cat\r\n")
		term.run("typed by hand", "typed by hand\r\n")
		term.send("\x04")
		term.status(0)
	})
}

func TestResize(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term := start(t, c)
		term.run("capsicum $E --system -- perl -e '$| = 1; $SIG{WINCH} = sub { ioctl(STDIN, 0x5413, my $w = pack(qq(S4))); printf(qq(%d by %d\n), unpack(qq(S4), $w)) }; $SIG{WINCH}->(); print qq(rea) . qq(dy\n); "+idle+"'", "24 by 80\r\nready\r\n")
		term.resize(41, 101)
		term.expect("41 by 101\r\n")
		term.send("\x03")
		term.status(130)
	})
}

// TestPipelines are pipelines whose last program has the terminal.
func TestPipelines(t *testing.T) {
	need(t, "less")
	everywhere(t, func(t *testing.T, c column) {
		term := start(t, c)
		for _, command := range []string{
			"capsicum $E --system -- seq 1 100000 | less",
			"seq 1 100000 | capsicum $E --system -- less",
			"capsicum $E --system -- sh -c 'seq 1 100000 | less'",
			"capsicum $E --system -- seq 1 100000 | capsicum $E -- cat | capsicum $E --system -- less",
		} {
			term.run(command, `\n22\r\n23\r\n`)
			term.send("G")
			term.expect("100000")
			term.send("q")
			term.status(0)
		}
		// Stopped and continued as one. less notices Ctrl-Z only when it waits for
		// a key, so it has to answer one first.
		term.run("capsicum $E --system -- seq 1 100000 | capsicum $E --system -- less", `\n23\r\n`)
		term.run("", `24\r\n:`)
		time.Sleep(time.Second)
		term.stop()
		term.send("fg\n")
		term.expect(`24\r\n:`)
		term.send("q")
		term.status(0)
	})
}

func TestEditor(t *testing.T) {
	need(t, "vi")
	everywhere(t, func(t *testing.T, c column) {
		term := start(t, c)
		term.send("mkdir edited; capsicum $E --system --rw edited -- vi -u NONE -n -c 'set nocp' edited/file\n")
		term.expect(`\[New(?: File)?\]`)
		term.send("\x0c")
		term.expect(`~`)
		term.send("ihello from vi\x1b")
		term.expect("hello from vi")
		term.stop()
		term.send("fg\n")
		term.expect("hello from vi")
		term.send(":wq\r")
		term.status(0)
		content, err := os.ReadFile(filepath.Join(c.dir, "edited", "file"))
		if err != nil || string(content) != "hello from vi\n" {
			t.Fatalf("edited file: %q, %v", content, err)
		}
	})
}

// TestShellInside is job control of a shell that is itself confined.
func TestShellInside(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term, word := start(t, c), mark()
		term.send("PS1='" + prompt + "' capsicum $E --system --env PS1 -- bash --norc --noprofile --noediting -i\n")
		term.expect(prompt)
		inside := "perl -e '$| = 1; print qq(rea) . qq(dy\n); " + idle + "' " + word
		if strings.Contains(term.all(), "no job control") {
			t.Fatal("the confined shell has no job control")
		}
		term.run(inside, "ready\r\n")
		term.stop()
		term.run("jobs", "Stopped")
		term.expect(prompt)
		term.send("fg\n")
		eventually(t, "running again", func() bool {
			return slices.ContainsFunc(processes(t, word), func(s string) bool { return s != "T" })
		})
		term.send("\x03")
		term.status(130)
		term.send("sleep 0.1 & wait\n")
		term.status(0)
		term.send("exit 5\n")
		term.status(5)
	})
}

// TestHangup closes the terminal: nothing of the sandbox stays.
func TestHangup(t *testing.T) {
	need(t, "perl")
	everywhere(t, func(t *testing.T, c column) {
		term, word := start(t, c), mark()
		term.run(loop(word), "ready\r\n")
		if len(processes(t, word)) == 0 {
			t.Fatal("the program is not there")
		}
		term.master.Close()
		eventually(t, "nothing left", func() bool { return len(processes(t, word)) == 0 })
	})
}

// stop types Ctrl-Z and waits until the shell says that the job stopped.
func (term *terminal) stop() {
	term.t.Helper()
	term.send("\x1a")
	term.expect("Stopped")
	term.expect(prompt)
}

// all is everything that was printed.
func (term *terminal) all() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String()
}

// need skips where a program is missing; in CI that is a failure.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}
