// Package nsenv describes the namespaces engine's private root: a tmpfs that
// holds one mount for each entry of the plan and nothing else, so that what was
// not granted does not exist.
//
// It only writes the steps down; they run between fork and exec, where no Go
// code can. See package script.
package nsenv

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
)

// Changed is the errno of a granted name that leads to another object than the
// one that was judged when the command line was read.
const Changed = unix.ESTALE

// staging is where the new root is mounted until it becomes "/". Grants never
// lead through procfs, so covering it hides no source.
const staging = "/proc"

// Root is a private root in the making. The process that runs its steps is alone
// in a fresh mount and user namespace, and in a fresh pid namespace.
type Root struct{ b *builder }

// Begin adds to seq what every private root begins with. The rules for what the
// program may do there will be added to ruleset, unless that is nil. procfs
// becomes a descriptor of the sandbox's own procfs, whether or not the program
// sees it.
func Begin(seq *script.Sequence, ruleset *landlock.Ruleset, procfs script.Value) *Root {
	b := &builder{seq: seq, rules: ruleset, proc: procfs, trees: map[landlock.Access]*rule{}, parts: map[string][]plan.Part{}, made: map[string]bool{}}
	b.stage()
	return &Root{b}
}

// Enter adds to seq, which runs after the steps of Begin, what puts the entries of
// pl into the root and makes it the root and working directory.
func (r *Root) Enter(seq *script.Sequence, pl *plan.Plan) {
	b := r.b
	b.seq, b.pl = seq, pl
	seq.Grow(stepsEach * (len(pl.Entries) + len(pl.Links) + len(pl.Dirs)))
	for _, part := range pl.Skeleton() {
		b.parts[part.In] = append(b.parts[part.In], part)
	}
	for _, part := range b.parts[""] {
		b.made[part.Path] = true
	}
	b.make("build the private root", b.root, b.parts[""])
	b.scaffold()
	for i := range pl.Entries {
		b.show(&pl.Entries[i])
	}
	b.pivot()
}

// builder writes the steps. Everything runs in order in one process, so each
// kind of descriptor has one word, used again for every entry.
type builder struct {
	seq   *script.Sequence
	pl    *plan.Plan
	rules *landlock.Ruleset
	parts map[string][]plan.Part // of the skeleton, by the Tmpfs entry they are in
	made  map[string]bool        // the parts that are in none

	root, context, pinned, at, umask script.Value
	proc, visible                    script.Value // the supervisor's procfs, and what the program sees of it

	stat  *unix.Stat_t
	trees map[landlock.Access]*rule
}

// rule is a Landlock rule whose descriptor is the mount being attached.
type rule struct {
	attr unix.LandlockPathBeneathAttr
	tree script.Value // attr's descriptor
}

const (
	clone  = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	inside = unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
)

var empty = script.String("")

// stepsEach is about how many steps it takes to show something.
const stepsEach = 16

// tree returns the rule for what of access can be said about a directory or a file.
// The mount's descriptor goes straight into the rule's own memory.
func (b *builder) tree(access landlock.Access, isDir bool) *rule {
	if b.rules == nil {
		access = 0
	} else {
		access = b.rules.Fitting(access, isDir)
	}
	r, ok := b.trees[access]
	if !ok {
		r = &rule{attr: unix.LandlockPathBeneathAttr{Allowed_access: uint64(access)}}
		r.tree = script.ValueAt((*uint32)(unsafe.Pointer(&r.attr.Parent_fd)))
		b.trees[access] = r
	}
	return r
}

// allow adds r to the ruleset, unless it permits nothing.
func (b *builder) allow(what string, r *rule) {
	if r.attr.Allowed_access != 0 {
		b.seq.Do(what, unix.SYS_LANDLOCK_ADD_RULE, b.rules.FD(), unix.LANDLOCK_RULE_PATH_BENEATH, script.Struct(&r.attr), 0)
	}
}

func (b *builder) close(v script.Value) { b.seq.Do("close descriptor", unix.SYS_CLOSE, v) }

// stage mounts the new root's tmpfs over the staging directory. The procfs is
// made first: the kernel allows one only while the old one is fully visible.
func (b *builder) stage() {
	b.root, b.context = script.NewValue(), script.NewValue()
	b.pinned, b.at, b.umask = script.NewValue(), script.NewValue(), script.NewValue()
	b.stat = new(unix.Stat_t)
	const what = "build the private root"
	b.seq.Do(what+": make mounts private", unix.SYS_MOUNT, empty, script.String("/"), nil, unix.MS_REC|unix.MS_PRIVATE, nil)
	b.seq.Do(what, unix.SYS_UMASK, 0).Into(b.umask)
	procfs := fileSystem{kind: "proc", attrs: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	b.fresh("mount procfs", procfs, b.proc)
	if b.visible = b.proc; b.rules == nil {
		// Without Landlock only the mount keeps root's program from writing to
		// /proc/sys, whose files the real root owns.
		b.visible = script.NewValue()
		procfs.attrs |= unix.MOUNT_ATTR_RDONLY
		b.fresh("mount procfs", procfs, b.visible)
	}
	b.fresh("mount root tmpfs", fileSystem{"tmpfs", []string{"mode=0555"}, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}, b.root)
	b.seq.Do(what, unix.SYS_MOVE_MOUNT, b.root, empty, unix.AT_FDCWD, script.String(staging), unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// fileSystem is a file system without a source.
type fileSystem struct {
	kind    string
	options []string
	attrs   int
}

// kinds lists the file systems that an entry without a source is made of.
var kinds = map[plan.Kind]fileSystem{
	plan.Tmpfs:  {"tmpfs", []string{"mode=1777"}, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV},
	plan.Devpts: {"devpts", []string{"newinstance", "ptmxmode=0666", "mode=0620"}, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC},
}

// fresh adds the making of a detached mount of a new file system.
func (b *builder) fresh(what string, f fileSystem, into script.Value) {
	b.seq.Do(what, unix.SYS_FSOPEN, script.String(f.kind), unix.FSOPEN_CLOEXEC).Into(b.context)
	for _, o := range f.options {
		if key, value, ok := strings.Cut(o, "="); ok {
			b.seq.Do(what, unix.SYS_FSCONFIG, b.context, unix.FSCONFIG_SET_STRING, script.String(key), script.String(value), 0)
		} else {
			b.seq.Do(what, unix.SYS_FSCONFIG, b.context, unix.FSCONFIG_SET_FLAG, script.String(o), nil, 0)
		}
	}
	b.seq.Do(what, unix.SYS_FSCONFIG, b.context, unix.FSCONFIG_CMD_CREATE, nil, nil, 0)
	b.seq.Do(what, unix.SYS_FSMOUNT, b.context, unix.FSMOUNT_CLOEXEC, f.attrs).Into(into)
	b.close(b.context)
}

// make adds the making of a skeleton's parts in the directory dir. Nobody else
// sees that directory yet, so a name in it leads nowhere unexpected.
func (b *builder) make(what string, dir script.Value, parts []plan.Part) {
	for _, p := range parts {
		name := script.String(p.Path)
		switch p.Kind {
		case plan.Symlink:
			b.seq.Do(what, unix.SYS_SYMLINKAT, script.String(p.Target), dir, name)
		case plan.PlaceFile:
			b.seq.Do(what, unix.SYS_MKNODAT, dir, name, unix.S_IFREG|0o444, 0)
		default:
			b.seq.Do(what, unix.SYS_MKDIRAT, dir, name, 0o555)
		}
	}
}

// scaffold lets the directories be listed that hold nothing but the way to an
// entry. A rule on one reaches everything beneath it, so a directory on the way
// to an entry that must not be read is left out, and cannot be listed.
func (b *builder) scaffold() {
	if b.rules == nil {
		return
	}
	var blind []string
	for i := range b.pl.Entries {
		if !b.pl.Entries[i].Rights.IsSet(rights.Read) {
			blind = append(blind, b.pl.Entries[i].Dest)
		}
	}
	dirs := b.pl.Dirs
	if len(blind) == 0 && len(dirs) > 0 && dirs[0] == "/" {
		dirs = dirs[:1] // "/" covers the others
	}
	list := b.tree(landlock.ReadDir, true)
	for _, dir := range dirs {
		if slices.ContainsFunc(blind, func(dest string) bool { return beneath(dest, dir) }) {
			continue
		}
		what := "let " + dir + " be listed"
		b.mountPoint(what, dir, list.tree)
		b.allow(what, list)
		b.close(list.tree)
	}
}

// beneath reports whether name is dir or lies beneath it.
func beneath(name, dir string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}

// show adds the attaching of one entry.
func (b *builder) show(e *plan.Entry) {
	what := fmt.Sprintf("show %s (%s)", e.Dest, strings.Join(e.Origin, ", "))
	r := b.tree(landlock.ForRights(e.Rights), e.Kind != plan.File && e.Kind != plan.Device)
	switch f, isFresh := kinds[e.Kind]; {
	case e.Kind == plan.Proc:
		b.seq.Do(what, unix.SYS_FCNTL, b.visible, unix.F_DUPFD_CLOEXEC, 3).Into(r.tree)
	case isFresh:
		b.fresh(what, f, r.tree)
		b.make(what, r.tree, b.parts[e.Dest])
	default:
		b.clone(what, e.Source, e.ID, Attributes(e), r.tree)
	}
	b.allow(what, r)
	if e.Dest == "/" {
		b.replaceRoot(what, r.tree)
		return
	}
	b.attach(what, e.Dest, r.tree)
	if e.Kind == plan.Proc {
		b.hide(what, r.tree)
	}
	b.close(r.tree)
}

// attach adds the mounting of tree at dest. A place that the skeleton made is where
// its name says; one in a granted tree is opened first, by a walk that nobody leads
// elsewhere.
func (b *builder) attach(what, dest string, tree script.Value) {
	if rel := strings.TrimPrefix(dest, "/"); b.made[rel] {
		b.seq.Do(what, unix.SYS_MOVE_MOUNT, tree, empty, b.root, script.String(rel), unix.MOVE_MOUNT_F_EMPTY_PATH)
		return
	}
	b.mountPoint(what, dest, b.at)
	b.seq.Do(what, unix.SYS_MOVE_MOUNT, tree, empty, b.at, empty, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	b.close(b.at)
}

// hidden are the files of a procfs that tell of more than its processes: key
// rings are in no namespace.
var hidden = []string{"keys", "key-users"}

// hide covers hidden files of the procfs mounted at proc with a device on a
// mount that has none, so that opening them is refused.
func (b *builder) hide(what string, proc script.Value) {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_RDONLY}
	for _, name := range hidden {
		b.seq.Do(what, unix.SYS_OPEN_TREE, unix.AT_FDCWD, script.String("/dev/null"), clone&^unix.AT_EMPTY_PATH).Into(b.pinned)
		b.seq.Do(what, unix.SYS_MOUNT_SETATTR, b.pinned, empty, unix.AT_EMPTY_PATH, script.Struct(attr), int(unsafe.Sizeof(*attr)))
		b.seq.Do(what, unix.SYS_MOVE_MOUNT, b.pinned, empty, proc, script.String(name), unix.MOVE_MOUNT_F_EMPTY_PATH).Forgive(unix.ENOENT)
		b.close(b.pinned)
	}
}

// replaceRoot makes tree, a grant of "/" itself, the new root in place of the
// tmpfs, which stays beneath it: a walk from a mount's root never sees what is
// mounted on top of it.
func (b *builder) replaceRoot(what string, tree script.Value) {
	b.seq.Do(what, unix.SYS_MOVE_MOUNT, tree, empty, unix.AT_FDCWD, script.String(staging), unix.MOVE_MOUNT_F_EMPTY_PATH)
	b.seq.Do(what, unix.SYS_DUP3, tree, b.root, unix.O_CLOEXEC)
	b.close(tree)
}

// Attributes returns the mount attributes that an entry's rights amount to.
func Attributes(e *plan.Entry) uint64 {
	attrs := uint64(unix.MOUNT_ATTR_NOSUID)
	if e.Kind != plan.Device {
		attrs |= unix.MOUNT_ATTR_NODEV
	}
	if !e.Rights.IsSet(rights.Fexecve) && !e.Rights.IsSet(rights.MmapX) {
		attrs |= unix.MOUNT_ATTR_NOEXEC
	}
	// A device's own contents are no part of the file system: writing to
	// /dev/null works on a read-only mount.
	if e.Kind == plan.Device || plan.ReadOnly(e.Rights) {
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	return attrs
}

// clone adds the making of a detached copy of the mount tree at source, an
// absolute name free of symlinks, with attrs added to it and to everything
// mounted beneath. The object there must be the one that id names.
func (b *builder) clone(what, source string, id plan.ID, attrs uint64, into script.Value) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: inside}
	b.seq.Do(what, unix.SYS_OPENAT2, unix.AT_FDCWD, script.String(source), script.Struct(how), int(unsafe.Sizeof(*how))).Into(b.pinned)
	b.seq.Do(what, unix.SYS_FSTAT, b.pinned, script.Struct(b.stat))
	b.seq.Equal(what, &b.stat.Dev, id.Dev, Changed)
	b.seq.Equal(what, &b.stat.Ino, id.Ino, Changed)
	b.seq.Do(what, unix.SYS_OPEN_TREE, b.pinned, empty, clone).Into(into)
	b.close(b.pinned)
	attr := &unix.MountAttr{Attr_set: attrs}
	b.seq.Do(what, unix.SYS_MOUNT_SETATTR, into, empty, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, script.Struct(attr), int(unsafe.Sizeof(*attr)))
}

// Directory adds the replacement of an inherited directory by the same one on a
// mount of its own, which is its own top: ".." from a bare directory descriptor
// would walk the host's tree.
func Directory(seq *script.Sequence, num int, e *plan.Entry) {
	b := &builder{seq: seq, stat: new(unix.Stat_t), pinned: script.NewValue()}
	tree, dir := script.NewValue(), script.NewValue()
	what := fmt.Sprintf("--fd %d: open %s on a mount of its own", num, e.Source)
	b.clone(what, e.Source, e.ID, Attributes(e), tree)
	b.seq.Do(what, unix.SYS_OPENAT, tree, script.String("."), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).Into(dir)
	b.close(tree)
	b.seq.Do(what, unix.SYS_DUP3, dir, num, unix.O_CLOEXEC)
	b.close(dir)
}

// mountPoint adds the opening of the place for dest in the new root. A component
// that turned into a symlink meanwhile is refused: the walk must not be led
// elsewhere.
func (b *builder) mountPoint(what, dest string, into script.Value) {
	rel := strings.TrimPrefix(path.Clean(dest), "/")
	if rel == "" {
		rel = "."
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: inside | unix.RESOLVE_IN_ROOT}
	b.seq.Do(what, unix.SYS_OPENAT2, b.root, script.String(rel), script.Struct(how), int(unsafe.Sizeof(*how))).Into(into)
}

// pivot adds the last steps: the new root becomes "/", and the host's goes.
func (b *builder) pivot() {
	const what = "enter the private root"
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	b.seq.Do(what, unix.SYS_MOUNT_SETATTR, b.root, empty, unix.AT_EMPTY_PATH, script.Struct(attr), int(unsafe.Sizeof(*attr)))
	b.seq.Do(what, unix.SYS_UMASK, b.umask)
	b.seq.Do(what, unix.SYS_FCHDIR, b.root)
	b.seq.Do(what, unix.SYS_PIVOT_ROOT, script.String("."), script.String("."))
	b.seq.Do(what, unix.SYS_UMOUNT2, script.String("."), unix.MNT_DETACH)
	b.seq.Do(what, unix.SYS_CHDIR, script.String("/"))
	b.close(b.root)
}
