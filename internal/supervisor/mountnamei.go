package supervisor

import (
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// mountNamei asks the kernel: under the namespaces engine this process has the
// sandbox's root, and each entry is a mount.
type mountNamei struct{ s *Supervisor }

// EntryOf tells the entry by the mount the object was reached through. No name
// is looked at.
func (m *mountNamei) EntryOf(fd *sys.FD) (*plan.Entry, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd.Int(), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return nil, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return nil, unix.EACCES
	}
	if e := m.s.cfg.Mounts[st.Mnt_id]; e != nil {
		return e, nil
	}
	return m.s.heldEntry(fd.Int())
}

// Resolve looks path up as the caller. Magic links of /proc are not followed:
// they would mean the supervisor's descriptors. The one form programs use to
// name their own descriptors is understood.
func (m *mountNamei) Resolve(c *Call, dirfd int32, name string, how Walk) (*Found, error) {
	dir, err := m.start(c, dirfd, name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return m.from(c, dir, name, how)
}

// start opens the directory that name begins in, if it needs one.
func (m *mountNamei) start(c *Call, dirfd int32, name string) (*sys.FD, error) {
	switch {
	case name == "":
		return nil, unix.ENOENT
	case len(name) >= PathMax:
		return nil, unix.ENAMETOOLONG
	case name[0] == '/':
		return nil, nil
	}
	return c.Dir(dirfd)
}

// from is Resolve from a directory.
func (m *mountNamei) from(c *Call, dir *sys.FD, name string, how Walk) (*Found, error) {
	if fd, ok := ownDescriptor(c, name); ok && how == 0 {
		return m.descriptor(c, fd)
	}
	f := new(Found)
	err := c.As(func() error {
		if how&Create != 0 {
			return m.parent(f, dir, name)
		}
		flags := uint64(unix.O_PATH)
		if how&NoFollow != 0 {
			flags |= unix.O_NOFOLLOW
		}
		n, err := sys.Open(dir.Int(), name, flags, 0, unix.RESOLVE_NO_MAGICLINKS)
		f.Object = sys.NewFD(n)
		return err
	})
	if err == nil {
		err = m.judge(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// parent opens the directory of name's last component, and that itself if it
// exists.
func (m *mountNamei) parent(f *Found, dir *sys.FD, name string) error {
	trimmed := strings.TrimRight(name, "/")
	base := trimmed[strings.LastIndexByte(trimmed, '/')+1:]
	if base == "" || base == "." || base == ".." {
		return unix.EEXIST
	}
	// With the ".", a link before it is in the middle for the kernel, too, which has more
	// rules for the last component.
	above := strings.TrimSuffix(trimmed, base) + "."
	n, err := sys.Open(dir.Int(), above, unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return err
	}
	f.Parent, f.Name = sys.NewFD(n), base
	n, err = sys.OpenName(n, base)
	switch {
	case err == nil:
		f.Object = sys.NewFD(n)
	case err != unix.ENOENT:
		return err
	}
	return nil
}

// judge finds the entry, and refuses what procfs shows of the supervisor
// itself when a name goes through "self".
func (m *mountNamei) judge(f *Found) (err error) {
	fd := f.Object
	if fd == nil {
		fd = f.Parent
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd.Int(), &fs); err != nil {
		return err
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		return unix.EACCES
	}
	f.Entry, err = m.EntryOf(fd)
	return err
}

// descriptor is the object behind one of the caller's descriptors.
func (m *mountNamei) descriptor(c *Call, fd int32) (*Found, error) {
	o, err := c.openProc("fd/" + strconv.Itoa(int(fd)))
	if err == unix.EBADF {
		err = unix.ENOENT
	}
	if err != nil {
		return nil, err
	}
	f := &Found{Object: o}
	if f.Entry, err = m.EntryOf(o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ownDescriptor understands the names C libraries use for the caller's own
// descriptors.
func ownDescriptor(c *Call, name string) (int32, bool) {
	dir, base := path.Split(name)
	n, err := strconv.ParseUint(base, 10, 31)
	if err != nil {
		return 0, false
	}
	switch dir {
	case "/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/", "/proc/" + strconv.Itoa(c.TID()) + "/fd/":
		return int32(n), true
	}
	return 0, false
}
