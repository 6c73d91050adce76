package supervisor

import (
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// This file has what the kernel asks, beyond permissions, of whoever uses a name in a
// directory like /tmp. What is opened through a descriptor it does not ask about.

// shared is an object in a directory that others may write to, and who asks for it.
type shared struct {
	dirMode                uint32
	dirOwner, owner, fsuid uint32
}

// mayCreate is may_create_in_sticky of the kernel: whether O_CREAT may open what is
// there already. level is that of fs.protected_regular or fs.protected_fifos.
func (s shared) mayCreate(level int) bool {
	switch {
	case s.dirMode&unix.S_ISVTX == 0, level == 0, s.owner == s.dirOwner, s.owner == s.fsuid:
		return true
	}
	return s.dirMode&unix.S_IWOTH == 0 && (s.dirMode&unix.S_IWGRP == 0 || level < 2)
}

// mayFollow is may_follow_link of the kernel. level is that of fs.protected_symlinks.
func (s shared) mayFollow(level int) bool {
	const worldWritable = unix.S_ISVTX | unix.S_IWOTH
	return s.dirMode&worldWritable != worldWritable || level == 0 || s.owner == s.dirOwner || s.owner == s.fsuid
}

// mayCreateIn refuses O_CREAT of what st is about in the directory dir.
func (c *Call) mayCreateIn(dir int, st *unix.Stat_t) error {
	return c.inSticky(dir, st, func(s shared) bool {
		level := 1 // what is neither of the two is always held to it
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			level = c.s.setting("protected_regular")
		case unix.S_IFIFO:
			level = c.s.setting("protected_fifos")
		}
		return s.mayCreate(level)
	})
}

// mayFollowIn refuses to follow a link in the directory dir.
func (c *Call) mayFollowIn(dir, link int) error {
	var st unix.Stat_t
	if err := unix.Fstat(link, &st); err != nil {
		return err
	}
	return c.inSticky(dir, &st, func(s shared) bool { return s.mayFollow(c.s.setting("protected_symlinks")) })
}

// inSticky asks may about what st is about, if the directory dir is sticky.
func (c *Call) inSticky(dir int, st *unix.Stat_t, may func(shared) bool) error {
	var d unix.Stat_t
	if err := unix.Fstat(dir, &d); err != nil {
		return err
	}
	if d.Mode&unix.S_ISVTX == 0 {
		return nil
	}
	id, err := c.Credentials()
	if err != nil {
		return err
	}
	s := shared{dirMode: d.Mode, dirOwner: d.Uid, owner: st.Uid, fsuid: id.FSUID}
	if c.s.anybody(s.owner) {
		s.owner = ^uint32(0) // nobody is that
	}
	if !may(s) {
		return unix.EACCES
	}
	return nil
}

// anybody reports whether a file's owner is shown as uid who may be one of many: each
// user that this process's user namespace does not have is shown as the same one, as
// which an ordinary user's sandbox shows root, too.
func (s *Supervisor) anybody(uid uint32) bool {
	text, err := sys.ReadFileAt(s.cfg.Proc.Int(), "sys/kernel/overflowuid")
	if err == nil && strings.TrimSpace(string(text)) != strconv.FormatUint(uint64(uid), 10) {
		return false
	}
	text, err = sys.ReadFileAt(s.cfg.Proc.Int(), "self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}

// setting reads the level of one of the fs.protected_ settings; what cannot be read
// protects from all that it could.
func (s *Supervisor) setting(name string) int {
	if s.settings != nil {
		return s.settings[name]
	}
	text, err := sys.ReadFileAt(s.cfg.Proc.Int(), "sys/fs/"+name)
	if err != nil {
		return most
	}
	level, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return most
	}
	return level
}

const most = 2 // level of any setting
