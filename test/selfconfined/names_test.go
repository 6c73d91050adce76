//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// nameAttacks reach what a directory does not lead to.
var nameAttacks = []attack{
	{name: "the supervisor's memory beneath a directory", do: func(a *attacker) error {
		proc := must(unix.Open("/proc", unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
		return otherMemory(a, proc, "", a.enter)
	}},
	{name: "the supervisor's memory beneath the root", do: func(a *attacker) error {
		root := must(unix.Open("/", unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
		return otherMemory(a, root, "proc/", a.enter)
	}},
	{name: "the supervisor's memory by an absolute name", do: func(a *attacker) error {
		dir := must(unix.Open("/tmp", unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
		return otherMemory(a, dir, "/proc/", func() { a.limit(dir, rights.Lookup) })
	}},
	{name: "the supervisor's number", do: func(a *attacker) error {
		proc := must(unix.Open("/proc", unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
		a.enter()
		_, err := unix.Readlinkat(proc, "self", make([]byte, 100))
		return err
	}},
	{name: "marks of global names", root: true, do: globalMark},
}

// otherMemory opens the memory of another process for writing: of the supervisor,
// which calls itself /proc/self, or of a bystander.
func otherMemory(a *attacker, dir int, prefix string, confine func()) error {
	other := bystander()
	confine()
	name := strconv.Itoa(other.Process.Pid)
	if a.confined {
		name = "self"
	}
	fd, err := unix.Openat(dir, prefix+name+"/cmdline", unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("cmdline: %w", err)
	}
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if strings.HasPrefix(string(buf[:n]), os.Args[0]) {
		return errors.New("it is this process")
	}
	_, err = unix.Openat(dir, prefix+name+"/mem", unix.O_RDWR, 0)
	return err
}

// globalMark watches a file by its name.
func globalMark(a *attacker) error {
	fan := must(unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC, unix.O_RDONLY))
	dir := must(unix.Open(a.dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	name := must(unix.BytePtrFromString("/etc"))
	a.enter()
	_, _, e := unix.Syscall6(unix.SYS_FANOTIFY_MARK, uintptr(fan), unix.FAN_MARK_ADD, unix.FAN_OPEN, uintptr(dir),
		uintptr(unsafe.Pointer(name)), 0)
	if e != 0 {
		return e
	}
	return nil
}
