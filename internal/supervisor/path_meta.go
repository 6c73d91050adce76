package supervisor

import (
	"encoding/binary"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

const linkFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH

func metaHandlers() []answer {
	return []answer{
		{"chmod", onObject(at{cwd, 0}, followed, chmods(1))},
		{"fchmodat", onObject(at{0, 1}, followed, chmods(2))},
		{"fchmodat2", known(3, linkFlags, onObject(at{0, 1}, atFlags(3), chmods(2)))},
		{"chown", onObject(at{cwd, 0}, followed, chowns(1))},
		{"lchown", onObject(at{cwd, 0}, notFollowed, chowns(1))},
		{"fchownat", known(4, linkFlags, onObject(at{0, 1}, atFlags(4), chowns(2)))},
		{"utime", timed(at{cwd, 0}, 1, noFlags, secondsPair)},
		{"utimes", timed(at{cwd, 0}, 1, noFlags, Timevals)},
		{"futimesat", timed(at{0, 1}, 2, noFlags, Timevals)},
		{"utimensat", known(3, linkFlags, timed(at{0, 1}, 2, atFlags(3), Timespecs))},
		{"truncate", onObject(at{cwd, 0}, followed, truncates)},
		{"inotify_add_watch", watches},
	}
}

// mayChange asks for a right on an object's metadata.
func mayChange(o object, right rights.Right) error {
	if o.Entry != nil && o.Entry.Kind == plan.Proc {
		return unix.EPERM
	}
	if o.Outside && unconnectedToNames(o.fd) {
		return nil
	}
	return lacks(&o.Place, rights.Of(right), unix.EPERM)
}

// unconnectedToNames reports whether fd is a socket itself, not the file that it is bound
// to: no grant is about those, and fchmod changes them unasked. Process descriptors are
// made of them.
func unconnectedToNames(fd int) bool {
	var st unix.Statfs_t
	err := sys.Retry(func() error { return unix.Fstatfs(fd, &st) })
	return err == nil && uint32(st.Type) == unix.SOCKFS_MAGIC
}

func chmods(mode int) func(*Call, object) error {
	return func(c *Call, o object) error {
		if err := mayChange(o, rights.Fchmod); err != nil {
			return err
		}
		return c.chmod(o.fd, uint32(c.Int(mode)))
	}
}

func chowns(ids int) func(*Call, object) error {
	return func(c *Call, o object) error {
		if err := mayChange(o, rights.Fchown); err != nil {
			return err
		}
		return c.chown(o.fd, c.Int(ids), c.Int(ids+1))
	}
}

func noFlags(*Call) (uint64, bool) { return 0, true }

// timed sets an object's times. A null name with a descriptor means the
// descriptor's object.
func timed(a at, times int, flags func(*Call) (uint64, bool), read func(*Call, uint64) ([]unix.Timespec, error)) Handler {
	set := func(c *Call, o object) error {
		ts, err := read(c, c.Arg(times))
		if err != nil {
			return err
		}
		if ts[0].Nsec == unix.UTIME_OMIT && ts[1].Nsec == unix.UTIME_OMIT {
			return nil
		}
		if err := mayChange(o, rights.Futimes); err != nil {
			return err
		}
		return c.As(func() error {
			return unix.UtimesNanoAt(o.fd, "", ts, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
		})
	}
	byName := onObject(a, flags, set)
	return func(c *Call) Result {
		if a.dir == cwd || c.Arg(a.name) != 0 {
			return byName(c)
		}
		if bits, _ := flags(c); bits != 0 {
			return Errno(unix.EINVAL)
		}
		o, err := a.itself(c).descriptor(c)
		if err != nil {
			return Fail(err)
		}
		defer o.close()
		return Fail(set(c, o))
	}
}

// now is what a null pointer to times means.
func now() []unix.Timespec {
	return []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
}

func words(c *Call, addr uint64, n int) ([]int64, error) {
	b, err := c.Bytes(addr, 8*n)
	if err != nil {
		return nil, err
	}
	w := make([]int64, n)
	for i := range w {
		w[i] = int64(binary.NativeEndian.Uint64(b[8*i:]))
	}
	return w, nil
}

func secondsPair(c *Call, addr uint64) ([]unix.Timespec, error) {
	if addr == 0 {
		return now(), nil
	}
	w, err := words(c, addr, 2)
	if err != nil {
		return nil, err
	}
	return []unix.Timespec{{Sec: w[0]}, {Sec: w[1]}}, nil
}

// Timevals copies the two times of utimes and futimesat, which 0 makes now.
func Timevals(c *Call, addr uint64) ([]unix.Timespec, error) {
	if addr == 0 {
		return now(), nil
	}
	w, err := words(c, addr, 4)
	if err != nil {
		return nil, err
	}
	if w[1] < 0 || w[1] >= 1e6 || w[3] < 0 || w[3] >= 1e6 {
		return nil, unix.EINVAL
	}
	return []unix.Timespec{{Sec: w[0], Nsec: 1000 * w[1]}, {Sec: w[2], Nsec: 1000 * w[3]}}, nil
}

// Timespecs copies the two times of utimensat, which 0 makes now.
func Timespecs(c *Call, addr uint64) ([]unix.Timespec, error) {
	if addr == 0 {
		return now(), nil
	}
	w, err := words(c, addr, 4)
	if err != nil {
		return nil, err
	}
	return []unix.Timespec{{Sec: w[0], Nsec: w[1]}, {Sec: w[2], Nsec: w[3]}}, nil
}

func truncates(c *Call, o object) error {
	length := int64(c.Arg(1))
	if length < 0 {
		return unix.EINVAL
	}
	typ, err := modeOf(o.fd)
	switch {
	case err != nil:
		return err
	case isType(typ, unix.S_IFDIR):
		return unix.EISDIR
	case !isType(typ, unix.S_IFREG):
		return unix.EINVAL
	case o.Entry != nil && o.Entry.Kind == plan.Proc:
		return unix.EACCES
	}
	if err := lacks(&o.Place, rights.Of(rights.Ftruncate), unix.EACCES); err != nil {
		return err
	}
	return c.truncate(o.fd, length)
}

// watches adds a watch to the caller's inotify descriptor. It is the object
// found that is watched, not a name.
func watches(c *Call) Result {
	mask := uint32(c.Int(2))
	n, err := at{cwd, 1}.read(c)
	if err != nil {
		return Fail(err)
	}
	in, err := c.DupFull(c.Fd(0))
	if err != nil {
		return Fail(err)
	}
	defer in.Close()
	o, err := n.target(c, 0, mask&unix.IN_DONT_FOLLOW == 0)
	if err != nil {
		return Fail(err)
	}
	defer o.close()
	if err := lacks(&o.Place, rights.Of(rights.Read), unix.EACCES); err != nil {
		return Fail(err)
	}
	var wd int
	err = c.As(func() (err error) {
		wd, err = unix.InotifyAddWatch(in.Int(), o.through(), mask&^unix.IN_DONT_FOLLOW)
		return err
	})
	if err != nil {
		return Fail(err)
	}
	return Value(int64(wd))
}
