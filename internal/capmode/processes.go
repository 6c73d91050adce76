package capmode

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// processAnswers answers the calls that make processes, turn them into other
// programs, and signal them.
func (w *Warden) processAnswers() []answer {
	return []answer{
		{[]string{"fork", "vfork"}, func(c *call) supervisor.Result { return c.fork(false) }},
		{[]string{"clone"}, func(c *call) supervisor.Result { return c.fork(c.Arg(0)&unix.CLONE_FILES != 0) }},
		{[]string{"execve"}, func(c *call) supervisor.Result { return c.execute(-1) }},
		{[]string{"execveat"}, executeAt},
		{[]string{"kill", "tkill", "rt_sigqueueinfo"}, func(c *call) supervisor.Result { return c.signals(c.Int(0)) }},
		{[]string{"tgkill", "rt_tgsigqueueinfo"}, func(c *call) supervisor.Result { return c.signals(c.Int(0)) }},
		{[]string{"pidfd_open"}, func(c *call) supervisor.Result { return c.signals(c.Int(0)) }},
	}
}

// fork lets a fork go on. The child is told by its label, which it gets from its
// parent.
func (c *call) fork(share bool) supervisor.Result {
	label := c.w.tables.Fork(c.p.table, share)
	if err := writeLabel(c.Call, c.p.pid, label); err != nil {
		return fail(err)
	}
	return supervisor.Continue("only registers were looked at; what happens to the table meanwhile is noted for the child too")
}

// signals lets a process in capability mode signal, and open, only itself.
func (c *call) signals(id int32) supervisor.Result {
	if c.p.table.Mode() && int(id) != c.p.pid && !(c.Name == "tkill" && c.ownThread(int(id))) {
		return supervisor.Errno(eCapMode)
	}
	return supervisor.Continue("only registers were looked at, and who asks")
}

func (c *call) ownThread(tid int) bool {
	if tid <= 0 {
		return false
	}
	_, err := c.ReadProc(strconv.Itoa(c.p.pid) + "/task/" + strconv.Itoa(tid) + "/stat")
	return err == nil
}

// executeAt is fexecve and its relatives. In capability mode what is executed is
// the descriptor itself, and must need nothing that has a name: an interpreter or a
// loader would be looked up in the global namespace.
func executeAt(c *call) supervisor.Result {
	dir, flags := c.Fd(0), uint32(c.Int(4))
	name, err := c.Path(1)
	if err != nil {
		return fail(err)
	}
	strict := c.p.table.Mode()
	switch {
	case strict && dir == unix.AT_FDCWD:
		return supervisor.Errno(eCapMode)
	case dir == unix.AT_FDCWD:
		return c.execute(-1)
	}
	t := c.table()
	f, caps, err := c.held(t, dir)
	t.Unlock()
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if caps.IsFull() && !strict {
		return c.execute(dir)
	}
	if name != "" {
		return supervisor.Errno(eNotCapable)
	}
	switch {
	case flags&unix.AT_EMPTY_PATH == 0:
		return supervisor.Errno(unix.ENOENT)
	case !caps.Rights.IsSet(rights.Fexecve):
		return supervisor.Errno(eNotCapable)
	}
	if strict {
		if err := selfContained(f); err != nil {
			return fail(err)
		}
	}
	return c.execute(dir)
}

// selfContained refuses programs that the kernel starts by the name of another
// file: scripts, and ELF files with a loader.
func selfContained(f *sys.FD) error {
	head := make([]byte, 64<<10)
	var n int
	err := sys.Retry(func() (err error) { n, err = unix.Pread(f.Int(), head, 0); return })
	switch {
	case err == unix.EBADF: // open for something else than reading
		return eCapMode
	case err != nil:
		return err
	case static(head[:n]):
		return nil
	case !bytes.HasPrefix(head, []byte("#!")) && !bytes.HasPrefix(head, []byte("\x7fELF")):
		return unix.ENOEXEC
	}
	return eCapMode
}
