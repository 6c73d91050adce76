package capmode

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// place is where a name is looked up: in a copy of the caller's directory, or in
// its root for an absolute name outside capability mode.
type place struct {
	*sys.FD        // nil where only the run's handler knows
	resolve uint64 // flags of openat2
	caps    filecaps.Caps
	mode    bool // capability mode
	global  bool // what is found has nothing to do with the directory
	free    bool // nor is anything refused: outside capability mode, and the directory is not limited
}

// start finds where the caller looks up name beneath dir. The directory must have
// need, beside the right to look up.
func (c *call) start(dir int32, name string, need rights.Set) (*place, error) {
	mode := c.p.table.Mode()
	if dir == unix.AT_FDCWD {
		if mode {
			return nil, eCapMode
		}
		return c.globalPlace(name)
	}
	t := c.table()
	f, caps, err := c.held(t, dir)
	t.Unlock()
	absolute := strings.HasPrefix(name, "/")
	switch {
	case err == unix.EBADF && absolute && !mode:
		return c.globalPlace(name)
	case err != nil:
		return nil, err
	case absolute && !mode && !caps.IsFull():
		f.Close()
		return c.globalPlace(name)
	case caps.IsFull() && !mode:
		return &place{FD: f, caps: caps, resolve: unix.RESOLVE_NO_MAGICLINKS, global: true, free: true}, nil
	}
	p := &place{FD: f, resolve: unix.RESOLVE_BENEATH, caps: caps, mode: mode}
	switch {
	case !caps.Rights.Contains(need) || !caps.Rights.IsSet(rights.Lookup), absolute:
		p.Close()
		return nil, eNotCapable
	case name == "":
		p.Close()
		return nil, unix.ENOENT
	}
	return p, nil // what is no directory the kernel says: every name is looked up in it
}

// free lets a call go on whose directories are in the global namespace, outside
// capability mode: nothing is refused there, and nothing need be looked at. Their numbers
// are pinned before the table is unlocked. Who has found the same without the lock must
// come here again: a directory with fewer rights may be there since.
func (c *call) free(dirs ...int32) (supervisor.Result, bool) {
	if c.p.table.Mode() {
		return supervisor.Result{}, false
	}
	t := c.table()
	defer t.Unlock()
	p := only(none)
	for _, dir := range dirs {
		if dir == unix.AT_FDCWD {
			continue
		}
		if _, limited := t.Slot(int(dir)); limited {
			return supervisor.Result{}, false
		}
		p.add(int(dir))
	}
	return c.goOn(p, "outside capability mode, beneath directories that are not limited, nothing is refused"), true
}

// globalPlace is the caller's root or working directory, outside capability mode,
// for a call that has another name beneath a limited directory. Links of /proc,
// which mean the caller's own, lead nowhere.
func (c *call) globalPlace(name string) (*place, error) {
	if c.WalksPlan() {
		return &place{caps: filecaps.Full(), global: true}, nil
	}
	link := "cwd"
	if strings.HasPrefix(name, "/") {
		link = "root"
	}
	f, err := c.OpenProc(link)
	if err != nil {
		return nil, err
	}
	p := &place{FD: f, caps: filecaps.Full(), global: true}
	if link == "root" {
		p.resolve = unix.RESOLVE_IN_ROOT
	} else {
		p.resolve = unix.RESOLVE_NO_MAGICLINKS
	}
	return p, nil
}

// reach opens what name means, without access to it, as the caller.
func (p *place) reach(c *call, name string, flags uint64) (*sys.FD, error) {
	if strings.ContainsRune(name, 0) {
		return nil, unix.EINVAL
	}
	var n int
	err := c.As(func() (err error) {
		n, err = sys.Open(p.Int(), name, unix.O_PATH|flags, 0, p.resolve)
		return err
	})
	if err != nil {
		return nil, p.leaves(err)
	}
	return ofNoProcess(sys.NewFD(n))
}

// ofNoProcess closes f and refuses it if it is a process's in the proc file system.
// Who looks a name up here is the supervisor: /proc/self is its own, and it may open
// its own memory.
func ofNoProcess(f *sys.FD) (*sys.FD, error) {
	var st unix.Statfs_t
	err := sys.Retry(func() error { return unix.Fstatfs(f.Int(), &st) })
	if err == nil && st.Type != unix.PROC_SUPER_MAGIC {
		return f, nil
	}
	path := ""
	if err == nil {
		path, err = os.Readlink(sys.FDName(f.Int()))
	}
	if err == nil && (!strings.HasPrefix(path, "/") || slices.ContainsFunc(strings.Split(path, "/"), isProcess)) {
		err = eNotCapable
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// isProcess reports whether a name in the proc file system is a process's, or of a link to
// this one's.
func isProcess(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil || name == "self" || name == "thread-self"
}

// leaves turns the errno for a name that leads out of its directory into
// Capsicum's.
func (p *place) leaves(err error) error {
	if errors.Is(err, unix.EXDEV) && !p.global {
		return eNotCapable
	}
	return err
}

// object is what name means: a symbolic link itself only if none is followed.
func (p *place) object(c *call, name string, follow bool) (*sys.FD, error) {
	if follow {
		return p.reach(c, name, 0)
	}
	return p.reach(c, name, unix.O_NOFOLLOW)
}

// endsInParent reports whether the last component of name is "..".
func endsInParent(name string) bool {
	trimmed := strings.TrimRight(name, "/")
	return trimmed[strings.LastIndexByte(trimmed, '/')+1:] == ".."
}

// parent opens the directory that the last component of name is in, and returns
// that component, with the slashes that follow it.
func (p *place) parent(c *call, name string) (*sys.FD, string, error) {
	if name == "" {
		return nil, "", unix.ENOENT
	}
	trimmed := strings.TrimRight(name, "/")
	if trimmed == "" {
		dir, err := p.object(c, "/", true)
		return dir, ".", err
	}
	at := strings.LastIndexByte(trimmed, '/') + 1
	dir, last := name[:at], name[at:]
	if endsInParent(name) {
		// The kernel refuses to do anything to this name, but says so only of one that
		// can be reached.
		f, err := p.object(c, name, true)
		if err != nil {
			return nil, "", err
		}
		return f, ".", nil
	}
	if dir == "" {
		dir = "."
	}
	f, err := p.reach(c, dir, unix.O_DIRECTORY)
	return f, last, err
}
