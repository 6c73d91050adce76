package supervisor

import (
	"errors"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// Result is a handler's answer. The zero Result is EIO: a handler that forgets
// to answer has not allowed anything.
type Result struct {
	kind    resultKind
	value   int64
	errno   unix.Errno
	fd      *sys.FD
	cloexec bool
	reason  string
	sent    func()
}

type resultKind uint8

const (
	kindNone resultKind = iota
	kindValue
	kindErrno
	kindFD
	kindContinue
	kindGone
)

// Value ends the call successfully with n.
func Value(n int64) Result { return Result{kind: kindValue, value: n} }

// Errno ends the call with e; 0 is EIO, an error that is none.
func Errno(e unix.Errno) Result {
	if e == 0 {
		return Result{}
	}
	return Result{kind: kindErrno, errno: e}
}

// Fail ends the call with the errno in err, EIO without one, and answers
// nothing when the caller is gone. A nil err is Value(0).
func Fail(err error) Result {
	var e unix.Errno
	switch {
	case err == nil:
		return Value(0)
	case errors.Is(err, notify.ErrGone):
		return Result{kind: kindGone}
	case errors.As(err, &e):
		return Errno(e)
	}
	return Errno(unix.EIO)
}

// FD puts a copy of fd into the caller's table and ends the call with its
// number there. It takes ownership: fd is closed whatever happens.
func FD(fd *sys.FD, cloexec bool) Result {
	return Result{kind: kindFD, fd: fd, cloexec: cloexec}
}

// Continue lets the kernel carry out the call. See the package comment of
// notify for when that is allowed; reason says why here.
func Continue(reason string) Result { return Result{kind: kindContinue, reason: reason} }

// GoesOn reports whether the kernel is to carry out the call.
func (r Result) GoesOn() bool { return r.kind == kindContinue }

// ContinueAnd is [Continue]; sent runs once the caller was let go.
func ContinueAnd(reason string, sent func()) Result {
	return Result{kind: kindContinue, reason: reason, sent: sent}
}

// File returns the descriptor that the caller is to get, nil for an answer without one.
// It stays the answer's.
func (r Result) File() *sys.FD { return r.fd }
