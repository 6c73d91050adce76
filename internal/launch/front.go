package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
)

// start starts the sandbox's init and the program's process.
func (f *front) start(s *setup) error {
	ctl, stage, err := newChannel()
	if err != nil {
		return err
	}
	defer stage.close()
	f.ctl = ctl
	if f.children, err = prepare(s, ctl.fd, stage.fd); err == nil {
		f.init, err = f.children.start(s)
		f.children.close()
	}
	if err != nil {
		f.ctl.close()
	}
	return err
}

// failed says what went wrong between fork and exec, nil if nothing did.
func (f *front) failed() error {
	// Init fails when the program's process does: what happened there comes first.
	for _, seq := range []*script.Sequence{&f.children.program, &f.children.init} {
		var step *script.StepError
		if !errors.As(seq.Err(), &step) {
			continue
		}
		switch step.What {
		case stepExecute:
			return cannotExecute(f.plan.Program.Path, step.Errno)
		case stepCwd:
			return &Refused{Exit: exitRefused, Errno: step.Errno,
				Message: fmt.Sprintf("--cwd %s: %v", f.plan.Cwd, step.Errno)}
		}
		r := &Refused{Exit: exitRefused, Errno: step.Errno, Message: step.Error()}
		if step.Errno == unix.ESTALE {
			r.Message = step.What + ": changed while the sandbox was starting"
		}
		// A machine may let a user namespace be made and nothing be done in it:
		// AppArmor's rule on Ubuntu, a masked /proc in a container.
		r.unavailable = f.engine == policy.EngineNamespaces &&
			slices.Contains([]unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS}, step.Errno)
		return r
	}
	return nil
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

// unavailable are the errnos with which a kernel, a sysctl, or a container's
// profile says that there are no user namespaces to be had.
var unavailable = map[unix.Errno]string{
	unix.EPERM:  "user namespaces are refused here",
	unix.EACCES: "user namespaces are refused here",
	unix.ENOSPC: "no more user namespaces are allowed (user.max_user_namespaces)",
	unix.EUSERS: "user namespaces are nested too deep",
	unix.EINVAL: "this kernel has no user namespaces",
	unix.ENOSYS: "this kernel has no user namespaces",
}

// notStarted explains why init could not be forked.
func notStarted(err error, engine policy.Engine) error {
	errno := errnoOf(err)
	if why, ok := unavailable[errno]; ok && engine == policy.EngineNamespaces {
		return &Refused{Exit: exitRefused, Errno: errno, unavailable: true,
			Message: fmt.Sprintf("--engine=namespaces: %s: %v; see capsicum doctor", why, errno)}
	}
	return refuseErr(err, "start the sandbox: %v", err)
}

// errDynamic: the supervisor is executed in the sandbox's root, whose loader and
// libraries the program may have written.
var errDynamic = errors.New("this capsicum needs a loader; build it with CGO_ENABLED=0")

// dynamic reports whether this executable needs a loader. The command does not;
// a program that imports us and uses cgo does.
func dynamic() bool {
	const base = 7 // AT_BASE: where the loader was loaded
	auxv, err := unix.Auxv()
	return err != nil || slices.ContainsFunc(auxv, func(pair [2]uintptr) bool { return pair[0] == base && pair[1] != 0 })
}

// switches are the sysctls that turn user namespaces off for ordinary users,
// and the value with which they do.
var switches = []struct{ path, off string }{
	{"/proc/sys/user/max_user_namespaces", "0"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"},
}

// namespacesRefused reports a sysctl that rules the namespaces engine out. A nil
// error is no promise: starting tells.
func namespacesRefused() error {
	if dynamic() {
		return errDynamic
	}
	for i, s := range switches {
		b, err := os.ReadFile(s.path)
		if err != nil || len(b) == 0 || string(b[:len(b)-1]) != s.off {
			continue
		}
		if i > 0 && os.Geteuid() == 0 {
			continue // these bind ordinary users only
		}
		return fmt.Errorf("%s is %s: %w", s.path, s.off, unix.EPERM)
	}
	return nil
}
