package launch

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/policy"
)

// self is how stage two is started: the file we run from, even if its name now
// leads elsewhere.
const self = "/proc/self/exe"

// start starts stage two.
func (f *front) start(s *setup) error {
	stage := channel{-1}
	var err error
	if f.ctl, stage, err = newChannel(); err != nil {
		return err
	}
	defer stage.close()
	file, err := s.sealed()
	if err != nil {
		f.ctl.close()
		return err
	}
	defer file.Close()

	files := table(s.FDs, stage.fd, int(file.Fd()))
	attr := &syscall.ProcAttr{Env: []string{}, Files: files, Sys: &syscall.SysProcAttr{}}
	if f.engine == policy.EngineNamespaces {
		if err := nsenv.Isolate(attr.Sys, os.Geteuid(), os.Getegid()); err != nil {
			f.ctl.close()
			return err
		}
		if !s.Net {
			attr.Sys.Cloneflags |= syscall.CLONE_NEWNET
		}
	}
	f.stage, err = syscall.ForkExec(self, []string{stageName, strconv.Itoa(len(files) - 2)}, attr)
	if err != nil {
		f.ctl.close()
		return notStarted(err, f.engine)
	}
	// Its memory holds no secret, but it is the sandbox's way in: nobody but
	// root traces us from here on.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// unavailable are the errnos with which a kernel, a sysctl, or a container's
// profile says that there are no user namespaces to be had.
var unavailable = map[syscall.Errno]string{
	unix.EPERM:  "user namespaces are refused here",
	unix.EACCES: "user namespaces are refused here",
	unix.ENOSPC: "no more user namespaces are allowed (user.max_user_namespaces)",
	unix.EUSERS: "user namespaces are nested too deep",
	unix.EINVAL: "this kernel has no user namespaces",
	unix.ENOSYS: "this kernel has no user namespaces",
}

// notStarted explains why stage two could not be forked.
func notStarted(err error, engine policy.Engine) error {
	errno := errnoOf(err)
	if why, ok := unavailable[errno]; ok && engine == policy.EngineNamespaces {
		return &Refused{Exit: exitRefused, Errno: errno, unavailable: true,
			Message: fmt.Sprintf("--engine=namespaces: %s: %v; see capsicum doctor", why, errno)}
	}
	return refuseErr(err, "start stage two: %v", err)
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
