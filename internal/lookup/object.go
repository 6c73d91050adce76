package lookup

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// Mode says what a walk is for.
type Mode uint8

// The modes.
const (
	Find   Mode = iota // the object must exist
	Parent             // only the last component's directory is looked up
	Create             // the last component may be missing
)

// Options of a walk.
type Options struct {
	Mode   Mode
	Follow bool     // follow a symlink that is the last component (Find and Create)
	Proc   ProcView // nil hides what is below /proc

	// MayFollow, if not nil, is asked before the last component is followed, if that is
	// a link: the kernel's own rules are about links that it follows itself.
	MayFollow func(dir, link int) error

	// Restrict is what the program itself asked for in openat2's resolve field.
	Restrict uint64
}

// Place is where an object is in the sandbox.
type Place struct {
	Path    string // sandbox name; "" when the walk did not need to know it
	Entry   *Entry // nearest grant; nil in the scaffold and outside
	Proc    string // name beneath the root of /proc when Entry shows processes
	Outside bool   // no name in the sandbox leads there
	node    *node
}

// Rights returns what may be done with an object in this place.
func (p *Place) Rights() rights.Set {
	switch {
	case p.Outside:
		return rights.Set{}
	case p.Entry == nil:
		return ScaffoldRights
	}
	return p.Entry.Rights
}

// ReadOnly reports whether changes fail with EROFS here.
func (p *Place) ReadOnly() bool { return p.Entry == nil || p.Entry.ReadOnly }

// Object is what a name means. Its descriptors stay usable until Close.
type Object struct {
	Place           // of the object; of the directory when FD is -1
	Dir   Place     // of the directory (Parent and Create)
	Name  string    // last component, with the trailing slash it was written with (Parent and Create)
	Fixed bool      // Name belongs to the plan: it can be neither made nor removed
	Magic *ProcStep // the link of /proc that was followed to the object

	obj, dir handle
}

// FD returns an O_PATH descriptor of the object, -1 when it is missing or was
// not asked for.
func (o *Object) FD() int { return o.obj.fd() }

// DirFD returns an O_PATH descriptor of the last component's directory.
func (o *Object) DirFD() int { return o.dir.fd() }

// Close gives the descriptors back.
func (o *Object) Close() {
	o.obj.close()
	o.dir.close()
}

// TakeFD returns a descriptor of the object that is the caller's to close.
func (o *Object) TakeFD() (int, error) { return take(&o.obj) }

// TakeDirFD returns a descriptor of the directory that is the caller's to
// close.
func (o *Object) TakeDirFD() (int, error) { return take(&o.dir) }

func take(h *handle) (int, error) {
	fd := h.fd()
	if fd < 0 {
		return -1, unix.EBADF
	}
	if h.held != nil {
		return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	*h = handle{}
	return fd, nil
}

// join returns the path of name in p, unknown if p's is.
func (p *Place) join(name string) string {
	if p.Path == "" {
		return ""
	}
	return path.Join(p.Path, name)
}

// Base is where a relative name starts.
type Base struct {
	FD int // O_PATH, the caller's
	Place
}
