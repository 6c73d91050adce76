package capmode

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// image is what tells the program that a process has from the next one that it executes.
// None of the marks does alone: without random addresses (personality(2), as debuggers
// have it) every stack begins at one place; the second exec after a fork leaves the flag
// alone; and memory that others share, as a vfork's parent does, outlives the exec.
type image struct {
	pid    int
	stack  string  // where its stack begins
	forked bool    // it has executed nothing since its fork
	memory *sys.FD // nil where nobody may look into the process
}

// imageOf looks at the program of a process.
func imageOf(pid int) (*image, error) {
	im := &image{pid: pid}
	if n, err := unix.Open(im.proc("mem"), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		im.memory = sys.NewFD(n)
	}
	var err error
	if im.stack, im.forked, err = im.look(); err != nil {
		im.close()
		return nil, err
	}
	return im, nil
}

// image is that of the caller's program.
func (c *call) image() (*image, error) {
	im, err := imageOf(c.p.pid)
	if err == nil {
		if err = c.Check(); err != nil {
			im.close()
		}
	}
	return im, err
}

func (im *image) proc(name string) string { return "/proc/" + strconv.Itoa(im.pid) + "/" + name }

// look reads the marks that are in /proc/PID/stat.
func (im *image) look() (stack string, forked bool, err error) {
	text, err := os.ReadFile(im.proc("stat"))
	if err != nil {
		return "", false, err
	}
	const (
		flagsField = 9 - 3
		stackField = 28 - 3
		forkNoExec = 0x40 // PF_FORKNOEXEC
	)
	fields := sys.StatFields(text)
	if len(fields) <= stackField {
		return "", false, fmt.Errorf("look at program of process %d: %w", im.pid, unix.EIO)
	}
	flags, err := strconv.ParseUint(fields[flagsField], 10, 64)
	return fields[stackField], flags&forkNoExec != 0, err
}

// replaced reports whether the process has another program now.
func (im *image) replaced() (bool, error) {
	stack, forked, err := im.look()
	if err != nil || stack != im.stack || im.forked && !forked {
		return true, err
	}
	if im.memory == nil {
		return false, nil
	}
	// Nothing is at this address. That is an error while anybody has the memory.
	n, err := unix.Pread(im.memory.Int(), make([]byte, 1), 0)
	return n == 0 && err == nil, nil
}

func (im *image) close() {
	if im.memory != nil {
		im.memory.Close()
	}
}
