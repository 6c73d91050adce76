package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
)

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

// namespacesRefused reports what rules the namespaces engine out, a sysctl first
// of all. A nil error is no promise: starting tells.
var namespacesRefused = sync.OnceValue(func() error {
	if dynamic() {
		return errDynamic
	}
	for i, s := range switches {
		b, err := sys.ReadFileAt(unix.AT_FDCWD, s.path)
		if err != nil || len(b) == 0 || string(b[:len(b)-1]) != s.off {
			continue
		}
		if i > 0 && os.Geteuid() == 0 {
			continue // these bind ordinary users only
		}
		return fmt.Errorf("%s is %s: %w", s.path, s.off, unix.EPERM)
	}
	return nil
})
