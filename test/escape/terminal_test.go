//go:build linux && amd64

package escape

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal; somebody reads what is written to it.
type terminal struct{ master, slave *os.File }

// openTerminal makes one that belongs to uid.
func openTerminal(t *testing.T, uid int) *terminal {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	must(t, err)
	name := fmt.Sprintf("/dev/pts/%d", n)
	if uid != os.Geteuid() {
		must(t, os.Chown(name, uid, uid))
	}
	s, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	term := &terminal{os.NewFile(uintptr(m), "ptmx"), s}
	go func() {
		b := make([]byte, 4096)
		for {
			if _, err := term.master.Read(b); err != nil {
				return
			}
		}
	}()
	return term
}

func (t *terminal) close() {
	t.slave.Close()
	t.master.Close()
}
