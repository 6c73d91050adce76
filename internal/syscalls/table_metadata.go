package syscalls

import (
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

const (
	heldFD = "the descriptor is held already; mounts and open mode decide"
	newXat = "as on a kernel before it: callers fall back to the ioctl"

	// throughFD: under the landlock engine descriptors do not lie on mounts of
	// their own, so no mount says read-only.
	throughFD = "Landlock does not see it and a descriptor open for reading is enough for it"
)

// heldRules are the rules of a change of metadata through a descriptor.
func heldRules(list ...rights.Right) []Rule {
	return []Rule{
		ask(throughFD + ": the supervisor looks which grant the object is under and acts on its own copy of the descriptor").when(landlock),
		ask(guardFD).when(lacks(list...)),
		pass(heldFD),
	}
}

var (
	setXattr    = []rights.Right{rights.ExtattrSet, rights.AclSet, rights.Fchmod} // an access list is a mode, too
	removeXattr = []rights.Right{rights.ExtattrDelete, rights.AclDelete, rights.Fchmod}
	getXattr    = []rights.Right{rights.ExtattrGet, rights.AclGet}
)

var metadataGroups = func() []group {
	return []group{
		{"stat lstat statx access faccessat faccessat2", "Reads metadata by name.", guarded(rights.Fstat)},
		{"newfstatat", "Reads metadata by name, or of a descriptor.", []Rule{
			pass("no name at all: the call is fstat").when(and(landlock, Cond{"no grant lacks fstat", func(o Options) bool {
				return !o.Lacking.IsSet(rights.Fstat)
			}})).where(isNull("no name", 1), hasAny("AT_EMPTY_PATH", 3, unix.AT_EMPTY_PATH)),
			ask(byName + "; an empty name is one only as long as nobody rewrites it").when(landlock),
			ask(guardNames).when(lacks(rights.Fstat)),
			pass(mountsRule),
		}},
		{"fstat", "Reads the metadata of a descriptor.", []Rule{
			ask(guardFD).when(lacks(rights.Fstat)),
			pass("tells of an object that is held already"),
		}},
		{"statfs", "Reads about a file system by name.", guarded(rights.Fstatfs)},
		{"fstatfs", "Reads about a descriptor's file system.", []Rule{
			ask(guardFD).when(lacks(rights.Fstatfs)),
			pass("tells of an object that is held already"),
		}},
		{"ustat sysfs", "Reads about file systems by number.", []Rule{
			refuse(unix.ENOSYS, "names file systems by numbers that no grant is about"),
		}},
		{"chmod fchmodat fchmodat2", "Changes the mode by name.", guarded(rights.Fchmod)},
		{"fchmod", "Changes the mode of a descriptor's object.", heldRules(rights.Fchmod)},
		{"chown lchown fchownat", "Changes the owner by name.", guarded(rights.Fchown)},
		{"fchown", "Changes the owner of a descriptor's object.", heldRules(rights.Fchown)},
		{"utime utimes futimesat", "Changes times by name.", guarded(rights.Futimes)},
		{"utimensat", "Changes times by name, or of a descriptor when the name is null.", guarded(rights.Futimes)},
		{"truncate", "Changes the size by name.", guarded(rights.Ftruncate)},
		{"ftruncate", "Changes the size.", []Rule{
			ask(guardFD).when(lacksTruncate()),
			pass("needs a descriptor open for writing; Landlock remembers at open whether it may cut"),
		}},
		{"fallocate", "Reserves or punches space.", []Rule{
			pass("needs a descriptor open for writing, which could write the same"),
		}},
		{"setxattr lsetxattr setxattrat", "Sets an attribute by name.", guarded(setXattr...)},
		{"fsetxattr", "Sets an attribute of a descriptor's object.", heldRules(setXattr...)},
		{"removexattr lremovexattr removexattrat", "Removes an attribute by name.", guarded(removeXattr...)},
		{"fremovexattr", "Removes an attribute of a descriptor's object.", heldRules(removeXattr...)},
		{"getxattr lgetxattr getxattrat", "Reads an attribute by name.", guarded(getXattr...)},
		{"fgetxattr", "Reads an attribute of a descriptor's object.", []Rule{
			ask(guardFD).when(lacks(getXattr...)),
			pass("tells of an object that is held already"),
		}},
		{"listxattr llistxattr listxattrat", "Lists attributes by name.", guarded(rights.ExtattrList)},
		{"flistxattr", "Lists attributes of a descriptor's object.", []Rule{
			ask(guardFD).when(lacks(rights.ExtattrList)),
			pass("tells of an object that is held already"),
		}},
		{"file_getattr", "Reads file flags by name.", []Rule{
			refuse(unix.ENOSYS, newXat).when(or(landlock, lacks(rights.Fstat))),
			pass(mountsRule),
		}},
		{"file_setattr", "Sets file flags by name.", []Rule{
			refuse(unix.ENOSYS, newXat+", where flags are refused").when(or(landlock, lacks(rights.Fchflags))),
			pass(mountsRule),
		}},
	}
}

var descriptorGroups = func() []group {
	return []group{
		{"read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile splice tee vmsplice copy_file_range",
			"Reads, writes and copies through descriptors.", []Rule{pass("")}},
		{"close close_range dup dup2 dup3 pipe pipe2", "Makes and closes descriptors.", []Rule{pass("")}},
		{"getdents getdents64", "Lists an open directory.", []Rule{
			pass("whoever opened the directory decided that it may be listed"),
		}},
		{"fsync fdatasync syncfs sync sync_file_range fadvise64 readahead", "Writes out or reads ahead.", []Rule{pass("")}},
		{"cachestat", "Counts cached pages.", []Rule{
			pass("the kernel answers only for files the caller may write or owns"),
		}},
		{"flock", "Locks an open file.", []Rule{
			pass("unlocking needs no right").where(is("LOCK_UN", 1, unix.LOCK_UN, unix.LOCK_UN|unix.LOCK_NB)),
			ask("a descriptor open for reading is enough to lock every other user of the file out; the supervisor looks at the grant " +
				"and locks its own copy of the descriptor, which is the same open file").
				when(or(landlock, flockGuarded)).
				mayContinue("without an exclusive lock only registers are looked at; where descriptors cannot be copied, who swaps " +
					"one in between locks another file that it holds open, and locks are advisory"),
			pass(""),
		}},
		{"io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents", "Reads and writes without waiting (AIO).", []Rule{
			pass("only reads, writes, syncs and polls on held descriptors"),
		}},
		{"io_uring_setup io_uring_enter io_uring_register", "Submits calls through shared memory.", []Rule{
			refuse(unix.ENOSYS, "opens, connects and sends without any call the filter sees; as on a kernel without it, "+
				"libraries fall back to plain calls"),
		}},
	}
}
