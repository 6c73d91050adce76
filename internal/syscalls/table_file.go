package syscalls

import (
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// Reasons that many rows share.
const (
	byName     = "the name is in memory: the supervisor copies it once, walks it over the grants and acts on what it found"
	mountsRule = "every name leads into the private root, where mounts and Landlock decide"
	guardNames = "a grant withholds the right, and only the supervisor can tell which grant an object is under"
	guardFD    = guardNames + "; it acts on its own copy of the descriptor"

	execContinue = "Landlock decides execution on the object the kernel itself opens; the look only makes names outside the grants not exist"
	cwdContinue  = "a working directory grants nothing: each later name is judged on its own"
)

// named are the rules of a call that takes a name and needs no other guard.
func named() []Rule { return []Rule{ask(byName).when(landlock), pass(mountsRule)} }

// guarded are the rules of a call that takes a name and needs one of list.
func guarded(list ...rights.Right) []Rule {
	return []Rule{ask(byName).when(landlock), ask(guardNames).when(lacks(list...)), pass(mountsRule)}
}

const (
	noDevices = "a device node is authority over hardware that no grant names, and it outlives the sandbox"
	truncates = "opening may cut the file, which a grant withholds and this kernel's Landlock does not see"

	sIFMT = unix.S_IFMT
)

func lacksTruncate() Cond { return lacks(rights.Ftruncate) }

var fileGroups = func() []group {
	return []group{
		{"open", "Opens a file by name.", []Rule{
			ask(byName).when(landlock),
			ask(truncates).when(lacksTruncate()).where(hasAny("O_TRUNC", 1, unix.O_TRUNC)),
			pass(mountsRule),
		}},
		{"openat", "Opens a file by name.", []Rule{
			ask(byName).when(landlock),
			ask(truncates).when(lacksTruncate()).where(hasAny("O_TRUNC", 2, unix.O_TRUNC)),
			pass(mountsRule),
		}},
		{"openat2", "Opens a file by name; the flags are in memory.", []Rule{
			ask(byName).when(landlock),
			ask(truncates).when(lacksTruncate()),
			pass(mountsRule),
		}},
		{"creat", "Opens and always cuts.", []Rule{
			ask(byName).when(landlock),
			ask(truncates).when(lacksTruncate()),
			pass(mountsRule),
		}},
		{"mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat readlink readlinkat",
			"Makes, removes, moves or reads names.", named()},
		{"mknod", "Makes a file, FIFO or socket name.", []Rule{
			refuse(unix.EPERM, noDevices).where(part("a device", 1, sIFMT, unix.S_IFCHR, unix.S_IFBLK)),
			ask(byName).when(landlock),
			pass(mountsRule),
		}},
		{"mknodat", "Makes a file, FIFO or socket name.", []Rule{
			refuse(unix.EPERM, noDevices).where(part("a device", 2, sIFMT, unix.S_IFCHR, unix.S_IFBLK)),
			ask(byName).when(landlock),
			pass(mountsRule),
		}},
		{"execve execveat", "Executes a program.", []Rule{
			ask(byName).when(landlock).mayContinue(execContinue),
			pass("mounts carry noexec and Landlock decides EXECUTE; a program in a memfd or fed to a granted interpreter is " +
				"no new authority, since it runs under this same filter"),
		}},
		{"chdir", "Changes the working directory.", []Rule{
			ask(byName).when(landlock).mayContinue(cwdContinue),
			pass(mountsRule),
		}},
		{"fchdir", "Changes the working directory to an open one.", []Rule{
			ask("the supervisor keeps the name of the working directory that getcwd answers").when(landlock).mayContinue(cwdContinue),
			pass("the descriptor was granted or opened inside the private root"),
		}},
		{"getcwd", "Tells the name of the working directory.", []Rule{
			ask("the answer is the name inside the sandbox, not the host's").when(landlock),
			pass(mountsRule),
		}},
		{"inotify_add_watch", "Watches a name.", guarded(rights.InotifyAdd)},
		{"inotify_init inotify_init1 inotify_rm_watch", "Makes a watch descriptor, or removes a watch from one.",
			[]Rule{pass("")}},
		{"fanotify_init fanotify_mark", "Watches whole file systems.", []Rule{
			refuse(unix.EPERM, "a mark on a mount or file system reports on names outside the grants"),
		}},
		{"name_to_handle_at", "Turns a name into a handle.", []Rule{
			refuse(unix.EOPNOTSUPP, "a handle serves only open_by_handle_at, which is refused; this is the answer of a "+
				"file system without handles").when(landlock),
			pass(mountsRule + "; a handle opens nothing, open_by_handle_at is refused"),
		}},
		{"open_by_handle_at", "Opens by handle.", []Rule{
			refuse(unix.EPERM, "a handle can name any file of the file system, granted or not"),
		}},
		{"chroot", "Changes the root directory.", []Rule{
			refuse(unix.EPERM, "names would be resolved from another root than the one the grants are about"),
		}},
		{"mount umount2 pivot_root open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr",
			"Changes the mount tree.", []Rule{
				refuse(unix.EPERM, "mounts are what grants are made of; the newer calls do all that the older do"),
			}},
		{"statmount listmount listns", "Lists mounts and namespaces.", []Rule{
			refuse(unix.ENOSYS, "tells the host's names; as on a kernel before them, callers fall back to /proc/self/mountinfo"),
		}},
		{"uselib", "Maps a library by name, for a.out programs.", []Rule{
			refuse(unix.ENOSYS, "takes a name past every check; newer kernels do not have it"),
		}},
		{"swapon swapoff acct quotactl quotactl_fd", "Administers file systems.", []Rule{
			refuse(unix.EPERM, "changes the machine, not the sandbox"),
		}},
	}
}
