package slot

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

// Commands that x/sys does not name.
const (
	fGetownerUids = 17
	fCancelLock   = 1029 // of the kernel for itself: EINVAL to programs
)

// command is an fcntl command: what it asks for, and for some the command of the
// mask that governs it.
type command struct {
	number int
	rights rights.Set
	mask   int // the command whose bit counts, or 0
}

func (cmd command) allowed(c filecaps.Caps) bool {
	return c.Rights.Contains(cmd.rights) && (cmd.mask == 0 || c.AllowsFcntl(cmd.mask))
}

// commands lists the commands that a limited descriptor may be used for at all.
// One that is not here is newer than the table and refused.
var commands = sync.OnceValue(func() []command {
	var out []command
	add := func(set rights.Set, mask int, numbers ...int) {
		for _, n := range numbers {
			out = append(out, command{n, set, mask})
		}
	}
	add(rights.Set{}, 0, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_DUPFD_QUERY, unix.F_CREATED_QUERY,
		fCancelLock)
	fcntl := rights.Of(rights.Fcntl)
	add(fcntl, unix.F_GETFL, unix.F_GETFL)
	add(fcntl, unix.F_SETFL, unix.F_SETFL)
	add(fcntl, unix.F_GETOWN, unix.F_GETOWN, unix.F_GETOWN_EX, fGetownerUids)
	add(fcntl, unix.F_SETOWN, unix.F_SETOWN, unix.F_SETOWN_EX)
	add(fcntl, 0, unix.F_GET_RW_HINT, unix.F_SET_RW_HINT, unix.F_GET_FILE_RW_HINT, unix.F_SET_FILE_RW_HINT)
	add(rights.Of(rights.Fcntl, rights.Event), 0, unix.F_GETSIG, unix.F_SETSIG)
	add(rights.Of(rights.Flock), 0, unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW,
		unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW)
	add(rights.Of(rights.Flock, rights.Event), 0, unix.F_GETLEASE, unix.F_SETLEASE, unix.F_GETDELEG, unix.F_SETDELEG)
	add(rights.Of(rights.InotifyAdd), 0, unix.F_NOTIFY)
	add(rights.Of(rights.Getsockopt), 0, unix.F_GETPIPE_SZ)
	add(rights.Of(rights.Setsockopt), 0, unix.F_SETPIPE_SZ)
	add(rights.Of(rights.Fstat), 0, unix.F_GET_SEALS)
	add(rights.Of(rights.Fchmod), 0, unix.F_ADD_SEALS)
	return out
})
