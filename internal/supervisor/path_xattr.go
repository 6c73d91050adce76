package supervisor

import (
	"encoding/binary"
	"strings"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

const (
	xattrNameMax = 255
	xattrSizeMax = 65536
)

func xattrHandlers() []answer {
	return []answer{
		{"setxattr", xattr(at{cwd, 0}, followed, setAttr, 1, plainArgs(2, 3, 4))},
		{"lsetxattr", xattr(at{cwd, 0}, notFollowed, setAttr, 1, plainArgs(2, 3, 4))},
		{"getxattr", xattr(at{cwd, 0}, followed, getAttr, 1, plainArgs(2, 3, -1))},
		{"lgetxattr", xattr(at{cwd, 0}, notFollowed, getAttr, 1, plainArgs(2, 3, -1))},
		{"listxattr", xattr(at{cwd, 0}, followed, listAttr, -1, plainArgs(1, 2, -1))},
		{"llistxattr", xattr(at{cwd, 0}, notFollowed, listAttr, -1, plainArgs(1, 2, -1))},
		{"removexattr", xattr(at{cwd, 0}, followed, removeAttr, 1, plainArgs(-1, -1, -1))},
		{"lremovexattr", xattr(at{cwd, 0}, notFollowed, removeAttr, 1, plainArgs(-1, -1, -1))},
		{"setxattrat", known(2, linkFlags, xattr(at{0, 1}, atFlags(2), setAttr, 3, structArgs(4, 5)))},
		{"getxattrat", known(2, linkFlags, xattr(at{0, 1}, atFlags(2), getAttr, 3, structArgs(4, 5)))},
		{"listxattrat", known(2, linkFlags, xattr(at{0, 1}, atFlags(2), listAttr, -1, plainArgs(3, 4, -1)))},
		{"removexattrat", known(2, linkFlags, xattr(at{0, 1}, atFlags(2), removeAttr, 3, plainArgs(-1, -1, -1)))},
	}
}

// attrArgs is where an attribute's value is and how it is to be set.
type attrArgs struct {
	value uint64
	size  uint64
	flags int
}

// attrOp is one operation on an attribute of the object called file. file is
// never a symlink that would be followed wrongly: l says that it is one.
type attrOp struct {
	right   rights.Right
	missing unix.Errno // without the right
	do      func(c *Call, file string, l bool, name string, a attrArgs) (int, error)
}

func plainArgs(value, size, flags int) func(*Call) (attrArgs, error) {
	arg := func(c *Call, i int) uint64 {
		if i < 0 {
			return 0
		}
		return c.Arg(i)
	}
	return func(c *Call) (attrArgs, error) {
		return attrArgs{arg(c, value), arg(c, size), int(int32(uint32(arg(c, flags))))}, nil
	}
}

// structArgs copies struct xattr_args.
func structArgs(ptr, size int) func(*Call) (attrArgs, error) {
	return func(c *Call) (attrArgs, error) {
		if c.Arg(size) != 16 {
			if c.Arg(size) < 16 {
				return attrArgs{}, unix.EINVAL
			}
			return attrArgs{}, unix.E2BIG
		}
		b, err := c.Bytes(c.Arg(ptr), 16)
		if err != nil {
			return attrArgs{}, err
		}
		e := binary.NativeEndian
		return attrArgs{e.Uint64(b), uint64(e.Uint32(b[8:])), int(int32(e.Uint32(b[12:])))}, nil
	}
}

// xattr makes a handler. nameArg is where the attribute's name is, -1 without.
func xattr(a at, flags func(*Call) (uint64, bool), op attrOp, nameArg int, args func(*Call) (attrArgs, error)) Handler {
	return func(c *Call) Result {
		bits, follow := flags(c)
		n, err := a.readEmpty(c, bits)
		if err != nil {
			return Fail(err)
		}
		name, err := attrName(c, nameArg)
		if err != nil {
			return Fail(err)
		}
		v, err := args(c)
		if err != nil {
			return Fail(err)
		}
		got, err := op.on(c, n, bits, follow, name, v)
		if err != nil {
			return Fail(err)
		}
		return Value(int64(got))
	}
}

func attrName(c *Call, arg int) (string, error) {
	if arg < 0 {
		return "", nil
	}
	name, err := c.String(c.Arg(arg), xattrNameMax+1)
	if err == unix.ENAMETOOLONG || err == nil && name == "" {
		err = unix.ERANGE
	}
	return name, err
}

func (op attrOp) on(c *Call, n named, bits uint64, follow bool, name string, v attrArgs) (int, error) {
	if n.name == "" && bits&unix.AT_EMPTY_PATH != 0 {
		o, err := n.descriptor(c)
		if err != nil {
			return 0, err
		}
		defer o.close()
		return op.judged(c, &o.Place, o.through(), false, name, v)
	}
	// The directory is kept beside the object: a symlink's attributes can only
	// be reached by its name, which is then the one judged component in the
	// one judged directory.
	obj, err := n.find(c, lookup.Options{Mode: lookup.Create, Follow: follow})
	if err != nil {
		return 0, err
	}
	defer obj.Close()
	if obj.FD() < 0 {
		return 0, unix.ENOENT
	}
	mode, err := modeOf(obj.FD())
	if err != nil {
		return 0, err
	}
	if isType(mode, unix.S_IFLNK) {
		if obj.DirFD() < 0 {
			return 0, unix.EOPNOTSUPP
		}
		return op.judged(c, &obj.Place, sys.FDName(obj.DirFD())+"/"+strings.TrimRight(obj.Name, "/"), true, name, v)
	}
	return op.judged(c, &obj.Place, sys.FDName(obj.FD()), false, name, v)
}

func (op attrOp) judged(c *Call, place *lookup.Place, file string, l bool, name string, v attrArgs) (int, error) {
	if place.Entry != nil && place.Entry.Kind == plan.Proc {
		return 0, unix.EOPNOTSUPP
	}
	if err := lacks(place, rights.Of(op.right), op.missing); err != nil {
		return 0, err
	}
	return op.do(c, file, l, name, v)
}

// Without the right to read attributes there are none: programs that copy files
// take that for an answer.
var (
	getAttr = attrOp{rights.ExtattrGet, unix.EOPNOTSUPP, func(c *Call, file string, l bool, name string, a attrArgs) (int, error) {
		return fetch(c, a, func(buf []byte) (int, error) {
			if l {
				return unix.Lgetxattr(file, name, buf)
			}
			return unix.Getxattr(file, name, buf)
		})
	}}
	listAttr = attrOp{rights.ExtattrList, unix.EOPNOTSUPP, func(c *Call, file string, l bool, _ string, a attrArgs) (int, error) {
		return fetch(c, a, func(buf []byte) (int, error) {
			if l {
				return unix.Llistxattr(file, buf)
			}
			return unix.Listxattr(file, buf)
		})
	}}
	setAttr = attrOp{rights.ExtattrSet, unix.EPERM, func(c *Call, file string, l bool, name string, a attrArgs) (int, error) {
		if a.size > xattrSizeMax {
			return 0, unix.E2BIG
		}
		value, err := c.Bytes(a.value, int(a.size))
		if err != nil {
			return 0, err
		}
		return 0, c.As(func() error {
			if l {
				return unix.Lsetxattr(file, name, value, a.flags)
			}
			return unix.Setxattr(file, name, value, a.flags)
		})
	}}
	removeAttr = attrOp{rights.ExtattrDelete, unix.EPERM, func(c *Call, file string, l bool, name string, _ attrArgs) (int, error) {
		return 0, c.As(func() error {
			if l {
				return unix.Lremovexattr(file, name)
			}
			return unix.Removexattr(file, name)
		})
	}}
)

// fetch reads into a buffer of the size the caller has and copies what came. A
// size of 0 only asks how much there is.
func fetch(c *Call, a attrArgs, read func([]byte) (int, error)) (int, error) {
	buf := make([]byte, min(a.size, xattrSizeMax))
	var n int
	err := c.As(func() (err error) { n, err = read(buf); return err })
	if err != nil || len(buf) == 0 {
		return n, err
	}
	return n, c.Write(a.value, buf[:n])
}
