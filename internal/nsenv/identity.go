package nsenv

import (
	"bufio"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// cloneFlags are the namespaces a sandbox gets. The cgroup namespace hides
// where in the host's hierarchy the sandbox lives.
const cloneFlags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
	syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP

// capabilities are what stage two needs in its user namespace to build the
// sandbox, and to read the memory of whatever runs in it. An ordinary user's
// exec would lose them, were they not ambient.
var capabilities = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SETPCAP, unix.CAP_KILL}

// Isolate makes attr start a process in namespaces of its own.
func Isolate(attr *syscall.SysProcAttr, uid, gid int) (err error) {
	attr.Cloneflags = cloneFlags
	if uid != 0 {
		attr.AmbientCaps = capabilities
	}
	attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups, err = identity(uid, gid)
	return err
}

// identity returns the identity mapping of the sandbox's user namespace: an
// ordinary user keeps exactly its own user and group; root, which may map
// anything, keeps every id it has, so that files have the owners they have
// outside.
func identity(uid, gid int) (users, groups []syscall.SysProcIDMap, setgroups bool, err error) {
	if uid != 0 {
		return []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
			[]syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}, false, nil
	}
	if users, err = sameIDs("/proc/self/uid_map"); err != nil {
		return nil, nil, false, err
	}
	if groups, err = sameIDs("/proc/self/gid_map"); err != nil {
		return nil, nil, false, err
	}
	return users, groups, true, nil
}

// sameIDs maps each range that exists in our own user namespace onto itself.
func sameIDs(path string) ([]syscall.SysProcIDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read identity map: %w", err)
	}
	defer f.Close()
	var out []syscall.SysProcIDMap
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var inside, outside, size int
		if _, err := fmt.Sscan(sc.Text(), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("parse %s: %w", path, err)
		}
		out = append(out, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("parse %s: no ranges: %w", path, syscall.EINVAL)
	}
	return out, nil
}
