package launch

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// inherited is a descriptor that the program keeps, under the same number.
type inherited struct {
	Num    int
	Mode   uint32      // st_mode
	Flags  int         // open file status flags
	Path   string      // the host's name for a directory, to clone its mount by
	ID     plan.ID     // what a directory must still be then
	Rights *rights.Set // nil for everything the descriptor can do
}

func (i inherited) isDir() bool { return i.Mode&unix.S_IFMT == unix.S_IFDIR }

// accessRights are the rights that an open file's access mode already says.
var accessRights = map[int]rights.Set{
	unix.O_RDONLY: rights.Of(rights.Read),
	unix.O_WRONLY: rights.Of(rights.Write),
	unix.O_RDWR:   rights.Of(rights.Read, rights.Write),
}

// inherit finds out what the program will inherit. 0, 1 and 2 are kept without
// being named, except that a directory among them must be: through it the
// program could climb out of the sandbox.
func inherit(named []policy.FD) ([]inherited, error) {
	var out []inherited
	seen := map[int]bool{}
	for _, fd := range named {
		if seen[fd.Num] {
			return nil, refuse("%s: descriptor %d is named twice", fd.Flag, fd.Num)
		}
		seen[fd.Num] = true
		in, err := inspect(fd.Num)
		if err != nil {
			return nil, refuseErr(err, "%s: descriptor %d: %v; open it for capsicum, for example %d<file", fd.Flag, fd.Num, err, fd.Num)
		}
		if fd.Rights != nil {
			if err := narrow(&in, fd); err != nil {
				return nil, err
			}
		}
		out = append(out, in)
	}
	for num := range 3 {
		if seen[num] {
			continue
		}
		in, err := inspect(num)
		if err == unix.EBADF {
			continue
		}
		if err != nil {
			return nil, refuseErr(err, "descriptor %d: %v", num, err)
		}
		if in.isDir() {
			return nil, refuse("descriptor %d is a directory: name it with --fd %d to keep it, or redirect it", num, num)
		}
		out = append(out, in)
	}
	return out, nil
}

// held describes the inherited descriptors whose rights were limited and that
// no mount of their own limits: metadata can be changed through any descriptor.
func held(fds []inherited) []plan.Entry {
	var out []plan.Entry
	for _, in := range fds {
		if in.Rights != nil && !in.isDir() {
			// Every open file can be asked what it is; programs cannot do without.
			out = append(out, plan.Entry{Kind: plan.File, Rights: in.Rights.Union(rights.Of(rights.Fstat)), ID: in.ID, Mode: in.Mode,
				Origin: []string{fmt.Sprintf("--fd %d", in.Num)}})
		}
	}
	return out
}

// inspect reads what a descriptor is.
func inspect(num int) (inherited, error) {
	in := inherited{Num: num}
	flags, err := unix.FcntlInt(uintptr(num), unix.F_GETFL, 0)
	if err != nil {
		return in, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(num, &st); err != nil {
		return in, err
	}
	in.Flags, in.Mode, in.ID = flags, st.Mode, plan.ID{Dev: st.Dev, Ino: st.Ino}
	if err := socketAllowed(num, st.Mode); err != nil {
		return in, err
	}
	if in.isDir() {
		if in.Path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", num)); err != nil {
			return in, err
		}
	}
	return in, nil
}

// socketAllowed refuses a Unix socket through which nobody would be asked: a
// datagram socket could send to any socket that has a name, and with it
// descriptors; one that is not connected could be connected to any where the
// supervisor cannot carry that out.
func socketAllowed(num int, mode uint32) error {
	if mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil
	}
	domain, err := unix.GetsockoptInt(num, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return err
	}
	kind, err := unix.GetsockoptInt(num, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM && kind != unix.SOCK_SEQPACKET {
		return fmt.Errorf("a Unix datagram socket reaches any socket with a name: %w", unix.EPROTONOSUPPORT)
	}
	if _, err := unix.Getpeername(num); err != nil && !sys.CanCopyDescriptors() {
		return fmt.Errorf("an unconnected Unix socket reaches any socket with a name where pidfd_getfd is refused: %w", err)
	}
	return nil
}

// narrow limits a descriptor to the rights asked for where the kernel can say
// them: a regular file is opened again with a narrower access mode, at the same
// offset. What it cannot say refuses the start.
func narrow(in *inherited, fd policy.FD) error {
	in.Rights = fd.Rights
	has, known := accessRights[in.Flags&unix.O_ACCMODE]
	if !known || in.isDir() {
		return nil // a directory becomes a mount of its own
	}
	access := rights.Of(rights.Read, rights.Write)
	want := *fd.Rights
	surplus := has.Minus(want)
	if !fitsAccess(want) {
		return refuse("%s: the kernel limits an open descriptor to reading or writing, not to %s; add the rights read, seek, fstat, mmap_r, event, fcntl, ioctl, fsync, ftruncate and flock as they apply", fd.Flag, want)
	}
	if surplus.IsEmpty() {
		return nil
	}
	if in.Mode&unix.S_IFMT != unix.S_IFREG {
		return refuse("%s: descriptor %d is open for %s and is not a regular file, so it cannot be limited to %s; open it with that access only", fd.Flag, fd.Num, has, want)
	}
	return reopen(in, want, access, fd)
}

// fitsAccess reports whether set is what an open file with some access mode
// gives anyway: the kernel cannot take fstat or seek away from a reader.
func fitsAccess(set rights.Set) bool {
	return set.IsSet(rights.Read) || set.IsSet(rights.Write)
}

// reopen puts a narrower open file in the slot.
func reopen(in *inherited, want, access rights.Set, fd policy.FD) error {
	mode := unix.O_RDONLY
	switch {
	case want.Contains(access):
		mode = unix.O_RDWR
	case want.IsSet(rights.Write):
		mode = unix.O_WRONLY
	}
	keep := in.Flags & (unix.O_APPEND | unix.O_NONBLOCK | unix.O_SYNC | unix.O_DIRECT)
	name := fmt.Sprintf("/proc/self/fd/%d", fd.Num)
	narrower, err := unix.Open(name, mode|keep|unix.O_CLOEXEC, 0)
	if err != nil {
		return refuseErr(err, "%s: reopen descriptor %d for %s: %v", fd.Flag, fd.Num, want, err)
	}
	defer unix.Close(narrower)
	if offset, err := unix.Seek(fd.Num, 0, unix.SEEK_CUR); err == nil {
		if _, err := unix.Seek(narrower, offset, unix.SEEK_SET); err != nil {
			return refuseErr(err, "%s: seek in descriptor %d: %v", fd.Flag, fd.Num, err)
		}
	}
	if err := unix.Dup3(narrower, fd.Num, 0); err != nil {
		return refuseErr(err, "%s: replace descriptor %d: %v", fd.Flag, fd.Num, err)
	}
	in.Flags = mode | keep
	return nil
}

// allowInherited lets the program open again, through /dev/stdin and
// /proc/self/fd, what it already holds, with no more than it holds.
func allowInherited(rules *landlock.Ruleset, fds []inherited) error {
	for _, in := range fds {
		switch in.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFDIR:
		default:
			continue // pipes and sockets have no place in a file hierarchy
		}
		set, known := accessRights[in.Flags&unix.O_ACCMODE]
		if !known {
			continue
		}
		if in.isDir() && in.Rights != nil {
			set = *in.Rights
		}
		access := landlock.ForRights(set)
		if in.Mode&unix.S_IFMT == unix.S_IFCHR {
			access |= landlock.IoctlDev
		}
		// A descriptor Landlock cannot tie to a path needs no rule either.
		if err := rules.Allow(in.Num, in.isDir(), access); err != nil && !errors.Is(err, unix.EBADFD) {
			return fmt.Errorf("descriptor %d: %w", in.Num, err)
		}
	}
	return nil
}
