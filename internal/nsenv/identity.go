package nsenv

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// The namespaces that a sandbox gets: those that its first process must be born
// in, and those that it makes itself. The cgroup namespace hides where in the
// host's hierarchy the sandbox lives.
const (
	BirthFlags   = unix.CLONE_NEWUSER | unix.CLONE_NEWPID
	UnshareFlags = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
)

// capabilities are what the supervisor needs in its user namespace to read the
// memory, and take on the identity, of whatever runs in it. An ordinary user's
// exec would lose them, were they not ambient.
var capabilities = []int{unix.CAP_SYS_PTRACE, unix.CAP_KILL}

// KeepCapabilities adds to seq what lets the supervisor that it executes keep
// the capabilities it needs. Root keeps all by itself.
func KeepCapabilities(seq *script.Sequence) {
	const what = "keep capabilities for the supervisor"
	data := new([2]unix.CapUserData)
	for _, c := range capabilities {
		bit := uint32(1) << (c % 32)
		data[c/32].Effective |= bit
		data[c/32].Permitted |= bit
		data[c/32].Inheritable |= bit
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	seq.Do(what, unix.SYS_CAPSET, script.Struct(header), script.Struct(data))
	for _, c := range capabilities {
		seq.Do(what, unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0)
	}
}

// MapSelf adds to seq the identity mapping of an ordinary user: exactly its own
// user and group, which a process may map for itself.
func MapSelf(seq *script.Sequence, uid, gid int) {
	const what = "map user and group"
	fd := script.NewValue()
	for _, file := range []struct{ name, content string }{
		{"setgroups", "deny"},
		{"uid_map", fmt.Sprintf("%d %d 1", uid, uid)},
		{"gid_map", fmt.Sprintf("%d %d 1", gid, gid)},
	} {
		seq.Do(what, unix.SYS_OPENAT, unix.AT_FDCWD, script.String("/proc/self/"+file.name), unix.O_WRONLY|unix.O_CLOEXEC, 0).Into(fd)
		seq.Do(what, unix.SYS_WRITE, fd, script.String(file.content), len(file.content))
		seq.Do(what, unix.SYS_CLOSE, fd)
	}
}

// MapAll maps every user and group that exists here onto itself in the user
// namespace of pid, so that files have the owners they have outside. Only root
// may, and only from outside.
func MapAll(pid int) error {
	for _, name := range []string{"uid_map", "gid_map"} {
		here, err := sys.ReadFileAt(unix.AT_FDCWD, "/proc/self/"+name)
		if err != nil {
			return fmt.Errorf("read identity map: %w", err)
		}
		same, err := identity(string(here))
		if err != nil {
			return err
		}
		if err := sys.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, name), []byte(same)); err != nil {
			return fmt.Errorf("write identity map: %w", err)
		}
	}
	return nil
}

// identity turns the lines of a map, "inside outside length", into ones that
// map each range that exists inside onto itself.
func identity(lines string) (string, error) {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		var inside, outside, size uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return "", fmt.Errorf("parse identity map %q: %w", line, err)
		}
		fmt.Fprintln(&out, inside, inside, size)
	}
	return out.String(), nil
}
