package resolve

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit statuses of the command when it could not start the program.
const (
	ExitSetup         = 125 // the sandbox could not be made
	ExitNotExecutable = 126 // the program was found and can not be executed
	ExitNotFound      = 127 // the program was not found
)

// Causes that have no errno, matched by errors.Is.
var (
	// ErrProcfs is a name that leads into the host's procfs.
	ErrProcfs = errors.New("leads into the host's /proc")
	// ErrConflict is a name that two grants show different objects under.
	ErrConflict = errors.New("conflicts with another grant")
	// ErrChanged is a name that changed while it was walked.
	ErrChanged = errors.New("changed while it was resolved")
)

// Error is a grant, a program or a directory that can not be resolved.
type Error struct {
	Flag string // as the user wrote it: "--ro /nope"
	Path string // the name that went wrong, if Flag does not say it
	Err  error
	Hint string // what to do about it
	Exit int    // the status the command exits with
}

// Error names the flag, the path, the cause and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("resolve: " + e.Flag)
	if e.Path != "" && !strings.HasSuffix(e.Flag, " "+e.Path) {
		b.WriteString(": " + e.Path)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// walkError is a cause and the name of the component it happened at.
type walkError struct {
	path string
	err  error
}

func (e *walkError) Error() string { return e.path + ": " + e.err.Error() }
func (e *walkError) Unwrap() error { return e.err }

// failed turns what a walk returned into an Error about a flag.
func failed(flag string, err error, hint string) *Error {
	e := &Error{Flag: flag, Err: err, Hint: hint, Exit: ExitSetup}
	var w *walkError
	if errors.As(err, &w) {
		e.Path, e.Err = w.path, w.err
	}
	if e.Hint == "" && errors.Is(err, ErrProcfs) {
		e.Hint = "the sandbox has a /proc of its own; pass open files with --fd"
	}
	return e
}

// isMissing reports that a name leads nowhere.
func isMissing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// conflict says that flag can not have the name dest because of other.
func conflict(flag, dest, other, why, hint string) *Error {
	return &Error{Flag: flag, Path: dest, Err: fmt.Errorf("%w: %s %s", ErrConflict, other, why), Hint: hint, Exit: ExitSetup}
}
