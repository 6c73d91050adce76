// Package static is Capsicum by filters alone, for a process that can have no
// supervisor: every limit and capability mode is a filter on all threads, for
// good, and what a filter can not judge is refused. It needs no descriptor, no
// process and no file.
//
// The filters are the record: a program that was executed by a limited one asks
// them what it may use each descriptor for. They can not tell lists of ioctl
// commands: one from before an exec is enforced all the same.
//
// Numbers stay limited when they are closed and given out again.
package static

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/procdesc"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// state saves asking the filters, whose answers this program alone can change. The
// lock also keeps two limits of one descriptor from both being judged by what was
// before.
var state struct {
	sync.Mutex
	known     map[int]held // by descriptor number; nil before the first question
	inherited bool         // limits may have been made before this program was executed
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
	return limit(fd, func(h *held) (err error) {
		h.caps, err = h.caps.LimitRights(s)
		h.untold = h.untold && s.IsSet(rights.Ioctl)
		return err
	})
}

// LimitIoctls permits only the commands of cmds on fd.
func LimitIoctls(fd int, cmds []uint32) error {
	if len(cmds) > filecaps.MaxIoctls {
		return fmt.Errorf("%d ioctl commands, at most %d are possible: %w", len(cmds), filecaps.MaxIoctls, unix.EINVAL)
	}
	return limit(fd, func(h *held) (err error) {
		if !h.untold {
			h.caps, err = h.caps.LimitIoctls(cmds)
			return err
		}
		for _, cmd := range cmds {
			if lacking(slot.OpHasIoctl, fd, uint64(cmd)) {
				return filecaps.ENOTCAPABLE
			}
		}
		h.caps.Ioctls, h.untold = slices.Clone(cmds), false
		return nil
	})
}

// LimitFcntls permits only the commands of mask on fd.
func LimitFcntls(fd int, mask rights.Fcntls) error {
	if mask&^rights.FcntlAll != 0 {
		return fmt.Errorf("fcntl mask %#x: %w", uint32(mask), unix.EINVAL)
	}
	return limit(fd, func(h *held) (err error) {
		h.caps, err = h.caps.LimitFcntls(mask)
		return err
	})
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
	if err := seen(); err != nil {
		return err
	}
	return sys.InstallAll(prog)
}

// looked says that the process makes no calls that no filter sees.
var looked bool

// nobodyTells reports whether err is because there is no /proc for this process, or no
// free descriptor. Who can have no supervisor is confined all the same.
func nobodyTells(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOENT, unix.EACCES, unix.EMFILE, unix.ENFILE}, func(e error) bool { return errors.Is(err, e) })
}

// seen fails if it does, or may.
func seen() error {
	if looked || Begun() { // from the first filter on there is no way to begin with that
		return nil
	}
	err := threadsSeen()
	if errors.Is(err, unix.ENOSYS) {
		err = unix.EIO // a caller may go on unconfined where the kernel has no filters
	}
	if err != nil && !nobodyTells(err) {
		return fmt.Errorf("look for an io_uring that the kernel polls (IORING_SETUP_SQPOLL): %w", err)
	}
	looked = true
	return nil
}

// threadsSeen fails if no filter sees what a thread of the process calls.
func threadsSeen() error {
	pid := unix.Getpid()
	threads, err := sys.Threads(pid)
	if err != nil {
		return err
	}
	for _, tid := range threads {
		if err := sys.FiltersSee(pid, tid); err != nil {
			return err
		}
	}
	return nil
}

// held is what a descriptor may be used for.
type held struct {
	caps     filecaps.Caps
	untold   bool // there is a list of ioctl commands, and nobody knows it
	readOnly bool // no filter takes the open file for writable
}

// unlimited is what a descriptor may be used for that no filter is about.
func unlimited() held { return held{caps: filecaps.Full(), readOnly: true} }

func look(fd int) (held, error) {
	state.Lock()
	defer state.Unlock()
	if err := open(fd); err != nil {
		return held{}, err
	}
	return read(fd), nil
}

// limit changes what fd may be used for, and puts a filter in force.
func limit(fd int, change func(*held) error) error {
	state.Lock()
	defer state.Unlock()
	if err := open(fd); err != nil {
		return err
	}
	had := read(fd)
	has := had
	if err := change(&has); err != nil {
		return fmt.Errorf("widen: %w", err)
	}
	if !has.caps.IsFull() && procdesc.Is(fd) {
		has.caps.Rights = procdesc.Useful(has.caps.Rights)
	}
	if has.caps.OnlyMapsToRead() {
		if err := readOnlyMemory(fd); err != nil {
			return err
		}
	}
	has.readOnly = readOnly(fd)
	told := had.untold && !has.untold
	if has.caps.Equal(had.caps) && !told && (has.caps.IsFull() || has.readOnly || !had.readOnly) {
		return nil
	}
	if told { // the list may be any, so that none of it is left out
		had.caps.Ioctls, had.caps.Listed = nil, false
	}
	o := slot.Options{
		CapabilityMode: inMode(),
		Static:         true,
		ReadOnly:       has.readOnly,
		First:          !answered(slot.OpStatic, 0, 0),
		Poll:           !answered(slot.OpPoll, 0, 0),
	}
	if !had.caps.IsFull() {
		o.Had = &slot.Had{Caps: had.caps, ReadOnly: had.readOnly}
	}
	prog, err := slot.Descriptor(sysno.Native, fd, has.caps, o)
	if err != nil {
		return err
	}
	if err := Install(prog); err != nil {
		return err
	}
	has.readOnly = has.readOnly && had.readOnly
	state.known[fd] = has
	return nil
}

// readOnlyMemory puts anonymous memory, which number fd has open for writing, there
// again for reading only: [sys.ReopenMemory] says why. In capability mode there is no
// name to open it by, and a mapping then takes the right to write, too.
func readOnlyMemory(fd int) error {
	again, err := sys.ReopenMemory(fd)
	if err != nil || again == nil {
		return err
	}
	defer again.CloseSoon()
	flags, err := sys.Fcntl(fd, unix.F_GETFD, 0)
	if err != nil {
		return err
	}
	cloexec := 0
	if flags&unix.FD_CLOEXEC != 0 {
		cloexec = unix.O_CLOEXEC
	}
	return sys.Dup3(again.Int(), fd, cloexec)
}

// open fails with EBADF for a number that is no descriptor. Asking for its flags
// needs no right.
func open(fd int) error {
	if fd < 0 {
		return unix.EBADF
	}
	_, err := sys.Fcntl(fd, unix.F_GETFD, 0)
	return err
}

// readOnly reports whether the open file surely is not open for writing. It may be
// another than at the last limit of its number, whose filter may refuse to tell.
func readOnly(fd int) bool {
	flags, err := sys.Fcntl(fd, unix.F_GETFL, 0)
	if err == filecaps.ENOTCAPABLE {
		return sys.MapsReadOnly(fd)
	}
	return err == nil && flags&(unix.O_ACCMODE|unix.O_PATH) == unix.O_RDONLY
}

// read returns what fd may be used for. The first call learns whether there are
// limits that this program has not made.
func read(fd int) held {
	if state.known == nil {
		state.known = make(map[int]held)
		state.inherited = answered(slot.OpStatic, 0, 0)
	}
	h, ok := state.known[fd]
	switch {
	case ok:
		return h
	case !state.inherited:
		return unlimited()
	}
	h = ask(fd)
	state.known[fd] = h
	return h
}

// ask asks the filters about fd.
func ask(fd int) held {
	h := unlimited()
	h.readOnly = !lacking(slot.OpHas, fd, slot.IndexReadOnly)
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
	h.caps.Listed = lacking(slot.OpHas, fd, slot.IndexAnyIoctl)
	h.untold = h.caps.Listed && !lacking(slot.OpHas, fd, slot.IndexNoIoctl)
	return h
}

func inMode() bool { return answer(slot.OpMode, 0, 0) == filecaps.ECAPMODE }

// answer is what the filters say to a question.
func answer(op int, a, b uint64) error {
	_, err := sys.Question(request.Number, uintptr(op), uintptr(a), uintptr(b))
	return err
}

// answered reports whether a filter answers a question.
func answered(op int, a, b uint64) bool { return answer(op, a, b) == filecaps.ENOTCAPABLE }

func lacking(op, fd int, what uint64) bool { return answered(op, uint64(fd), what) }

// Begun reports whether this process is limited by filters alone already, maybe by
// a program that executed this one.
func Begun() bool { return answered(slot.OpStatic, 0, 0) || inMode() }
