package capsicum

import (
	"errors"
	"sync"
	"syscall"

	"github.com/capsicum-go/capsicum/internal/attach"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/procdesc"
	"github.com/capsicum-go/capsicum/internal/static"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// form is a way in which this process is confined: with a supervisor, or by filters
// alone.
type form struct {
	enter       func() error
	mode        func() (bool, error)
	limitRights func(int, rights.Set) error
	rights      func(int) (rights.Set, error)
	limitIoctls func(int, []uint32) error
	ioctls      func(int) ([]uint32, bool, error)
	limitFcntls func(int, rights.Fcntls) error
	fcntls      func(int) (rights.Fcntls, error)
}

var (
	supervised = &form{attach.Enter, attach.Mode, attach.LimitRights, attach.Rights, attach.LimitIoctls, attach.Ioctls,
		attach.LimitFcntls, attach.Fcntls}
	alone = &form{static.Enter, static.Mode, static.LimitRights, static.Rights, static.LimitIoctls, static.Ioctls,
		static.LimitFcntls, static.Fcntls}
)

// chosen is the form this process has, for good.
var chosen struct {
	sync.Mutex
	*form
}

// now returns the form that this process has, or, as long as it has none and is
// not confined, one that can tell so.
func now() *form {
	chosen.Lock()
	defer chosen.Unlock()
	if chosen.form == nil && attach.Join() {
		chosen.form = supervised
	}
	if chosen.form == nil {
		return alone
	}
	return chosen.form
}

// first returns the form that this process has, and gives it one if it has none: a
// supervisor if that can be. A process whose filters were made without one keeps
// that form, also through exec.
func first() *form {
	// What shares this process's memory, and was not confined with it, must be harmless.
	procdesc.Settle()
	if f := now(); f == supervised {
		return f
	}
	chosen.Lock()
	defer chosen.Unlock()
	if chosen.form == nil {
		chosen.form = alone
		if !static.Begun() && attach.Start() == nil {
			chosen.form = supervised
		}
	}
	return chosen.form
}

func mode() (bool, error)                     { return now().mode() }
func getRights(fd int) (rights.Set, error)    { return now().rights(fd) }
func getFcntls(fd int) (rights.Fcntls, error) { return now().fcntls(fd) }

// enter gives core files up before: the kernel would make them by a global name, and the
// mode refuses to change that limit.
func enter() error {
	f := first()
	if err := sys.GiveUpCore(); err != nil && !errors.Is(err, filecaps.ECAPMODE) { // which says that it is in the mode
		return err
	}
	return f.enter()
}

func limitRights(fd int, s rights.Set) error {
	if !s.IsValid() {
		return syscall.EINVAL
	}
	return first().limitRights(fd, s)
}

func limitFcntls(fd int, mask rights.Fcntls) error {
	if mask&^rights.FcntlAll != 0 {
		return syscall.EINVAL
	}
	return first().limitFcntls(fd, mask)
}

// limitIoctls limits to the 32 bits of a command that Linux looks at.
func limitIoctls(fd int, cmds []uint) error {
	list := make([]uint32, len(cmds))
	for i, cmd := range cmds {
		if uint64(cmd)>>32 != 0 {
			return syscall.EINVAL
		}
		list[i] = uint32(cmd)
	}
	return first().limitIoctls(fd, list)
}

func getIoctls(fd int) ([]uint, bool, error) {
	list, limited, err := now().ioctls(fd)
	var cmds []uint
	for _, cmd := range list {
		cmds = append(cmds, uint(cmd))
	}
	return cmds, limited, err
}
