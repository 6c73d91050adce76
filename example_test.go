//go:build linux || freebsd

package capsicum_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/rights"
	"github.com/capsicum-go/capsicum/unixcap"
)

// What Enter and Limit do cannot be undone, so the examples run in processes of
// their own, by TestExamples, which also holds them to what they print.

func Example() {
	f, err := os.CreateTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	if err := capsicum.Limit(f, rights.Write, rights.Fstat); err != nil {
		log.Fatal(err)
	}
	if err := capsicum.Enter(); err != nil {
		log.Fatal(err)
	}

	_, err = f.WriteString("still open, still writable\n")
	fmt.Println(err)
	_, err = f.ReadAt(make([]byte, 10), 0)
	fmt.Println(errors.Is(err, capsicum.ErrNotCapable))
	_, err = os.Open("/etc/passwd")
	fmt.Println(errors.Is(err, capsicum.ErrCapabilityMode))
}

func ExampleEnter() {
	switch err := capsicum.Enter(); {
	case errors.Is(err, capsicum.ErrNotSupported):
		log.Print("running without confinement: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(capsicum.Sandboxed())
}

func ExampleEnter_root() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := capsicum.Enter(); err != nil {
		log.Fatal(err)
	}

	err = root.WriteFile("result", []byte("42"), 0o600)
	fmt.Println(err)
	_, err = os.ReadFile(dir + "/result")
	fmt.Println(errors.Is(err, capsicum.ErrCapabilityMode))
}

func ExampleLimit() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := capsicum.Limit(r, rights.Read); err != nil {
		log.Fatal(err)
	}

	// Rights only shrink.
	err = capsicum.Limit(r, rights.Read, rights.Fstat)
	fmt.Println(errors.Is(err, capsicum.ErrNotCapable))
	// They belong to the descriptor: w is as it was.
	_, err = w.Stat()
	fmt.Println(err)
	_, err = r.Stat()
	fmt.Println(errors.Is(err, capsicum.ErrNotCapable))
}

func ExampleLimit_listener() {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	// A connection starts with its listener's rights, so the listener needs those
	// of both; Event and KqueueChange let the Go runtime wait for them.
	waiting := []rights.Right{rights.Event, rights.KqueueChange}
	if err := capsicum.Limit(l, append(waiting, rights.SockServer)...); err != nil {
		log.Fatal(err)
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		log.Fatal(err)
	}
	err = capsicum.Limit(conn, append(waiting, rights.Read)...)
	fmt.Println(err)
	_, err = conn.Write([]byte("hello"))
	fmt.Println(errors.Is(err, capsicum.ErrNotCapable))
}

func ExampleRights() {
	r, _, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := capsicum.Limit(r, rights.Read, rights.Event); err != nil {
		log.Fatal(err)
	}
	have, err := capsicum.Rights(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(have)
	fmt.Println(have.IsSet(rights.Write))
}

func ExampleLimitIoctls() {
	r, _, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	// Only the window's size may be asked for.
	if err := capsicum.LimitIoctls(r, unix.TIOCGWINSZ); err != nil {
		log.Fatal(err)
	}
	cmds, limited, err := capsicum.Ioctls(r)
	fmt.Println(len(cmds), limited, err)
	err = capsicum.LimitIoctls(r, unix.TIOCGWINSZ, unix.TIOCSWINSZ)
	fmt.Println(errors.Is(err, capsicum.ErrNotCapable))
}

func ExampleLimitFcntls() {
	r, _, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	// Flags may be read, and never again be set.
	if err := capsicum.LimitFcntls(r, rights.FcntlGetfl); err != nil {
		log.Fatal(err)
	}
	mask, err := capsicum.Fcntls(r)
	fmt.Println(mask == rights.FcntlGetfl, err)
}

// Code that was written for x/sys on FreeBSD: only the import is another.
func Example_unixcap() {
	r, _, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	set, err := unixcap.CapRightsInit([]uint64{unixcap.CAP_READ, unixcap.CAP_EVENT})
	if err != nil {
		log.Fatal(err)
	}
	if err := unixcap.CapRightsLimit(r.Fd(), set); err != nil {
		log.Fatal(err)
	}
	if err := unixcap.CapEnter(); err != nil {
		log.Fatal(err)
	}
	_, err = os.Open("/")
	fmt.Println(errors.Is(err, unixcap.ECAPMODE))
}

// exampleRuns are the examples, with what they print.
var exampleRuns = map[string]struct {
	run    func()
	prints string
}{
	"":            {Example, "<nil>\ntrue\ntrue\n"},
	"Enter":       {ExampleEnter, "true\n"},
	"Enter_root":  {ExampleEnter_root, "<nil>\ntrue\n"},
	"Limit":       {ExampleLimit, "true\n<nil>\ntrue\n"},
	"listener":    {ExampleLimit_listener, "<nil>\ntrue\n"},
	"Rights":      {ExampleRights, "read,event\nfalse\n"},
	"LimitIoctls": {ExampleLimitIoctls, "1 true <nil>\ntrue\n"},
	"LimitFcntls": {ExampleLimitFcntls, "true <nil>\n"},
	"unixcap":     {Example_unixcap, "true\n"},
}

// TestExamples runs each example in a process of its own; such a process is this
// test again, told by its environment which one. As root it also runs them as an
// ordinary user.
func TestExamples(t *testing.T) {
	if name, ok := os.LookupEnv("CAPSICUM_EXAMPLE"); ok {
		exampleRuns[name].run()
		os.Exit(0)
	}
	users := []int{os.Getuid()}
	if os.Getuid() == 0 {
		users = append(users, 1500)
	}
	program := exetest.Self(t)
	if err := os.Chmod(filepath.Dir(program), 0o777); err != nil { // for what they make
		t.Fatal(err)
	}
	for name, e := range exampleRuns {
		for _, uid := range users {
			t.Run(fmt.Sprintf("%s/uid%d", name, uid), func(t *testing.T) {
				cmd := exec.Command(program, "-test.run=^TestExamples$")
				cmd.Dir = "/"
				cmd.Env = append(os.Environ(), "CAPSICUM_EXAMPLE="+name, "TMPDIR="+filepath.Dir(program))
				if uid != os.Getuid() {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
				}
				var complaints bytes.Buffer
				cmd.Stderr = &complaints
				out, err := cmd.Output()
				if err != nil || string(out) != e.prints {
					t.Errorf("%v, prints\n%swant\n%s%s", err, out, e.prints, complaints.Bytes())
				}
			})
		}
	}
}

// TestDocumentation keeps the code in the documentation to what compiles here.
func TestDocumentation(t *testing.T) {
	lines := func(path string) []string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		list := strings.Split(string(text), "\n")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list
	}
	code := strings.Join(lines("example_test.go"), "\n")
	blocks, block, inside := 0, []string{}, false
	for _, line := range lines("docs/capability-mode.md") {
		switch {
		case line == "```go":
			inside, block = true, nil
		case line == "```" && inside:
			inside = false
			blocks++
			if !strings.Contains(code, strings.Join(block, "\n")) {
				t.Errorf("this code is in no example:\n%s", strings.Join(block, "\n"))
			}
		case inside:
			block = append(block, line)
		}
	}
	if blocks == 0 {
		t.Error("the documentation has no code")
	}
}
