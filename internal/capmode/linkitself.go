package capmode

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// This file is about linkat of a descriptor itself, by an empty name. The kernel lets do so
// who has CAP_DAC_READ_SEARCH, and since Linux 6.10 who has the very credentials that the
// file was opened with: not equal ones, but the same in its memory. A supervisor has others
// than the caller, and the same for all whom it opens files for.

// startOld is [call.start] of the first of two names, which may be the descriptor itself.
func (c *call) startOld(name string, need rights.Set) (*place, error) {
	if name != "" || c.Name != "linkat" || !c.flag(4, unix.AT_EMPTY_PATH) || c.Fd(0) == unix.AT_FDCWD {
		return c.start(c.Fd(0), name, need)
	}
	t := c.table()
	f, caps, err := c.held(t, c.Fd(0))
	t.Unlock()
	if err != nil {
		return nil, err
	}
	p := &place{FD: f, caps: caps, mode: c.p.table.Mode()}
	if caps.IsFull() && !p.mode {
		p.global, p.free = true, true
		return p, nil
	}
	if !caps.Rights.Contains(need) {
		p.Close()
		return nil, eNotCapable
	}
	return p, nil
}

// linkItself gives the file a name, as the caller, whose identity this thread has. If it
// has no capability the kernel refuses what was opened by a process, and lets pass what was
// opened by this one, for whoever asked. Of that only what may be read and written and has
// no name yet (O_TMPFILE) gets one: anything else could be opened by it for more than by
// who was given the descriptor.
func (p *place) linkItself(dir int, last string) error {
	mayAny, err := searchesAll()
	if err != nil {
		return err
	}
	if !mayAny {
		var st unix.Stat_t
		if err := unix.Fstat(p.Int(), &st); err != nil {
			return err
		}
		mode, err := unix.FcntlInt(uintptr(p.Int()), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		if st.Nlink != 0 || mode&unix.O_ACCMODE != unix.O_RDWR {
			return unix.ENOENT // as the kernel says
		}
	}
	return unix.Linkat(p.Int(), "", dir, last, unix.AT_EMPTY_PATH)
}

// searchesAll reports whether this thread has CAP_DAC_READ_SEARCH.
func searchesAll() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false, err
	}
	return sets[0].Effective&(1<<unix.CAP_DAC_READ_SEARCH) != 0, nil
}
