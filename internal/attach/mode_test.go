package attach

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
)

func init() {
	cases["children of before and after"] = childrenOfBeforeAndAfter
	cases["the supervisor believes in the mode"] = believed
	cases["capabilities of others"] = capabilitiesOfOthers
}

// opener makes a child that waits for a byte from pipe, and then opens name beneath
// dir.
func opener(pipe, dir int, name string) (*script.Sequence, int, error) {
	s := new(script.Sequence)
	s.Do("wait", unix.SYS_READ, pipe, script.Struct(new(uint64)), 1)
	s.Do("open", unix.SYS_OPENAT, dir, script.String(name), unix.O_RDONLY, 0)
	s.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid, err := script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), s)
	return s, pid, err
}

// childrenOfBeforeAndAfter: the children ask for the first time when their parent is
// in capability mode. Those that were forked before are not, and those of after are,
// whatever the parent asks for in between. What is opened passes the filter of the
// mode: only the supervisor can tell.
func childrenOfBeforeAndAfter() error {
	if err := Start(); err != nil {
		return err
	}
	dir, err := unix.Open("/etc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := LimitRights(zero(), rights.Of(rights.Read)); err != nil {
		return err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	const name = "../etc/passwd"
	before, one, err := opener(pipe[0], dir, name)
	if err != nil {
		return err
	}
	if err := Enter(); err != nil {
		return err
	}
	after, two, err := opener(pipe[0], dir, name)
	if err != nil {
		return err
	}
	if _, err := ask(request.Enter, 0, room()); err != nil {
		return fmt.Errorf("enter again: %w", err)
	}
	if _, err := unix.Write(pipe[1], []byte("xx")); err != nil {
		return err
	}
	for _, pid := range []int{one, two} {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
	}
	runtime.KeepAlive(before)
	runtime.KeepAlive(after)
	if err := before.Err(); err != nil {
		return fmt.Errorf("forked before: %w", err)
	}
	if err := after.Err(); !errors.Is(err, filecaps.ENOTCAPABLE) {
		return fmt.Errorf("forked after: %v, want %v", err, filecaps.ENOTCAPABLE)
	}
	return nil
}

// believed enters where only the supervisor takes the process for in the mode: after a
// program that could not install the filter has executed this one.
func believed() error {
	if err := Start(); err != nil {
		return err
	}
	if _, err := ask(request.Enter, 0, room()); err != nil {
		return err
	}
	if in, err := Mode(); in || err != nil {
		return fmt.Errorf("mode %v without a filter: %v", in, err)
	}
	if err := Enter(); err != nil {
		return err
	}
	if in, err := Mode(); !in || err != nil {
		return fmt.Errorf("mode %v after entering: %v", in, err)
	}
	if _, err := unix.Open("/etc/passwd", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != filecaps.ECAPMODE {
		return fmt.Errorf("open a name: %v, want %v", err, filecaps.ECAPMODE)
	}
	return nil
}

// capabilitiesOfOthers: the process is named in memory, and whether there is one is not
// to be learnt.
func capabilitiesOfOthers() error {
	get := func(version uint32, pid int) (data [2]unix.CapUserData, err error) {
		err = unix.Capget(&unix.CapUserHeader{Version: version, Pid: int32(pid)}, &data[0])
		return data, err
	}
	const version = unix.LINUX_CAPABILITY_VERSION_3
	before, err := get(version, 0)
	if _, other := get(version, os.Getppid()); err != nil || other != nil {
		return errors.Join(err, other)
	}
	if err := errors.Join(Start(), Enter()); err != nil {
		return err
	}
	for _, pid := range []int{0, os.Getpid(), unix.Gettid()} {
		if after, err := get(version, pid); err != nil || after != before {
			return fmt.Errorf("of %d: %v, %w; before %v", pid, after, err, before)
		}
	}
	if short, err := get(unix.LINUX_CAPABILITY_VERSION_1, 0); err != nil || short[0] != before[0] || short[1] != (unix.CapUserData{}) {
		return fmt.Errorf("the first version: %v, %w", short, err)
	}
	unknown := unix.CapUserHeader{Version: 1}
	if err := unix.Capget(&unknown, nil); err != nil || unknown.Version != version {
		return fmt.Errorf("the version is %#x, %w", unknown.Version, err)
	}
	for _, pid := range []int{os.Getppid(), 1, 1 << 22} {
		if _, err := get(version, pid); err != filecaps.ECAPMODE {
			return fmt.Errorf("of %d: %v", pid, err)
		}
	}
	_, err = get(version, -1)
	return want("of -1", err, unix.EINVAL)
}
