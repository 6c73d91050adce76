package static

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
)

// A limit is for good, so each case runs in a process of its own: this one again.
const caseVariable = "CAPSICUM_STATIC_CASE"

const (
	eC = filecaps.ECAPMODE
	eN = filecaps.ENOTCAPABLE
)

func TestMain(m *testing.M) {
	name := os.Getenv(caseVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	c := &check{}
	run, ok := cases[name]
	if !ok {
		run, ok = executed[name]
	}
	if !ok {
		run, ok = measured[name]
	}
	if !ok {
		c.failf("no case %q", name)
	} else {
		run(c)
	}
	if c.failed {
		os.Exit(1)
	}
	fmt.Println("case done")
	os.Exit(0)
}

// check collects what goes wrong in a case.
type check struct{ failed bool }

func (c *check) failf(format string, args ...any) {
	c.failed = true
	fmt.Printf("    "+format+"\n", args...)
}

// is fails the case unless err is want, nil for success.
func (c *check) is(what string, err, want error) {
	if want == nil && err == nil || want != nil && errors.Is(err, want) {
		return
	}
	c.failf("%s: %v, want %v", what, err, want)
}

// must ends a case that can't go on.
func (c *check) must(what string, err error) {
	if err != nil {
		c.failf("%s: %v", what, err)
		os.Exit(1)
	}
}

// child returns the command that runs a case.
func child(name string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe") // whoever runs it, it need not be found again
	cmd.Env = append(append(os.Environ(), caseVariable+"="+name, "GOTRACEBACK=single"), env...)
	return cmd
}

func TestCases(t *testing.T) {
	for name := range cases {
		for _, uid := range []int{0, 1500} {
			if uid != 0 && os.Getuid() != 0 {
				continue // as whoever runs the tests
			}
			t.Run(fmt.Sprintf("%s/uid %d", name, uid), func(t *testing.T) {
				t.Parallel()
				cmd := child(name)
				cmd.Dir = t.TempDir()
				if uid != 0 {
					asUser(t, cmd, uid)
				}
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "case done") {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// asUser makes cmd run as a user, in its directory, which is one of the test's own.
func asUser(t *testing.T, cmd *exec.Cmd, uid int) {
	t.Helper()
	if err := os.Chown(cmd.Dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(cmd.Dir), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// file makes a file of some bytes, opens it, and returns its number.
func (c *check) file(flags int) int {
	c.must("write file", os.WriteFile("file", []byte("0123456789"), 0o600))
	fd, err := unix.Open("file", flags|unix.O_CLOEXEC, 0)
	c.must("open file", err)
	return fd
}

// filters returns how many filters the process has.
func (c *check) filters() int {
	status, err := os.ReadFile("/proc/self/status")
	c.must("read status", err)
	for line := range strings.Lines(string(status)) {
		var n int
		if _, err := fmt.Sscanf(line, "Seccomp_filters: %d", &n); err == nil {
			return n
		}
	}
	c.failf("the kernel does not tell how many filters there are")
	return 0
}
