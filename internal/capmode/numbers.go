package capmode

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// This file is about numbers of processes and threads in arguments. The kernel looks them
// up in the caller's own pid namespace, which may be a later one than this process's: there
// the caller has another number, and its number here may be somebody else's.

// isSelf reports whether pid is the number that the caller's process has for itself.
func (c *call) isSelf(pid int32) bool {
	if pid <= 0 {
		return false
	}
	if c.Self() != 0 {
		return int(pid) == c.p.pid
	}
	n, err := c.innermost(strconv.Itoa(c.TID())+"/status", "NStgid:")
	return err == nil && n == int(pid)
}

// thread returns this process's number for the thread of the caller's process that the
// caller knows as tid.
func (c *call) thread(tid int32) (int, bool) {
	if tid <= 0 {
		return 0, false
	}
	tasks := strconv.Itoa(c.p.pid) + "/task"
	if c.Self() != 0 {
		_, err := c.ReadProc(tasks + "/" + strconv.Itoa(int(tid)) + "/stat")
		return int(tid), err == nil
	}
	if n, err := c.innermost(strconv.Itoa(c.TID())+"/status", "NSpid:"); err == nil && n == int(tid) {
		return c.TID(), true // mostly
	}
	list, err := sys.NumbersAt(c.Proc().Int(), tasks)
	if err != nil {
		return 0, false
	}
	for _, here := range list {
		n, err := c.innermost(tasks+"/"+strconv.Itoa(here)+"/status", "NSpid:")
		if err == nil && n == int(tid) {
			return here, true
		}
	}
	return 0, false
}

// innermost returns the last number of a line of a status file: the one in the namespace
// that the process itself is in.
func (c *call) innermost(file, key string) (int, error) {
	text, err := c.ReadProc(file)
	if err != nil {
		return 0, err
	}
	return lastNumber(text, key)
}

// lastNumber returns the last number of the line of text that begins with key.
func lastNumber(text []byte, key string) (int, error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(key))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			break
		}
		return strconv.Atoi(string(fields[len(fields)-1]))
	}
	return 0, unix.ESRCH
}
