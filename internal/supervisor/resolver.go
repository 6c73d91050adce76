package supervisor

import (
	"errors"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// Namei finds what a caller means by a name. There is one for each engine: the
// namespaces engine asks the kernel, which sees only the sandbox; the landlock
// engine walks the plan.
type Namei interface {
	// Resolve walks path from the caller's directory dirfd (AT_FDCWD, or one of
	// its descriptors) once, with the caller's credentials, and returns the
	// object held, so that what was judged is what is used. ENOENT for what does
	// not exist in the sandbox.
	Resolve(c *Call, dirfd int32, path string, how Walk) (*Found, error)

	// EntryOf returns the entry that fd, any descriptor of ours, lives on: nil
	// for a pipe, a memfd, an inherited descriptor of something not granted.
	EntryOf(fd *sys.FD) (*plan.Entry, error)

	// spot finds what o is to open. A missing object is no error to one that creates.
	spot(c *Call, n named, o Opening) (spot, error)
}

// Walk says how Resolve treats the end of a name.
type Walk uint

// The ways of a walk.
const (
	NoFollow Walk = 1 << iota // the last component may be a symbolic link, and is then the object
	Create                    // the last component may be missing, and is never followed
)

// Found is a resolved name. Its descriptors are O_PATH.
type Found struct {
	Parent *sys.FD     // directory of the last component; nil when the name has none ("/", "..")
	Name   string      // last component
	Object *sys.FD     // what the name means; nil when missing (Create only)
	Entry  *plan.Entry // of Object, or of Parent when Object is nil; nil for what no entry covers
}

// Close closes what f holds.
func (f *Found) Close() error { return errors.Join(f.Parent.Close(), f.Object.Close()) }
