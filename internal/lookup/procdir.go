package lookup

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// OpenProcDir opens the skeleton's directory that stands for the Proc entry,
// for filling it with names. It is what the program gets when it opens /proc.
func (n *Namespace) OpenProcDir() (*os.File, error) {
	if n.proc == nil {
		return nil, unix.ENOENT
	}
	h, err := n.acquire(n.proc)
	if err != nil {
		return nil, err
	}
	defer h.close()
	fd, err := sys.Open(h.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0, beneath)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), n.proc.Dest), nil
}
