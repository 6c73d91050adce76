// Package nsenv builds the namespaces engine's private root: a tmpfs that
// holds one mount for each entry of the plan and nothing else, so that what was
// not granted does not exist.
package nsenv

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// staging is where the new root is mounted until it becomes "/". Grants never
// lead through procfs, so covering it hides no source.
const staging = "/proc"

// Env is a private root that was entered.
type Env struct {
	// Proc is the sandbox's own procfs, whether or not the program sees it.
	Proc *os.File
	// Mounts says, by mount id, which entry everything beneath a mount is from.
	Mounts map[uint64]*plan.Entry
}

// Visit is told of each mount before it is attached: the entry it stands for,
// or nil for a scaffold directory, and a descriptor of its root.
type Visit func(e *plan.Entry, fd int) error

// builder is a private root under construction.
type builder struct {
	root  *os.File // the new root's tmpfs
	proc  *os.File // the procfs of the new pid namespace
	env   *Env
	visit Visit
}

// Enter builds the private root of pl and makes it the root and working
// directory of the calling process. The caller must be alone in a fresh mount
// and user namespace, and pid 1 of a fresh pid namespace.
func Enter(pl *plan.Plan, visit Visit) (*Env, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	r := &builder{visit: visit, env: &Env{Mounts: make(map[uint64]*plan.Entry, len(pl.Entries))}}
	defer r.close()
	if err := r.stage(); err != nil {
		return nil, err
	}
	if err := lookup.BuildSkeleton(int(r.root.Fd()), pl); err != nil {
		return nil, fmt.Errorf("build root: %w", err)
	}
	if err := r.scaffold(pl); err != nil {
		return nil, err
	}
	for i := range pl.Entries {
		if err := r.mount(pl, &pl.Entries[i]); err != nil {
			return nil, fmt.Errorf("show %s (%s): %w", pl.Entries[i].Dest, strings.Join(pl.Entries[i].Origin, ", "), err)
		}
	}
	if err := r.pivot(); err != nil {
		return nil, err
	}
	r.env.Proc, r.proc = r.proc, nil
	return r.env, r.env.addSubmounts()
}

// scaffold visits the directories that hold nothing but the way to an entry. A
// rule on one reaches everything beneath it, so a directory on the way to an
// entry that must not be read is left out, and cannot be listed.
func (r *builder) scaffold(pl *plan.Plan) error {
	var blind []string
	for i := range pl.Entries {
		if !pl.Entries[i].Rights.IsSet(rights.Read) {
			blind = append(blind, pl.Entries[i].Dest)
		}
	}
	if len(blind) == 0 {
		return r.visit(nil, int(r.root.Fd()))
	}
	for _, dir := range pl.Dirs {
		if slices.ContainsFunc(blind, func(dest string) bool { return beneath(dest, dir) }) {
			continue
		}
		at, err := r.mountPoint(dir)
		if err != nil {
			return err
		}
		err = r.visit(nil, int(at.Fd()))
		at.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// beneath reports whether name is dir or lies beneath it.
func beneath(name, dir string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}

func (r *builder) close() {
	for _, f := range []*os.File{r.root, r.proc} {
		if f != nil {
			f.Close()
		}
	}
}

// stage mounts the new root's tmpfs over the staging directory. The procfs is
// made first: the kernel allows one only while the old one is fully visible.
func (r *builder) stage() error {
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
func (r *builder) mount(pl *plan.Plan, e *plan.Entry) error {
	tree, err := r.tree(pl, e)
	if err != nil {
		return err
	}
	if err := r.enroll(e, tree); err != nil {
		tree.Close()
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

// enroll notes which entry a mount stands for, and lets the visitor see it.
func (r *builder) enroll(e *plan.Entry, tree *os.File) error {
	var st unix.Statx_t
	if err := unix.Statx(int(tree.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return fmt.Errorf("read mount id: %w", err)
	}
	r.env.Mounts[st.Mnt_id] = e
	return r.visit(e, int(tree.Fd()))
}

// replace makes tree, a grant of "/" itself, the new root in place of the
// tmpfs, which stays beneath it: a walk from a mount's root never sees what is
// mounted on top of it.
func (r *builder) replace(tree *os.File) error {
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, staging, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		tree.Close()
		return fmt.Errorf("attach mount: %w", err)
	}
	r.root.Close()
	r.root = tree
	return nil
}

// tree returns the detached mount that will stand for e.
func (r *builder) tree(pl *plan.Plan, e *plan.Entry) (*os.File, error) {
	if e.Kind == plan.Proc {
		return r.proc, nil
	}
	f, ok := fresh[e.Kind]
	if !ok {
		return Clone(e.Source, e.ID, Attributes(e))
	}
	tree, err := newFS(f.fs, f.options, f.attrs)
	if err == nil && e.Kind == plan.Tmpfs {
		err = lookup.BuildBeneath(int(tree.Fd()), pl, e.Dest)
	}
	return tree, err
}

// Attributes returns the mount attributes that an entry's rights amount to.
func Attributes(e *plan.Entry) uint64 {
	attrs := uint64(unix.MOUNT_ATTR_NOSUID)
	if e.Kind != plan.Device {
		attrs |= unix.MOUNT_ATTR_NODEV
	}
	if !e.Rights.IsSet(rights.Fexecve) {
		attrs |= unix.MOUNT_ATTR_NOEXEC
	}
	// A device's own contents are no part of the file system: writing to
	// /dev/null works on a read-only mount.
	if e.Kind == plan.Device || plan.ReadOnly(e.Rights) {
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	return attrs
}

// Clone returns a detached copy of the mount tree at source, an absolute name
// free of symlinks, with attrs added to it and to everything mounted beneath.
// The object found there must be the one that id names.
func Clone(source string, id plan.ID, attrs uint64) (*os.File, error) {
	pinned, err := sys.OpenPinned(source, id.Dev, id.Ino)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: source, Err: err}
	}
	defer pinned.Close()
	tree, err := unix.OpenTree(pinned.Int(), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
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
func (r *builder) mountPoint(dest string) (*os.File, error) {
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
func (r *builder) pivot() error {
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
