// Package static is Capsicum by filters alone, for a process that can have no
// supervisor: every limit and capability mode is a filter on all threads, for
// good, and what a filter can not judge is refused. It needs no descriptor, no
// process and no file.
//
// The filters are the record: they are asked what a descriptor may be used for, so
// a program that was executed by a limited one knows its limits. Only lists of
// ioctl commands live in memory; a list from before an exec is enforced, and can
// not be told.
//
// Numbers stay limited when they are closed and given out again.
package static

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// state is what the filters do not tell. The lock also keeps two limits of one
// descriptor from both being judged by what was before.
var state struct {
	sync.Mutex
	ioctls map[int][]uint32 // by descriptor number
}

// Enter puts the process into capability mode.
func Enter() error {
	state.Lock()
	defer state.Unlock()
	if inMode() {
		return nil
	}
	prog, err := slot.StaticMode(sysno.Native, unix.Getpid())
	if err != nil {
		return err
	}
	return Install(prog)
}

// Mode reports whether the process is in capability mode.
func Mode() (bool, error) { return inMode(), nil }

// LimitRights takes all rights but those of s from fd.
func LimitRights(fd int, s rights.Set) error {
	if !s.IsValid() {
		return fmt.Errorf("unknown rights: %w", unix.EINVAL)
	}
	return limit(fd, func(h held) (filecaps.Caps, error) { return h.caps.LimitRights(s) })
}

// LimitIoctls permits only the commands of cmds on fd.
func LimitIoctls(fd int, cmds []uint32) error {
	if len(cmds) > filecaps.MaxIoctls {
		return fmt.Errorf("%d ioctl commands, at most %d are possible: %w", len(cmds), filecaps.MaxIoctls, unix.EINVAL)
	}
	return limit(fd, func(h held) (filecaps.Caps, error) {
		if !h.untold {
			return h.caps.LimitIoctls(cmds)
		}
		for _, cmd := range cmds {
			if lacking(slot.OpHasIoctl, fd, uint64(cmd)) {
				return h.caps, filecaps.ENOTCAPABLE
			}
		}
		h.caps.Ioctls = slices.Clone(cmds)
		return h.caps, nil
	})
}

// LimitFcntls permits only the commands of mask on fd.
func LimitFcntls(fd int, mask rights.Fcntls) error {
	if mask&^rights.FcntlAll != 0 {
		return fmt.Errorf("fcntl mask %#x: %w", uint32(mask), unix.EINVAL)
	}
	return limit(fd, func(h held) (filecaps.Caps, error) { return h.caps.LimitFcntls(mask) })
}

// Rights returns what fd may be used for.
func Rights(fd int) (rights.Set, error) {
	h, err := look(fd)
	return h.caps.Rights, err
}

// Fcntls returns the fcntl commands that are permitted on fd.
func Fcntls(fd int) (rights.Fcntls, error) {
	h, err := look(fd)
	return h.caps.Fcntls, err
}

// Ioctls returns the ioctl commands that are permitted on fd, and false if all are.
// It fails with EOPNOTSUPP for a list that was made before the program was
// executed.
func Ioctls(fd int) ([]uint32, bool, error) {
	h, err := look(fd)
	if err == nil && h.untold {
		return nil, true, fmt.Errorf("tell ioctl commands limited by an earlier program: %w", unix.EOPNOTSUPP)
	}
	return slices.Clone(h.caps.Ioctls), h.caps.Listed, err
}

// Install puts a filter on all threads of the process.
func Install(prog []cbpf.Instruction) error {
	filter := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		filter[i] = unix.SockFilter{Code: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return sys.InstallAll(filter)
}

// held is what a descriptor may be used for.
type held struct {
	caps     filecaps.Caps
	untold   bool // there is a list of ioctl commands, and nobody knows it
	readOnly bool // no filter takes the open file for writable
}

func look(fd int) (held, error) {
	state.Lock()
	defer state.Unlock()
	if err := open(fd); err != nil {
		return held{}, err
	}
	return read(fd), nil
}

// limit makes the caps of fd what change says, and puts a filter in force.
func limit(fd int, change func(held) (filecaps.Caps, error)) error {
	state.Lock()
	defer state.Unlock()
	if err := open(fd); err != nil {
		return err
	}
	h := read(fd)
	caps, err := change(h)
	if err != nil {
		return fmt.Errorf("widen: %w", err)
	}
	o := slot.Options{
		CapabilityMode: inMode(),
		Static:         true,
		ReadOnly:       readOnly(fd),
		First:          !answered(slot.OpStatic, 0, 0),
		Poll:           !answered(slot.OpPoll, 0, 0),
	}
	if !h.caps.IsFull() {
		o.Had = &slot.Had{Caps: h.caps, ReadOnly: h.readOnly}
	}
	if caps.Equal(h.caps) && (caps.IsFull() || o.ReadOnly || !h.readOnly) {
		return nil
	}
	prog, err := slot.Descriptor(sysno.Native, fd, caps, o)
	if err != nil {
		return err
	}
	if err := Install(prog); err != nil {
		return err
	}
	keep(fd, caps)
	return nil
}

// keep remembers the list of fd.
func keep(fd int, caps filecaps.Caps) {
	if !caps.Listed || len(caps.Ioctls) == 0 {
		delete(state.ioctls, fd)
		return
	}
	if state.ioctls == nil {
		state.ioctls = make(map[int][]uint32)
	}
	state.ioctls[fd] = caps.Ioctls
}

// open fails with EBADF for a number that is no descriptor. Asking for its flags
// needs no right.
func open(fd int) error {
	if fd < 0 {
		return unix.EBADF
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err
}

// readOnly reports whether the open file surely is not open for writing.
func readOnly(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&(unix.O_ACCMODE|unix.O_PATH) == unix.O_RDONLY
}

// read asks the filters about fd.
func read(fd int) held {
	if !answered(slot.OpStatic, 0, 0) {
		return held{caps: filecaps.Full(), readOnly: true}
	}
	h := held{caps: filecaps.Full(), readOnly: !lacking(slot.OpHas, fd, slot.IndexReadOnly)}
	words := h.caps.Rights.Words()
	for word, all := range words {
		for bit := range slot.RightBits {
			if all&(1<<bit) != 0 && lacking(slot.OpHas, fd, uint64(slot.Index(word, bit))) {
				words[word] &^= 1 << bit
			}
		}
	}
	left, err := rights.FromWords(words[:])
	if err != nil {
		panic("static: " + err.Error()) // the words are those of all rights, less some
	}
	h.caps.Rights = left
	for cmd := range 32 {
		if rights.FcntlAll&(1<<cmd) != 0 && lacking(slot.OpHasFcntl, fd, uint64(cmd)) {
			h.caps.Fcntls &^= 1 << cmd
		}
	}
	if h.caps.Listed = lacking(slot.OpHas, fd, slot.IndexAnyIoctl); h.caps.Listed {
		h.caps.Ioctls = state.ioctls[fd]
		h.untold = len(h.caps.Ioctls) == 0 && h.caps.Rights.IsSet(rights.Ioctl) && !lacking(slot.OpHas, fd, slot.IndexNoIoctl)
	}
	return h
}

func inMode() bool { return sys.Ask(slot.Request, slot.OpMode, 0, 0) == filecaps.ECAPMODE }

// answered reports whether a filter answers a question.
func answered(op int, a, b uint64) bool {
	return sys.Ask(slot.Request, uintptr(op), uintptr(a), uintptr(b)) == filecaps.ENOTCAPABLE
}

func lacking(op, fd int, what uint64) bool { return answered(op, uint64(fd), what) }

// Begun reports whether this process is limited by filters alone already, maybe by
// a program that executed this one.
func Begun() bool { return answered(slot.OpStatic, 0, 0) || inMode() }
