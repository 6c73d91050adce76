// Package filecaps holds what a descriptor slot carries in Capsicum: its rights,
// its list of ioctl commands and its mask of fcntl commands, which always travel
// together and only ever shrink.
package filecaps

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// The errnos of the Linux port of Capsicum.
const (
	ECAPMODE    = unix.Errno(134)
	ENOTCAPABLE = unix.Errno(135)
)

// MaxIoctls is the longest list of ioctl commands.
const MaxIoctls = 256

// Caps is what one slot carries. It is a value; the list in it is never changed.
// The zero Caps permits nothing.
type Caps struct {
	Rights rights.Set
	Fcntls rights.Fcntls
	Ioctls []uint32 // in the order given; means nothing unless Listed
	Listed bool     // only the commands in Ioctls, else every command
}

// Full returns what a descriptor has that was never limited.
func Full() Caps { return Caps{Rights: rights.All(), Fcntls: rights.FcntlAll} }

// IsFull reports whether c is not limited in any way. One that is limited in any
// is a directory that confines lookups to what is beneath it.
func (c Caps) IsFull() bool { return c.Equal(Full()) }

// Equal reports whether c and d permit the same.
func (c Caps) Equal(d Caps) bool {
	return c.Rights == d.Rights && c.Fcntls == d.Fcntls && c.Listed == d.Listed && (!c.Listed || slices.Equal(c.Ioctls, d.Ioctls))
}

// LimitRights is cap_rights_limit(2): EINVAL for rights that are none,
// ENOTCAPABLE for rights that c has not. A descriptor without [rights.Ioctl] or
// [rights.Fcntl] loses its list or mask for good.
func (c Caps) LimitRights(s rights.Set) (Caps, error) {
	if !s.IsValid() {
		return c, unix.EINVAL
	}
	if !c.Rights.Contains(s) {
		return c, ENOTCAPABLE
	}
	c.Rights = s
	if !s.IsSet(rights.Ioctl) {
		c.Ioctls, c.Listed = nil, true
	}
	if !s.IsSet(rights.Fcntl) {
		c.Fcntls = 0
	}
	return c, nil
}

// LimitIoctls is cap_ioctls_limit(2): EINVAL for more than [MaxIoctls] commands,
// ENOTCAPABLE for one that is not permitted, or for more than there are.
func (c Caps) LimitIoctls(cmds []uint32) (Caps, error) {
	if len(cmds) > MaxIoctls {
		return c, unix.EINVAL
	}
	if c.Listed {
		if len(cmds) > len(c.Ioctls) {
			return c, ENOTCAPABLE
		}
		for _, cmd := range cmds {
			if !slices.Contains(c.Ioctls, cmd) {
				return c, ENOTCAPABLE
			}
		}
	}
	c.Ioctls, c.Listed = slices.Clone(cmds), true
	return c, nil
}

// LimitFcntls is cap_fcntls_limit(2): EINVAL for a mask of other commands,
// ENOTCAPABLE for commands that are not permitted.
func (c Caps) LimitFcntls(mask rights.Fcntls) (Caps, error) {
	if mask&^rights.FcntlAll != 0 {
		return c, unix.EINVAL
	}
	if mask&^c.Fcntls != 0 {
		return c, ENOTCAPABLE
	}
	c.Fcntls = mask
	return c, nil
}

// AllowsIoctl reports whether command cmd is permitted: the list decides, which is
// empty without [rights.Ioctl].
func (c Caps) AllowsIoctl(cmd uint32) bool {
	return c.Rights.IsSet(rights.Ioctl) && (!c.Listed || slices.Contains(c.Ioctls, cmd))
}

// AllowsFcntl reports whether command cmd, one that the mask governs, is
// permitted.
func (c Caps) AllowsFcntl(cmd int) bool {
	return cmd >= 0 && cmd < 32 && c.Rights.IsSet(rights.Fcntl) && c.Fcntls&(1<<cmd) != 0
}

// Contains reports whether c permits everything that d does.
func (c Caps) Contains(d Caps) bool {
	if !c.Rights.Contains(d.Rights) || d.Fcntls&^c.Fcntls != 0 {
		return false
	}
	if !c.Listed {
		return true
	}
	return d.Listed && !slices.ContainsFunc(d.Ioctls, func(cmd uint32) bool { return !slices.Contains(c.Ioctls, cmd) })
}

// Intersect returns what both c and d permit.
func (c Caps) Intersect(d Caps) Caps {
	c.Rights.Intersect(d.Rights)
	c.Fcntls &= d.Fcntls
	switch {
	case !c.Listed:
		c.Ioctls, c.Listed = d.Ioctls, d.Listed
	case d.Listed:
		c.Ioctls = slices.DeleteFunc(slices.Clone(c.Ioctls), func(cmd uint32) bool { return !slices.Contains(d.Ioctls, cmd) })
	}
	return c
}

// OnlyMapsToRead reports whether c permits mapping, and nothing for which a file has
// to be open for writing, nor locks, which belong to the open file.
func (c Caps) OnlyMapsToRead() bool {
	for _, r := range []rights.Right{rights.Write, rights.MmapW, rights.Ftruncate, rights.Flock} {
		if c.Rights.IsSet(r) {
			return false
		}
	}
	return c.Rights.IsSet(rights.MmapR)
}
