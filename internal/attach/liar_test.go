package attach

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/rights"
)

// A process that says it has stacked a filter and has not must get nothing by it:
// neither a limited descriptor on the number where in truth everything passes, nor a
// copy that lands there by choice.
func init() {
	cases["a filter that is not there"] = func() error {
		if err := Start(); err != nil {
			return err
		}
		f, err := os.CreateTemp("", "")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		fd := int(f.Fd())
		if err := LimitRights(fd, rights.Of(rights.Read, rights.Seek)); err != nil {
			return err
		}
		for _, low := range []int{0, 600} { // one of the lowest, and one of those that are chosen
			n, err := memfdFrom(low)
			if err != nil {
				return err
			}
			w := rights.Of(rights.Event).Words()
			if _, err := ask(request.LimitRights, uintptr(n), uintptr(w[0]), uintptr(w[1]), room()); err != nil {
				return err
			}
			if _, err := ask(request.Stacked, uintptr(n)); err != nil && err != unix.EINVAL {
				return err
			}
			if err := unix.Dup3(fd, n, 0); err != nil && err != filecaps.ENOTCAPABLE {
				return err
			}
			if err := unchanged(f, n); err != nil {
				return fmt.Errorf("over %d: %w", n, err)
			}
			if err := unix.Close(n); err != nil {
				return err
			}
			for range 200 {
				n, err := unix.Dup(fd)
				if err != nil {
					return err
				}
				if err := unchanged(f, n); err != nil {
					return fmt.Errorf("copied to %d: %w", n, err)
				}
			}
		}
		return nil
	}
}

func memfdFrom(low int) (int, error) {
	n, err := unix.MemfdCreate("low", 0)
	if err != nil || low == 0 {
		return n, err
	}
	defer unix.Close(n)
	return unix.FcntlInt(uintptr(n), unix.F_DUPFD, low)
}

// unchanged writes to number n and wants f, which must not be written to, to stay
// empty.
func unchanged(f *os.File, n int) error {
	if _, err := unix.Write(n, []byte("x")); err != nil && err != filecaps.ENOTCAPABLE {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(f.Name(), &st); err != nil {
		return err
	}
	if st.Size != 0 {
		return errors.New("written to without the right")
	}
	return nil
}
