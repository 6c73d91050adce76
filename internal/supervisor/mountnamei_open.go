package supervisor

import (
	"errors"
	"strings"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	maxLinks = 40 // MAXSYMLINKS

	stNoSymfollow = 0x2000 // ST_NOSYMFOLLOW
)

// mountSpot is what the kernel has found.
type mountSpot struct{ *Found }

// spot implements Namei.
func (m *mountNamei) spot(c *Call, n named, o Opening) (spot, error) {
	if o.Resolve != 0 {
		return nil, unix.EINVAL // as of a kernel that does not know the bit
	}
	var f *Found
	var err error
	switch {
	case o.Has(unix.O_CREAT):
		f, err = m.toCreate(c, n, o.follows())
	case o.follows():
		f, err = m.Resolve(c, n.dir, n.name, 0)
	default:
		f, err = m.Resolve(c, n.dir, n.name, NoFollow)
	}
	if err != nil {
		return nil, err
	}
	return mountSpot{f}, nil
}

// toCreate finds what is there or can be made. A link that is the last component is
// followed here, because the directory of what it leads to is needed.
func (m *mountNamei) toCreate(c *Call, n named, follow bool) (*Found, error) {
	dir, err := m.start(c, n.dir, n.name)
	if err != nil {
		return nil, err
	}
	name := n.name
	for range maxLinks + 1 {
		f, err := m.last(c, dir, name, follow)
		dir.Close()
		if err != nil || !follow {
			return f, err
		}
		text, err := c.linkIn(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if text == "" {
			return f, nil
		}
		f.Object.Close()
		dir, name = f.Parent, text
	}
	dir.Close()
	return nil, unix.ELOOP
}

// last finds the last component of name and its directory. The trailing slash stays.
func (m *mountNamei) last(c *Call, dir *sys.FD, name string, follow bool) (*Found, error) {
	own := false
	if follow {
		_, own = ownDescriptor(c, name)
	}
	switch base := name[strings.LastIndexByte(name, '/')+1:]; {
	case own, strings.Trim(name, "/") == "", base == ".", base == "..":
		return m.from(c, dir, name, 0) // it can be made nowhere
	case base == "":
		trimmed := strings.TrimRight(name, "/")
		f, err := m.last(c, dir, trimmed, false)
		if err == nil && f.Name != "" {
			f.Name += "/"
		}
		return f, err
	}
	return m.from(c, dir, name, Create)
}

// linkIn reads the last component, if that is a link that the kernel would follow.
func (c *Call) linkIn(f *Found) (string, error) {
	if f.Object == nil || f.Parent == nil || strings.HasSuffix(f.Name, "/") {
		return "", nil
	}
	mode, err := modeOf(f.Object.Int())
	if err != nil || !isType(mode, unix.S_IFLNK) {
		return "", err
	}
	var fs unix.Statfs_t
	if err := sys.Retry(func() error { return unix.Fstatfs(f.Object.Int(), &fs) }); err != nil {
		return "", err
	}
	if fs.Flags&stNoSymfollow != 0 {
		return "", unix.ELOOP
	}
	if err := c.mayFollowIn(f.Parent.Int(), f.Object.Int()); err != nil {
		return "", err
	}
	return sys.Readlink(f.Object.Int(), "")
}

func (s mountSpot) FD() int      { return s.Object.Int() }
func (s mountSpot) DirFD() int   { return s.Parent.Int() }
func (s mountSpot) Last() string { return s.Name }
func (s mountSpot) Close()       { s.Found.Close() }

func (s mountSpot) mayMake(o Opening) error {
	if s.Entry == nil {
		return unix.EACCES
	}
	return refusal(s.Entry.Rights, o.needsToMake(), plan.ReadOnly(s.Entry.Rights), unix.EACCES)
}

// mayOpen leaves devices to the mounts.
func (s mountSpot) mayOpen(_ *Call, o Opening, mode uint32) error {
	if s.Entry == nil {
		return unix.EACCES
	}
	return refusal(s.Entry.Rights, o.needsOf(mode), plan.ReadOnly(s.Entry.Rights), unix.EACCES)
}
