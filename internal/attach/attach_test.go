package attach

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

// cases run in processes of their own: a supervisor is for good.
var cases = map[string]func() error{}

func TestMain(m *testing.M) {
	if name := os.Getenv("ATTACH_CASE"); name != "" {
		if err := cases[name](); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestCases(t *testing.T) {
	for name := range cases {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), "ATTACH_CASE="+name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func init() {
	cases["limit"] = func() error {
		if err := Start(); err != nil {
			return err
		}
		f, err := os.OpenFile("/dev/zero", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		fd := int(f.Fd())
		if err := LimitRights(fd, rights.Of(rights.Read)); err != nil {
			return err
		}
		if _, err := unix.Read(fd, make([]byte, 1)); err != nil {
			return err
		}
		if _, err := unix.Write(fd, make([]byte, 1)); err != filecaps.ENOTCAPABLE {
			return errors.New("write")
		}
		n, err := unix.Dup(fd)
		if err != nil {
			return err
		}
		if _, err := unix.Read(n, make([]byte, 1)); err != nil {
			return err
		}
		if _, err := unix.Write(n, make([]byte, 1)); err != filecaps.ENOTCAPABLE {
			return errors.New("write to the copy")
		}
		if err := Enter(); err != nil {
			return err
		}
		if _, err := os.Open("/"); !errors.Is(err, filecaps.ECAPMODE) {
			return errors.New("open")
		}
		return nil
	}
}
