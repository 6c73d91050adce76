package capmode

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/elfdeps"
	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// executeCopy executes the program that the caller holds under number dir, in
// capability mode. The kernel reads the call's name again, from memory that can have
// changed since it was empty, and opens a script's interpreter and a program's loader
// by name. So the process must have given up executing what has a name; and what takes
// the program's place for the exec is a copy of it that has none, and that nobody can
// change any more.
func (c *call) executeCopy(dir int32, f *sys.FD, caps filecaps.Caps) supervisor.Result {
	if !c.p.table.Bound() {
		return supervisor.Errno(eCapMode)
	}
	c.Begin(supervisor.Start{Dir: f})
	if r, ok := c.asksRun(); !ok {
		return r
	}
	if err := c.Executable(f); err != nil {
		return fail(err)
	}
	program, err := copyProgram(f)
	if err != nil {
		return fail(err)
	}
	defer program.Close()
	if err := selfContained(program); err != nil {
		return fail(err)
	}
	old, err := c.image()
	if err != nil {
		return fail(err)
	}
	e := &exec{tid: c.TID(), old: old}
	cloexec, _ := c.closesOnExec(int(dir))
	t := c.soleTable()
	defer t.Unlock()
	original, err := c.unchanged(t, dir, f, caps)
	if err != nil {
		e.letGo()
		return fail(err)
	}
	s := fdtable.Slot{Caps: caps}
	if old, limited := t.Slot(int(dir)); limited {
		s = old
	}
	e.parked = []parked{{int(dir), original, s, cloexec}}
	if err := c.put(t, program, caps, int(dir), cloexec); err != nil {
		e.letGo()
		return fail(err)
	}
	return c.leave(t, dir, e)
}

// unchanged returns what the caller's number dir holds now, if that is still f with
// caps, as it was without the lock of t: file and rights must go together when they
// are put back.
func (c *call) unchanged(t *fdtable.Table, dir int32, f *sys.FD, caps filecaps.Caps) (*sys.FD, error) {
	now, has, err := c.held(t, dir)
	if err != nil {
		return nil, err
	}
	was, err := identify(f)
	if err == nil {
		var is fdtable.ID
		if is, err = identify(now); err == nil && (is != was || !has.Equal(caps)) {
			err = unix.EBUSY
		}
	}
	if err != nil {
		return nil, errors.Join(err, now.Close())
	}
	return now, nil
}

// largest is how large a program may be.
const largest = 1 << 31

// copyProgram returns a sealed copy of f, open for reading only: the kernel executes
// nothing that somebody has open for writing.
func copyProgram(f *sys.FD) (*sys.FD, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.Int(), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > largest {
		return nil, eCapMode
	}
	n, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make copy of program: %w", err)
	}
	to := sys.NewFD(n)
	defer to.Close()
	for at := int64(0); at < st.Size; {
		var n int
		err := sys.Retry(func() (err error) { n, err = unix.Sendfile(to.Int(), f.Int(), &at, int(st.Size-at)); return err })
		switch {
		case err == unix.EBADF: // open for something else than reading
			return nil, eCapMode
		case err != nil:
			return nil, err
		case n == 0:
			return nil, unix.ENOEXEC // it was cut
		}
	}
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(to.Int()), unix.F_ADD_SEALS, all); err != nil {
		return nil, fmt.Errorf("seal copy of program: %w", err)
	}
	if n, err = unix.Open(sys.FDName(to.Int()), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	return sys.NewFD(n), nil
}

// selfContained refuses programs that the kernel starts by the name of another
// file: scripts, and ELF files with a loader.
func selfContained(f *sys.FD) error {
	var head [2]byte
	if _, err := f.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return err
	}
	if string(head[:]) == "#!" {
		return eCapMode
	}
	static, err := elfdeps.Static(io.NewSectionReader(f, 0, 64<<10))
	switch {
	case err != nil:
		return unix.ENOEXEC
	case !static:
		return eCapMode
	}
	return nil
}
