// Package nsenv builds the namespaces engine's private root: a tmpfs that
// holds one mount for each entry of the plan and nothing else, so that what was
// not granted does not exist.
package nsenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/rights"
)

// ErrChanged means that a granted name leads to another object than the one
// that was judged when the command line was read.
var ErrChanged = errors.New("changed while the sandbox was starting")

// staging is where the new root is mounted until it becomes "/". Grants never
// lead through procfs, so covering it hides no source.
const staging = "/proc"

// modifying are the rights without which a mount is read only.
var modifying = []rights.Right{
	rights.Write, rights.Create, rights.Ftruncate, rights.Unlinkat, rights.Mkdirat, rights.Mkfifoat,
	rights.Mknodat, rights.Symlinkat, rights.RenameatSource, rights.RenameatTarget, rights.LinkatTarget,
	rights.Fchmod, rights.Fchown, rights.Futimes, rights.Fchflags, rights.ExtattrSet, rights.ExtattrDelete,
	rights.Bindat,
}

// ReadOnly reports whether an entry with these rights is mounted read only, so
// that every change beneath it is EROFS.
func ReadOnly(set rights.Set) bool {
	for _, r := range modifying {
		if set.IsSet(r) {
			return false
		}
	}
	return true
}

// Root is a private root under construction.
type Root struct {
	root *os.File // the new root's tmpfs
	proc *os.File // a detached procfs of the new pid namespace, nil without a Proc entry
}

// Enter builds the private root of pl and makes it the root and working
// directory of the calling process. The caller must be alone in a fresh mount
// and user namespace, and pid 1 of a fresh pid namespace.
func Enter(pl *plan.Plan) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	r := &Root{}
	defer r.close()
	if err := r.stage(); err != nil {
		return err
	}
	if err := lookup.BuildSkeleton(int(r.root.Fd()), pl); err != nil {
		return fmt.Errorf("build root: %w", err)
	}
	for i := range pl.Entries {
		if err := r.mount(&pl.Entries[i]); err != nil {
			return fmt.Errorf("show %s (%s): %w", pl.Entries[i].Dest, strings.Join(pl.Entries[i].Origin, ", "), err)
		}
	}
	return r.pivot()
}

func (r *Root) close() {
	for _, f := range []*os.File{r.root, r.proc} {
		if f != nil {
			f.Close()
		}
	}
}

// stage mounts the new root's tmpfs over the staging directory. The procfs is
// made first: the kernel allows one only while the old one is fully visible.
func (r *Root) stage() error {
	proc, err := newFS("proc", nil, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("mount procfs: %w", err)
	}
	r.proc = proc
	if r.root, err = newFS("tmpfs", map[string]string{"mode": "0755", "size": "64m"}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		return fmt.Errorf("mount root tmpfs: %w", err)
	}
	if err := unix.MoveMount(int(r.root.Fd()), "", unix.AT_FDCWD, staging, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount root tmpfs: %w", err)
	}
	return nil
}

// newFS makes a detached mount of a fresh file system.
func newFS(kind string, options map[string]string, attrs int) (*os.File, error) {
	ctx, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ctx)
	for k, v := range options {
		if err := unix.FsconfigSetString(ctx, k, v); err != nil {
			return nil, fmt.Errorf("option %s=%s: %w", k, v, err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return nil, err
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), kind), nil
}

// fresh lists the file systems that an entry without a source is made of.
var fresh = map[plan.Kind]struct {
	fs      string
	options map[string]string
	attrs   int
}{
	plan.Tmpfs:  {"tmpfs", map[string]string{"mode": "1777"}, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV},
	plan.Devpts: {"devpts", map[string]string{"newinstance": "", "ptmxmode": "0666", "mode": "0620"}, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC},
}

// mount attaches one entry.
func (r *Root) mount(e *plan.Entry) error {
	tree, err := r.tree(e)
	if err != nil {
		return err
	}
	if e.Dest == "/" {
		return r.replace(tree)
	}
	if tree != r.proc {
		defer tree.Close()
	}
	at, err := r.mountPoint(e.Dest)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := unix.MoveMount(int(tree.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach mount: %w", err)
	}
	return nil
}

// replace makes tree, a grant of "/" itself, the new root in place of the
// tmpfs, which stays beneath it: a walk from a mount's root never sees what is
// mounted on top of it.
func (r *Root) replace(tree *os.File) error {
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, staging, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		tree.Close()
		return fmt.Errorf("attach mount: %w", err)
	}
	r.root.Close()
	r.root = tree
	return nil
}

// tree returns the detached mount that will stand for e.
func (r *Root) tree(e *plan.Entry) (*os.File, error) {
	if e.Kind == plan.Proc {
		return r.proc, nil
	}
	if f, ok := fresh[e.Kind]; ok {
		return newFS(f.fs, f.options, f.attrs)
	}
	return Clone(e.Source, e.ID, attributes(e))
}

// attributes returns the mount attributes that an entry's rights amount to.
func attributes(e *plan.Entry) uint64 {
	attrs := uint64(unix.MOUNT_ATTR_NOSUID)
	if e.Kind != plan.Device {
		attrs |= unix.MOUNT_ATTR_NODEV
	}
	if !e.Rights.IsSet(rights.Fexecve) {
		attrs |= unix.MOUNT_ATTR_NOEXEC
	}
	// A device's own contents are no part of the file system: writing to
	// /dev/null works on a read-only mount.
	if e.Kind == plan.Device || ReadOnly(e.Rights) {
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	return attrs
}

// Clone returns a detached copy of the mount tree at source, an absolute name
// free of symlinks, with attrs added to it and to everything mounted beneath.
// The object found there must be the one that id names.
func Clone(source string, id plan.ID, attrs uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, source, &how)
	if errors.Is(err, unix.ELOOP) {
		return nil, ErrChanged
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: source, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: source, Err: err}
	}
	if (plan.ID{Dev: st.Dev, Ino: st.Ino}) != id {
		return nil, &fs.PathError{Op: "open", Path: source, Err: ErrChanged}
	}
	tree, err := unix.OpenTree(fd, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, &fs.PathError{Op: "clone mount", Path: source, Err: err}
	}
	f := os.NewFile(uintptr(tree), source)
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attrs}); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "restrict mount", Path: source, Err: err}
	}
	return f, nil
}

// mountPoint opens the place for dest in the new root. A component that turned
// into a symlink meanwhile is refused: the walk must not be led elsewhere.
func (r *Root) mountPoint(dest string) (*os.File, error) {
	rel := strings.TrimPrefix(path.Clean(dest), "/")
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(int(r.root.Fd()), rel, &how)
	if err != nil {
		return nil, &fs.PathError{Op: "open mount point", Path: dest, Err: err}
	}
	return os.NewFile(uintptr(fd), dest), nil
}

// pivot makes the new root "/" and lets go of the host's.
func (r *Root) pivot() error {
	if err := unix.MountSetattr(int(r.root.Fd()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make root read only: %w", err)
	}
	if err := unix.Fchdir(int(r.root.Fd())); err != nil {
		return fmt.Errorf("enter new root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot to new root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave host root: %w", err)
	}
	return os.Chdir("/")
}
