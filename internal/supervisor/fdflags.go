package supervisor

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// access is what a descriptor may be used for.
type access struct{ read, write bool }

// accessOf tells it by a descriptor's flags.
func accessOf(flags int) access {
	mode := flags & unix.O_ACCMODE
	switch {
	case flags&unix.O_PATH != 0:
		return access{}
	case mode == unix.O_RDWR:
		return access{true, true}
	}
	return access{read: mode == unix.O_RDONLY, write: mode == unix.O_WRONLY}
}

// fdFlags returns the flags of the caller's descriptor num, by which object was
// reached before. Another thread may have put another file in its place since,
// one that is open for more: flags are believed only of the same object.
func (c *Call) fdFlags(num int32, object int) (int, error) {
	f, err := c.DupFull(num)
	if errors.Is(err, errNoGetfd) {
		flags, err := infoFlags(c.Proc(), strconv.Itoa(c.TID()), num, object)
		if err == nil {
			err = c.Check()
		}
		return flags, err
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var had, has unix.Stat_t
	if err := unix.Fstat(object, &had); err != nil {
		return 0, err
	}
	if err := unix.Fstat(f.Int(), &has); err != nil {
		return 0, err
	}
	if had.Dev != has.Dev || had.Ino != has.Ino {
		return 0, unix.EBADF
	}
	return unix.FcntlInt(uintptr(f.Int()), unix.F_GETFL, 0)
}

// infoFlags is fdFlags where descriptors cannot be copied. The kernel writes
// the text about one open file at once; mount and inode tell which.
func infoFlags(proc *sys.FD, thread string, num int32, object int) (int, error) {
	theirs, err := readInfo(proc, thread, int(num))
	if err != nil {
		return 0, err
	}
	ours, err := readInfo(proc, "self", object)
	if err != nil {
		return 0, err
	}
	if theirs.mount != ours.mount || theirs.inode != ours.inode {
		return 0, unix.EBADF
	}
	var fs unix.Statfs_t
	if err := sys.Retry(func() error { return unix.Fstatfs(object, &fs) }); err != nil {
		return 0, err
	}
	if fs.Type == unix.BTRFS_SUPER_MAGIC {
		theirs.flags |= unix.O_ACCMODE // its subvolumes share a mount and inode numbers: nobody knows
	}
	return theirs.flags, nil
}

// SlotFlags returns the flags of the caller's descriptor fd, as proc tells them: those
// of the open file, and whether the number is closed on exec.
func (c *Call) SlotFlags(fd int) (int, error) {
	info, err := readInfo(c.Proc(), strconv.Itoa(c.TID()), fd)
	return info.flags, err
}

// fdInfo is what /proc/PID/fdinfo says about a descriptor.
type fdInfo struct {
	flags        int
	mount, inode string
}

func readInfo(proc *sys.FD, pid string, num int) (fdInfo, error) {
	text, err := readProc(proc, pid+"/fdinfo/"+strconv.Itoa(num))
	if err == unix.ESRCH {
		err = unix.EBADF
	}
	if err != nil {
		return fdInfo{}, err
	}
	return parseInfo(text)
}

// parseInfo wants every field: what is not said of two files is not the same.
func parseInfo(text []byte) (info fdInfo, err error) {
	flags := ""
	for _, field := range []struct {
		key string
		to  *string
	}{{"flags:", &flags}, {"mnt_id:", &info.mount}, {"ino:", &info.inode}} {
		for line := range bytes.Lines(text) {
			if v, ok := bytes.CutPrefix(line, []byte(field.key)); ok {
				*field.to = string(bytes.TrimSpace(v))
				break // lines that follow are the file's own and may say anything
			}
		}
		if *field.to == "" {
			return info, unix.EACCES
		}
	}
	n, err := strconv.ParseUint(flags, 8, 31)
	if err != nil {
		return info, unix.EACCES
	}
	info.flags = int(n)
	return info, nil
}
