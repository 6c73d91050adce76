package launch

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
)

// Refused says why the sandbox was not started. Exit is the status to end with.
type Refused struct {
	Exit        int
	Message     string
	Errno       syscall.Errno
	unavailable bool
}

func (r *Refused) Error() string { return r.Message }

// Unwrap makes the errno reachable, as if the refusal had happened in this process.
func (r *Refused) Unwrap() error {
	if r.Errno == 0 {
		return nil
	}
	return r.Errno
}

// refuse is an error of the caller's making, found before anything was started.
func refuse(format string, args ...any) error {
	return &Refused{Exit: exitRefused, Message: fmt.Sprintf(format, args...)}
}

// refuseErr is refuse with the errno behind it.
func refuseErr(err error, format string, args ...any) error {
	return &Refused{Exit: exitRefused, Message: fmt.Sprintf(format, args...), Errno: errnoOf(err)}
}

// errnoOf returns the errno in err, 0 without one.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// refusal turns an error of the supervisor into a report.
func refusal(err error) report {
	rep := report{Kind: reportRefused, Message: err.Error(), Exit: exitRefused, Errno: uint32(errnoOf(err))}
	var known *Refused
	if errors.As(err, &known) {
		rep.Exit, rep.Unavailable = uint32(known.Exit), known.unavailable
	}
	return rep
}

// refusedBy turns the supervisor's report into the error that it was there.
func refusedBy(r report) error {
	return &Refused{Exit: int(r.Exit), Message: r.Message, Errno: unix.Errno(r.Errno), unavailable: r.Unavailable}
}

// failed says what went wrong between fork and exec, nil if nothing did.
func (f *front) failed() error {
	var step *script.StepError
	for _, seq := range []*script.Sequence{&f.children.first, &f.children.program, &f.children.init} {
		// Each fails with EPIPE when the other has failed: why it did comes first.
		if step == nil || step.Errno == unix.EPIPE {
			errors.As(seq.Err(), &step)
		}
	}
	if step == nil {
		return nil
	}
	r := &Refused{Exit: exitRefused, Errno: step.Errno, Message: step.Error()}
	switch {
	case step.What == stepExecute:
		return cannotExecute(f.setup.Plan.Program.Path, step.Errno)
	case step.What == stepCwd:
		r.Message = fmt.Sprintf("--cwd %s: %v", f.setup.Plan.Cwd, step.Errno)
	case step.What == stepNamespaces && step.Errno == unix.ENOSPC:
		r.Message += " (no more are allowed: sysctl user.max_*_namespaces)"
		r.unavailable = true
	case step.Errno == unix.ESTALE:
		r.Message = step.What + ": changed while the sandbox was starting"
	case slices.Contains([]unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS}, step.Errno):
		// A machine may let a user namespace be made and nothing be done in it:
		// AppArmor's rule on Ubuntu, a masked /proc in a container.
		r.unavailable = f.setup.Engine == policy.EngineNamespaces
	}
	return r
}

// cannotExecute gives an exec error the status that a shell would give it.
func cannotExecute(path string, errno unix.Errno) error {
	r := &Refused{Exit: exitCannotExecute, Message: fmt.Sprintf("%s: %v", path, errno), Errno: errno}
	if errno == unix.ENOENT {
		r.Exit = exitNotFound
		r.Message += " (the program, or the interpreter that it names)"
	}
	return r
}
