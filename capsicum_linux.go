package capsicum

import (
	"syscall"

	"github.com/capsicum-go/capsicum/internal/static"
	"github.com/capsicum-go/capsicum/rights"
)

func enter() error                                 { return static.Enter() }
func mode() (bool, error)                          { return static.Mode() }
func limitRights(fd int, s rights.Set) error       { return static.LimitRights(fd, s) }
func getRights(fd int) (rights.Set, error)         { return static.Rights(fd) }
func limitFcntls(fd int, mask rights.Fcntls) error { return static.LimitFcntls(fd, mask) }
func getFcntls(fd int) (rights.Fcntls, error)      { return static.Fcntls(fd) }

// limitIoctls limits to the 32 bits of a command that Linux looks at.
func limitIoctls(fd int, cmds []uint) error {
	list := make([]uint32, len(cmds))
	for i, cmd := range cmds {
		if uint64(cmd)>>32 != 0 {
			return syscall.EINVAL
		}
		list[i] = uint32(cmd)
	}
	return static.LimitIoctls(fd, list)
}

func getIoctls(fd int) ([]uint, bool, error) {
	list, limited, err := static.Ioctls(fd)
	var cmds []uint
	for _, cmd := range list {
		cmds = append(cmds, uint(cmd))
	}
	return cmds, limited, err
}
