package attach

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// ErrUnsupervised says that nobody answers this process's requests.
var ErrUnsupervised = errors.New("no supervisor")

// mu is held while filters are stacked: what they are compiled for must not change
// meanwhile.
var mu sync.Mutex

// ask makes a request. ErrUnsupervised is the answer of a kernel, or of a filter
// that knows no requests. Addresses among its arguments are of memory that must not
// move while the supervisor reads or writes it.
//
//go:uintptrescapes
func ask(op request.Op, args ...uintptr) (uintptr, error) {
	return answered(sys.Request(request.Number, append([]uintptr{uintptr(op)}, args...)...))
}

// question is [ask] for what is answered at once.
func question(op request.Op) (uintptr, error) {
	return answered(sys.Question(request.Number, uintptr(op), 0, 0))
}

func answered(n uintptr, err error) (uintptr, error) {
	if err == unix.ENOSYS {
		return 0, ErrUnsupervised
	}
	return n, err
}

// Supervised reports whether somebody answers this process's requests.
func Supervised() bool {
	_, err := question(request.Supervisor)
	return err == nil
}

// Join reports whether this process has a supervisor already, its parent's, and lets
// that look into it.
func Join() bool {
	pid, err := question(request.Supervisor)
	if err == nil && pid != 0 {
		_ = name(int(pid)) // what can't be read is refused
	}
	return err == nil
}

// Enter puts the process into capability mode. The supervisor is told first, so that
// no name is looked up as before once a filter refuses others.
func Enter() error {
	mu.Lock()
	defer mu.Unlock()
	in, err := Mode()
	if err != nil || in {
		return err
	}
	// The filter can't tell what name an execveat has. Where the kernel can't be kept
	// from executing names, nothing can be executed.
	bound := uintptr(0)
	if sys.ExecuteNoNames() == nil {
		bound = 1
	}
	n, err := ask(request.Enter, bound, room())
	if err != nil {
		return err
	}
	return stack(n)
}

// Mode reports whether the process is in capability mode. The filter says so itself,
// whether there still is a supervisor or not. That one takes the process for in the mode
// also when the filter could not be installed, may be by the program that executed this
// one; and a child that has filters of its own, when its parent entered after the fork.
func Mode() (bool, error) {
	switch _, err := question(slot.OpMode); err {
	case filecaps.ECAPMODE:
		return true, nil
	case nil, unix.EINVAL: // of the supervisor, who knows no such request
		return false, nil
	default:
		return false, err
	}
}

// filter is where the supervisor writes filters, one at a time under mu.
var filter [request.MaxFilter]unix.SockFilter

func room() uintptr { return uintptr(unsafe.Pointer(&filter)) }

// stack installs the n instructions that the supervisor has written.
func stack(n uintptr) error { return sys.InstallAll(filter[:min(int(n), len(filter))]) }

// limit makes a request that narrows fd by a and b, and stacks the filter without
// which what fd has lost would still pass, if there is one.
func limit(fd int, op request.Op, a, b uintptr) error {
	mu.Lock()
	defer mu.Unlock()
	n, err := ask(op, uintptr(fd), a, b, room())
	if err != nil || n == 0 {
		return err
	}
	if err := stack(n); err != nil {
		return err
	}
	if _, err := ask(request.Stacked, uintptr(fd)); err != nil {
		return fmt.Errorf("tell the supervisor of a filter: %w", err)
	}
	return nil
}

// LimitRights is cap_rights_limit(2).
func LimitRights(fd int, s rights.Set) error {
	w := s.Words()
	return limit(fd, request.LimitRights, uintptr(w[0]), uintptr(w[1]))
}

// Rights is cap_rights_get(3).
func Rights(fd int) (rights.Set, error) {
	w := new([2]uint64)
	_, err := ask(request.Rights, uintptr(fd), uintptr(unsafe.Pointer(w)))
	runtime.KeepAlive(w)
	if err != nil {
		return rights.Set{}, err
	}
	return rights.FromWords(w[:])
}

// LimitIoctls is cap_ioctls_limit(2).
func LimitIoctls(fd int, cmds []uint32) error {
	if len(cmds) > filecaps.MaxIoctls {
		return unix.EINVAL
	}
	list := append(make([]uint32, 0, filecaps.MaxIoctls), cmds...)
	defer runtime.KeepAlive(list)
	return limit(fd, request.LimitIoctls, uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)))
}

// Ioctls is cap_ioctls_get(2); it returns false when every command is permitted.
func Ioctls(fd int) ([]uint32, bool, error) {
	list := make([]uint32, filecaps.MaxIoctls)
	n, err := ask(request.Ioctls, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)))
	runtime.KeepAlive(list)
	if err != nil || n == request.AllIoctls {
		return nil, false, err
	}
	return list[:min(int(n), len(list))], true, nil
}

// LimitFcntls is cap_fcntls_limit(2).
func LimitFcntls(fd int, mask rights.Fcntls) error {
	return limit(fd, request.LimitFcntls, uintptr(mask), 0)
}

// Fcntls is cap_fcntls_get(2).
func Fcntls(fd int) (rights.Fcntls, error) {
	mask, err := ask(request.Fcntls, uintptr(fd))
	return rights.Fcntls(mask), err
}

// Pdgetpid is pdgetpid(2).
func Pdgetpid(fd int) (int, error) {
	n, err := ask(request.Pdgetpid, uintptr(fd))
	return int(n), err
}

// Pdkill is pdkill(2).
func Pdkill(fd, signal int) error {
	_, err := ask(request.Pdkill, uintptr(fd), uintptr(signal))
	return err
}

// Pdalive reports whether a held process runs.
func Pdalive(fd int) (bool, error) {
	n, err := ask(request.Pdalive, uintptr(fd))
	return n == 1, err
}

// Pdwait stores in record how a held process ended, with options of package request.
func Pdwait(fd int, record []byte, options uintptr) error {
	_, err := ask(request.Pdwait, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(record))), options)
	runtime.KeepAlive(record)
	return err
}
