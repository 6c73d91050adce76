package rights

import (
	"slices"
	"strings"
)

// Info describes one right.
type Info struct {
	Name       string   // "mmap_r"
	CName      string   // "CAP_MMAP_R"
	Aliases    []string // other names that mean the same: "recv" of "read"
	Value      Right
	Components []Right // the rights it includes beside its own bit, if it has one
	Since      int     // the FreeBSD release that introduced it; 14 also stands for older ones
	Doc        string  // what it permits, to be read after the word "permits"
}

type row struct {
	name, alias string
	value       Right
	components  []Right
	since       int
	doc         string
}

// table lists every right in the order of its bits, composites after what they
// are made of.
var table = []row{
	{"read", "recv", Read, nil, 14,
		"reading and receiving, listing a directory, and openat for reading"},
	{"write", "send", Write, nil, 14,
		"writing and sending, and openat for writing"},
	{"seek_tell", "", SeekTell, nil, 14,
		"asking for the file offset: lseek by 0 from SEEK_CUR"},
	{"seek", "", Seek, []Right{SeekTell}, 14,
		"moving the file offset with lseek"},
	{"pread", "", Pread, []Right{Read, Seek}, 14,
		"reading at an offset: pread, preadv, and sendfile as the source"},
	{"pwrite", "", Pwrite, []Right{Write, Seek}, 14,
		"writing at an offset: pwrite, pwritev, and openat for writing without O_APPEND or O_TRUNC"},
	{"mmap", "", Mmap, nil, 14,
		"mmap with PROT_NONE"},
	{"mmap_r", "", MmapR, []Right{Mmap, Seek, Read}, 14,
		"mmap with PROT_READ"},
	{"mmap_w", "", MmapW, []Right{Mmap, Seek, Write}, 14,
		"mmap with PROT_WRITE of a shared mapping"},
	{"mmap_x", "", MmapX, []Right{Mmap, Seek}, 14,
		"mmap with PROT_EXEC"},
	{"mmap_rw", "", MmapRW, []Right{MmapR, MmapW}, 14,
		"mmap with PROT_READ and shared PROT_WRITE"},
	{"mmap_rx", "", MmapRX, []Right{MmapR, MmapX}, 14,
		"mmap with PROT_READ and PROT_EXEC"},
	{"mmap_wx", "", MmapWX, []Right{MmapW, MmapX}, 14,
		"mmap with shared PROT_WRITE and PROT_EXEC"},
	{"mmap_rwx", "", MmapRWX, []Right{MmapR, MmapW, MmapX}, 14,
		"mmap with every protection"},
	{"create", "", Create, nil, 14,
		"openat with O_CREAT"},
	{"fexecve", "", Fexecve, nil, 14,
		"fexecve, and openat with O_EXEC"},
	{"fsync", "", Fsync, nil, 14,
		"fsync and fdatasync, and openat with O_SYNC"},
	{"ftruncate", "", Ftruncate, nil, 14,
		"ftruncate, and openat with O_TRUNC"},
	{"lookup", "", Lookup, nil, 14,
		"use as the directory from which an *at call resolves a name"},
	{"fchdir", "", Fchdir, nil, 14,
		"fchdir, outside capability mode only"},
	{"fchflags", "", Fchflags, nil, 14,
		"fchflags"},
	{"chflagsat", "", Chflagsat, []Right{Fchflags, Lookup}, 14,
		"chflagsat beneath the directory"},
	{"fchmod", "", Fchmod, nil, 14,
		"fchmod"},
	{"fchmodat", "", Fchmodat, []Right{Fchmod, Lookup}, 14,
		"fchmodat beneath the directory"},
	{"fchown", "", Fchown, nil, 14,
		"fchown"},
	{"fchownat", "", Fchownat, []Right{Fchown, Lookup}, 14,
		"fchownat beneath the directory"},
	{"fcntl", "", Fcntl, nil, 14,
		"fcntl with F_GETFL, F_SETFL, F_GETOWN and F_SETOWN, subject to the descriptor's Fcntls"},
	{"flock", "", Flock, nil, 14,
		"flock and the record locks of fcntl"},
	{"fpathconf", "", Fpathconf, nil, 14,
		"fpathconf"},
	{"fsck", "", Fsck, nil, 14,
		"background file system checks"},
	{"fstat", "", Fstat, nil, 14,
		"fstat"},
	{"fstatat", "", Fstatat, []Right{Fstat, Lookup}, 14,
		"fstatat, statx and faccessat beneath the directory"},
	{"fstatfs", "", Fstatfs, nil, 14,
		"fstatfs"},
	{"futimes", "", Futimes, nil, 14,
		"futimens and futimes"},
	{"futimesat", "", Futimesat, []Right{Futimes, Lookup}, 14,
		"utimensat and futimesat beneath the directory"},
	{"linkat_target", "", LinkatTarget, []Right{Lookup}, 14,
		"linkat, as the directory that receives the new name"},
	{"mkdirat", "", Mkdirat, []Right{Lookup}, 14,
		"mkdirat beneath the directory"},
	{"mkfifoat", "", Mkfifoat, []Right{Lookup}, 14,
		"mkfifoat beneath the directory"},
	{"mknodat", "", Mknodat, []Right{Lookup}, 14,
		"mknodat beneath the directory"},
	{"renameat_source", "", RenameatSource, []Right{Lookup}, 14,
		"renameat, as the directory of the old name"},
	{"symlinkat", "", Symlinkat, []Right{Lookup}, 14,
		"symlinkat beneath the directory"},
	{"unlinkat", "", Unlinkat, []Right{Lookup}, 14,
		"unlinkat of files and directories, and renameat over an existing name"},
	{"accept", "", Accept, nil, 14,
		"accept and accept4"},
	{"bind", "", Bind, nil, 14,
		"bind, and bindat as the socket"},
	{"connect", "", Connect, nil, 14,
		"connect, connectat as the socket, and sending to an address"},
	{"getpeername", "", Getpeername, nil, 14,
		"getpeername"},
	{"getsockname", "", Getsockname, nil, 14,
		"getsockname"},
	{"getsockopt", "", Getsockopt, nil, 14,
		"getsockopt"},
	{"listen", "", Listen, nil, 14,
		"listen"},
	{"peeloff", "", Peeloff, nil, 14,
		"sctp_peeloff"},
	{"setsockopt", "", Setsockopt, nil, 14,
		"setsockopt"},
	{"shutdown", "", Shutdown, nil, 14,
		"shutdown"},
	{"bindat", "", Bindat, []Right{Lookup}, 14,
		"bindat, as the directory"},
	{"connectat", "", Connectat, []Right{Lookup}, 14,
		"connectat, as the directory"},
	{"linkat_source", "", LinkatSource, []Right{Lookup}, 14,
		"linkat, as the directory of the existing file"},
	{"renameat_target", "", RenameatTarget, []Right{Lookup}, 14,
		"renameat, as the directory of the new name"},
	{"fchroot", "", Fchroot, nil, 15,
		"fchroot, outside capability mode only"},
	{"sock_client", "", SockClient, []Right{Connect, Getpeername, Getsockname, Getsockopt, Peeloff, Read, Write, Setsockopt, Shutdown}, 14,
		"what a connecting socket usually does"},
	{"sock_server", "", SockServer, []Right{Accept, Bind, Getpeername, Getsockname, Getsockopt, Listen, Peeloff, Read, Write, Setsockopt, Shutdown}, 14,
		"what a listening socket and the connections it accepts usually do"},
	{"mac_get", "", MacGet, nil, 14,
		"mac_get_fd"},
	{"mac_set", "", MacSet, nil, 14,
		"mac_set_fd"},
	{"sem_getvalue", "", SemGetvalue, nil, 14,
		"sem_getvalue"},
	{"sem_post", "", SemPost, nil, 14,
		"sem_post"},
	{"sem_wait", "", SemWait, nil, 14,
		"sem_wait and sem_trywait"},
	{"event", "poll_event", Event, nil, 14,
		"poll and select, and being watched by kevent or epoll"},
	{"kqueue_event", "", KqueueEvent, nil, 14,
		"receiving events: kevent with an event list, epoll_wait"},
	{"ioctl", "", Ioctl, nil, 14,
		"ioctl, subject to the descriptor's list of commands"},
	{"ttyhook", "", Ttyhook, nil, 14,
		"terminal hooks"},
	{"pdgetpid", "", Pdgetpid, nil, 14,
		"pdgetpid"},
	{"pdwait", "", Pdwait, nil, 14,
		"pdwait"},
	{"pdkill", "", Pdkill, nil, 14,
		"pdkill"},
	{"extattr_delete", "", ExtattrDelete, nil, 14,
		"deleting extended attributes: extattr_delete_fd, fremovexattr"},
	{"extattr_get", "", ExtattrGet, nil, 14,
		"reading extended attributes: extattr_get_fd, fgetxattr"},
	{"extattr_list", "", ExtattrList, nil, 14,
		"listing extended attributes: extattr_list_fd, flistxattr"},
	{"extattr_set", "", ExtattrSet, nil, 14,
		"writing extended attributes: extattr_set_fd, fsetxattr"},
	{"acl_check", "", AclCheck, nil, 14,
		"acl_valid_fd_np"},
	{"acl_delete", "", AclDelete, nil, 14,
		"acl_delete_fd_np"},
	{"acl_get", "", AclGet, nil, 14,
		"acl_get_fd"},
	{"acl_set", "", AclSet, nil, 14,
		"acl_set_fd"},
	{"kqueue_change", "", KqueueChange, nil, 14,
		"choosing what is watched: kevent with a change list, epoll_ctl"},
	{"kqueue", "", Kqueue, []Right{KqueueEvent, KqueueChange}, 14,
		"kevent in full"},
	{"inotify_add", "", InotifyAdd, nil, 15,
		"inotify_add_watch"},
	{"inotify_rm", "", InotifyRm, nil, 15,
		"inotify_rm_watch"},
	{"pddupfd", "", Pddupfd, nil, 16,
		"taking a descriptor out of another process through its process descriptor, outside capability mode only"},
}

// Table returns every right in the order of its bits, composites after what
// they are made of. The caller owns the slice.
func Table() []Info {
	infos := make([]Info, 0, len(table))
	for _, r := range table {
		info := Info{
			Name: r.name, CName: cName(r.name), Value: r.value,
			Components: slices.Clone(r.components), Since: r.since, Doc: r.doc,
		}
		if r.alias != "" {
			info.Aliases = []string{r.alias}
		}
		infos = append(infos, info)
	}
	return infos
}

func cName(name string) string { return "CAP_" + strings.ToUpper(name) }

// known is AllOf(16), the newest vocabulary, written out: the table would have
// to be gone through at the start of every program.
var known = Set{words: [2]uint64{0xfffffffffff, 0xffffff}}

// All returns every right of the newest vocabulary this package knows. A kernel
// may know fewer or more: to ask whether a descriptor is unlimited, compare
// with what that kernel reports for a fresh descriptor.
func All() Set { return known }

// AllOf returns every right of a FreeBSD release: 14 (and older), 15, or 16.
// For a later release it returns the newest vocabulary known here.
func AllOf(version int) Set {
	var s Set
	for _, r := range table {
		if r.since <= max(version, 14) {
			s.Set(r.value)
		}
	}
	return s
}
