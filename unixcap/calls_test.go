//go:build linux || freebsd

package unixcap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

// TestMain runs a confined copy of the test; what it does cannot be undone.
func TestMain(m *testing.M) {
	if os.Getenv("UNIXCAP_TEST") == "confined" {
		if err := confined(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestCalls goes through the calls as code for x/sys would.
func TestCalls(t *testing.T) {
	users := []int{os.Getuid()}
	if os.Getuid() == 0 {
		users = append(users, 1500)
	}
	program := exetest.Self(t)
	for _, uid := range users {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "UNIXCAP_TEST=confined")
		if uid != os.Getuid() {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("as user %d: %v\n%s", uid, err, out)
		}
	}
}

// confined limits a pipe and enters, and returns the first thing that is not as
// on FreeBSD.
func confined() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	fd := r.Fd()
	all, err := CapRightsGet(fd)
	if err != nil {
		return fmt.Errorf("get rights of a new descriptor: %w", err)
	}
	if ok, err := CapRightsIsSet(all, []uint64{CAP_READ, CAP_IOCTL, CAP_FCNTL, CAP_PDKILL}); !ok {
		return fmt.Errorf("a new descriptor has rights %#x, %v", all.Rights, err)
	}
	want, err := CapRightsInit([]uint64{CAP_READ, CAP_IOCTL, CAP_FCNTL})
	if err != nil {
		return err
	}
	few, err := CapRightsInit([]uint64{CAP_READ})
	if err != nil {
		return err
	}
	list := make([]uint, 1)
	for _, step := range []struct {
		what string
		do   func() (any, error)
		want any
		err  error
	}{
		{"ioctls", func() (any, error) { return CapIoctlsGet(fd, list) }, CAP_IOCTLS_ALL, nil},
		{"limit ioctls", func() (any, error) { return nil, CapIoctlsLimit(fd, []uint{7, 8}) }, nil, nil},
		{"ioctls", func() (any, error) { return CapIoctlsGet(fd, list) }, 2, nil},
		{"widen ioctls", func() (any, error) { return nil, CapIoctlsLimit(fd, []uint{9}) }, nil, ENOTCAPABLE},
		{"limit fcntls", func() (any, error) { return nil, CapFcntlsLimit(fd, CAP_FCNTL_GETFL) }, nil, nil},
		{"fcntls", func() (any, error) { return CapFcntlsGet(fd) }, CAP_FCNTL_GETFL, nil},
		{"widen fcntls", func() (any, error) { return nil, CapFcntlsLimit(fd, CAP_FCNTL_ALL) }, nil, ENOTCAPABLE},
		{"limit", func() (any, error) { return nil, CapRightsLimit(fd, want) }, nil, nil},
		{"get", func() (any, error) { return rightsOf(fd) }, *want, nil},
		{"limit more", func() (any, error) { return nil, CapRightsLimit(fd, few) }, nil, nil},
		{"widen", func() (any, error) { return nil, CapRightsLimit(fd, want) }, nil, ENOTCAPABLE},
		{"closed", func() (any, error) { return nil, CapRightsLimit(99, few) }, nil, syscall.EBADF},
		{"no mode", func() (any, error) { return CapGetMode() }, false, nil},
		{"enter", func() (any, error) { return nil, CapEnter() }, nil, nil},
		{"mode", func() (any, error) { return CapGetMode() }, true, nil},
		{"read", func() (any, error) { w.Write([]byte("x")); return r.Read(make([]byte, 1)) }, 1, nil},
		{"enter again", func() (any, error) { return nil, CapEnter() }, nil, nil},
	} {
		got, err := step.do()
		if err != step.err || err == nil && got != step.want {
			return fmt.Errorf("%s: %v, %v; want %v, %v", step.what, got, err, step.want, step.err)
		}
	}
	if !slices.Equal(list, []uint{7}) {
		return fmt.Errorf("%v of the ioctls was stored", list)
	}
	if _, err := os.Open("/"); !errors.Is(err, ECAPMODE) {
		return fmt.Errorf("open a name: %w, want ECAPMODE", err)
	}
	return nil
}

func rightsOf(fd uintptr) (CapRights, error) {
	r, err := CapRightsGet(fd)
	if err != nil {
		return CapRights{}, err
	}
	return *r, nil
}
